package resp

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// A plain Redis server may follow any node as its replica (SYNC, PSYNC): it gets the
// data as an RDB file and from then on what each entry of the log did, as commands
// (kv/feed.go, docs/adr/0023). It is an export, not a member: nothing waits for it, and
// what it is sent was committed and applied here. After a break it starts again with
// the whole file.

// replica is a connection that is fed.
type replica struct {
	s      *session
	to     *kv.Listening
	cancel context.CancelFunc
	// drained is told when the socket took everything, if wants is set.
	drained chan struct{}
	wants   bool // the loop's

	mu     sync.Mutex
	queue  []*kv.Effects
	bytes  int
	lost   bool // the feed has a hole: the connection has to end
	posted bool

	// Of the loop.
	from uint64 // commands of entries up to here are in the file
	live bool   // the file was sent
	db   int    // selected at the replica; -1: unknown
}

const (
	replicaPiece     = 256 << 10
	replicaWindow    = 1 << 20 // of the file, unsent
	replicaMaxQueue  = 256 << 20
	replicaKeepAlive = 5 * time.Second
)

func replicaHandlers() map[string]handler {
	return map[string]handler{
		"sync":     {run: cmdSync, alone: true},
		"psync":    {run: cmdPSync, alone: true},
		"replconf": {run: replconf},
	}
}

// cmdSync is SYNC: a copy for those who want no more than that, else the feed as well.
func cmdSync(s *session, args [][]byte, out *kv.Reply) {
	if s.rdbOnly {
		syncCopy(s, args, out)
		return
	}
	s.follow(out)
}

// cmdPSync is PSYNC: there is no part of the feed to continue from.
func cmdPSync(s *session, args [][]byte, out *kv.Reply) {
	if s.rdbOnly {
		syncCopy(s, args, out)
		return
	}
	if s.replica == nil && s.self != nil {
		out.Status("FULLRESYNC " + s.srv.backend.Status().RunID + " 0")
	}
	s.follow(out)
}

func (s *session) follow(out *kv.Reply) {
	switch {
	case s.replica != nil || s.self == nil:
		return
	case s.subscribed():
		out.Error("ERR SYNC is not allowed while listening to channels")
		return
	}
	ctx, cancel := context.WithCancel(s.srv.ctx)
	r := &replica{s: s, cancel: cancel, drained: make(chan struct{}, 1), db: -1}
	s.replica = r
	s.srv.adminWG.Add(1)
	go func() {
		defer s.srv.adminWG.Done()
		defer cancel()
		if err := r.serve(ctx); err != nil && ctx.Err() == nil {
			s.srv.log.Warn("a replica is cut off", "client", s.addr.remote, "error", err)
			s.self.kill(false)
		}
	}()
}

// isReplica may be asked from any goroutine.
func (s *session) isReplica() bool {
	s.vis.mu.Lock()
	defer s.vis.mu.Unlock()
	return s.vis.replica
}

// leaveReplica ends the feed with the connection.
func (s *session) leaveReplica() {
	if s.replica != nil {
		s.replica.cancel()
	}
}

// serve sends the file, lets the feed follow it and keeps the connection warm.
func (r *replica) serve(ctx context.Context) error {
	r.onLoop(func() { r.s.reply = replyOff }) // behind the reply to PSYNC: only the feed speaks from here on
	if err := r.barrier(ctx); err != nil {
		return err
	}
	store := r.s.srv.backend.Store()
	r.to = store.Listen(r)
	defer r.to.Close()
	r.to.Want(kv.EffectCommand | kv.EffectFlush)
	if err := r.file(ctx, store); err != nil {
		return err
	}
	r.onLoop(func() {
		r.live = true
		r.drain()
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(r.s.srv.pingPeriod()):
			r.onLoop(func() { r.s.push([]byte("*1\r\n$4\r\nPING\r\n")) })
		}
	}
}

// pingPeriod is repl-ping-replica-period.
func (srv *Server) pingPeriod() time.Duration {
	n, err := strconv.Atoi(srv.live.memo("repl-ping-replica-period", "10"))
	if err != nil || n < 1 {
		n = 10
	}
	return time.Duration(n) * time.Second
}

func (r *replica) onLoop(fn func()) { r.s.self.onLoop(fn) }

// barrier waits until this node holds what was acknowledged before.
func (r *replica) barrier(ctx context.Context) error {
	done := make(chan error, 1)
	r.s.srv.backend.ReadBarrier(func(err error) { done <- err })
	r.s.srv.backend.Flush()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// file sends the data as an RDB file. Its length comes first, so it is made twice.
func (r *replica) file(ctx context.Context, store *kv.Store) error {
	cut := store.OpenCut()
	defer cut.Close()
	r.onLoop(func() { r.from = cut.Index })
	version := kv.RDBVersionOf(store.Settings().RedisVersion)
	size, spoke := 0, time.Now()
	err := kv.ExportCut(writerFunc(func(p []byte) error {
		size += len(p)
		if time.Since(spoke) > replicaKeepAlive { // or the replica gives up
			spoke = time.Now()
			r.onLoop(func() { r.s.push([]byte("\n")) })
		}
		return ctx.Err()
	}), cut, version)
	if err != nil {
		return err
	}
	head := "$" + strconv.Itoa(size) + "\r\n"
	buf := append(make([]byte, 0, replicaPiece), head...)
	err = kv.ExportCut(writerFunc(func(p []byte) error {
		size -= len(p)
		if buf = append(buf, p...); len(buf) < replicaPiece {
			return nil
		}
		piece := buf
		buf = make([]byte, 0, replicaPiece)
		return r.send(ctx, piece)
	}), cut, version)
	switch {
	case err != nil:
		return err
	case size != 0:
		return errors.New("the file is not what was measured")
	}
	return r.send(ctx, buf)
}

type writerFunc func(p []byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send pushes a piece of the file and waits until little of it is unsent.
func (r *replica) send(ctx context.Context, piece []byte) error {
	r.onLoop(func() {
		r.s.push(piece)
		if r.wants = r.s.unsent() > replicaWindow; !r.wants {
			r.drained <- struct{}{}
		}
	})
	select {
	case <-r.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sent is called when the socket took everything.
func (r *replica) sent() {
	if r.wants {
		r.wants = false
		r.drained <- struct{}{}
	}
}

// Effects implements kv.Listener.
func (r *replica) Effects(f *kv.Effects) {
	r.mu.Lock()
	r.queue = append(r.queue, f)
	if r.bytes += f.Bytes; r.bytes > replicaMaxQueue {
		r.queue, r.bytes, r.lost = nil, 0, true
	}
	post := !r.posted
	r.posted = true
	r.mu.Unlock()
	if post {
		r.onLoop(r.drain)
	}
}

// drain pushes what is queued, once the file is out.
func (r *replica) drain() {
	if !r.live {
		r.mu.Lock()
		r.posted = false
		lost := r.lost
		r.mu.Unlock()
		if lost {
			r.s.self.kill(false)
		}
		return
	}
	r.mu.Lock()
	queue, lost := r.queue, r.lost
	r.queue, r.bytes, r.posted = nil, 0, false
	r.mu.Unlock()
	var b []byte
	for _, f := range queue {
		for i := range f.List {
			switch e := &f.List[i]; {
			case e.Kind == kv.EffectCommand && e.Index > r.from:
				b = r.append(b, e)
			case e.Kind == kv.EffectFlush && e.DB == kv.AllDatabases:
				lost = true // a snapshot was installed: what led to it is not known here
			}
		}
	}
	if lost {
		r.s.srv.log.Warn("a replica has to start again", "client", r.s.addr.remote)
		r.s.self.kill(false)
		return
	}
	if len(b) > 0 {
		r.s.push(b)
	}
}

func (r *replica) append(b []byte, e *kv.Effect) []byte {
	if e.DB != kv.AllDatabases && e.DB != r.db {
		r.db = e.DB
		b = redcon.AppendArray(b, 2)
		b = redcon.AppendBulkString(b, "SELECT")
		b = redcon.AppendBulkString(b, strconv.Itoa(e.DB))
	}
	args := e.Args
	if e.ServerDel && r.s.srv.live.memo("lazyfree-lazy-server-del", "no") == "yes" {
		args = append([][]byte{[]byte("UNLINK")}, args[1:]...)
	}
	b = redcon.AppendArray(b, len(args))
	for _, a := range args {
		b = redcon.AppendBulk(b, a)
	}
	return b
}
