package resp

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// blockedIn is a blocking command that a connection waits in (docs/adr/0010). Its chunk
// is the session's.
type blockedIn struct {
	// read: an XREAD, which waits here for its node to apply something. Otherwise the
	// chunk was proposed, and waits in the replicated state.
	read  bool
	timer *time.Timer // of an XREAD with a limit
	// trying: the XREAD is being tried again; over is then how it ends if it finds
	// nothing.
	trying bool
	over   func(out *kv.Reply)
}

// ChunkBlocked implements kv.BlockWaiter. It runs on a goroutine of the node.
func (c *conn) ChunkBlocked(chunk *kv.Chunk) {
	c.loop.post(func() {
		c.guarded(func() {
			if c.s.chunk == chunk && c.blocked == nil {
				c.block(&blockedIn{})
			}
		})
	})
}

// ChunkReady implements kv.ReadWaiter. The chunk may be in other use by now.
func (c *conn) ChunkReady(chunk *kv.Chunk) {
	c.loop.post(func() {
		c.guarded(func() {
			if b := c.blocked; b != nil && b.read && !b.trying && c.s.chunk == chunk {
				b.trying = true
				c.runReads(c.loop.now)
			}
		})
	})
}

// block notes that the connection waits. Who sends no more will not read the reply.
func (c *conn) block(b *blockedIn) {
	c.blocked = b
	c.s.srv.stats.blocked.Add(1)
	c.s.showBlocked(true)
	switch {
	case c.eof:
		c.close()
	case c.loop.draining:
		c.endWait(kv.UnblockStop, func(bool, error) {})
	}
}

// unblocked notes that the connection waits no more.
func (c *conn) unblocked() {
	b := c.blocked
	if b == nil {
		return
	}
	if b.timer != nil {
		b.timer.Stop()
	}
	c.blocked = nil
	c.s.srv.stats.blocked.Add(-1)
	c.s.showBlocked(false)
}

// blockRead is called when an XREAD found nothing, the first time or again.
func (c *conn) blockRead() {
	if b := c.blocked; b != nil {
		if b.trying = false; b.over != nil {
			c.endRead(b.over)
		}
		return
	}
	b := &blockedIn{read: true}
	if limit := c.s.chunk.WaitLimit(); limit > 0 {
		b.timer = time.AfterFunc(time.Duration(min(limit, maxTimerMillis))*time.Millisecond, func() {
			c.loop.post(func() {
				c.guarded(func() {
					if c.blocked == b {
						c.endRead((*kv.Reply).NullArray)
					}
				})
			})
		})
	}
	c.block(b)
}

// maxTimerMillis is what a time.Duration can hold.
const maxTimerMillis = int64(1<<63-1) / int64(time.Millisecond)

// endRead ends the wait of an XREAD with a reply.
func (c *conn) endRead(fill func(out *kv.Reply)) {
	b := c.blocked
	if b.trying {
		b.over = fill
		return
	}
	c.loop.srv.backend.Store().EndWait(c.s.chunk)
	c.s.chunk.Answer(fill)
	c.unblocked()
	c.s.finish()
	c.answered()
}

// endWait ends the wait, if there is one, and reports through done whether it did.
// A pop that is in the log before it wins.
func (c *conn) endWait(how string, done func(ended bool, err error)) {
	switch b := c.blocked; {
	case c.closed || b == nil || b.read && b.over != nil:
		done(false, nil)
	case b.read:
		done(true, nil)
		c.endRead(func(out *kv.Reply) { unblockReply(out, how) })
	default:
		chunk := &kv.Chunk{Waiter: unblockWaiter(done)}
		chunk.AppendUnblock(c.s.chunk.Seq, how)
		c.loop.srv.backend.Propose(chunk)
	}
}

func unblockReply(out *kv.Reply, how string) {
	switch how {
	case kv.UnblockTimeout:
		out.NullArray()
	case kv.UnblockStop:
		out.Error("UNBLOCKED the node this client is connected to stops")
	default:
		out.Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
	}
}

// unblockWaiter takes the answer to an UNBLOCK.
type unblockWaiter func(ended bool, err error)

// ChunkDone implements kv.Waiter.
func (w unblockWaiter) ChunkDone(c *kv.Chunk) {
	w(c.Err == nil && string(c.Reply.Bytes()) == ":1\r\n", c.Err)
}

// abandonChunk is called when the connection closes with something in flight: nobody
// will read what a blocking command brings.
func (c *conn) abandonChunk() {
	chunk := c.s.chunk
	switch {
	case !c.inFlight || chunk == nil || !c.s.mayBlock:
	case c.proposed:
		c.loop.srv.backend.Leave(chunk)
	case c.blocked != nil && !c.blocked.trying:
		c.loop.srv.backend.Store().EndWait(chunk)
	}
	c.unblocked()
}

// showBlocked lets CLIENT LIST know.
func (s *session) showBlocked(blocked bool) {
	s.vis.mu.Lock()
	s.vis.blocked = blocked
	s.vis.mu.Unlock()
}

// clientUnblock is CLIENT UNBLOCK id [TIMEOUT|ERROR]. A client of another node is
// that node's business.
func clientUnblock(s *session, args [][]byte, out *kv.Reply) {
	how := kv.UnblockTimeout
	if len(args) > 3 {
		switch {
		case equalFold(args[3], kv.UnblockTimeout):
		case equalFold(args[3], kv.UnblockError):
			how = kv.UnblockError
		default:
			out.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
			return
		}
	}
	id, ok := parseLen(args[2])
	if !ok {
		out.Error(errNotInt)
		return
	}
	s.async = func(ctx context.Context, done func(func(out *kv.Reply))) {
		answer := func(ended bool, err error) {
			done(func(out *kv.Reply) {
				if err != nil {
					out.Error(err.Error())
					return
				}
				out.Bool(ended)
			})
		}
		if node := clientNode(uint64(id)); node == s.srv.nodeID || id <= 0 {
			s.srv.unblock(uint64(id), how, answer)
		} else {
			s.srv.unblockElsewhere(ctx, node, uint64(id), how, answer)
		}
	}
}

// unblockElsewhere asks the node that has the client.
func (s *Server) unblockElsewhere(ctx context.Context, node, id uint64, how string, done func(ended bool, err error)) {
	s.adminWG.Add(1)
	go func() {
		defer s.adminWG.Done()
		ctx, cancel := context.WithTimeout(ctx, clientCallTimeout)
		defer cancel()
		n, err := s.backend.ClientCall(ctx, node, []string{"unblock", strconv.FormatUint(id, 10), how})
		done(n > 0, err)
	}()
}

// clientCallTimeout bounds what another node is asked; it is below the time-outs of
// common clients.
const clientCallTimeout = 1500 * time.Millisecond

// serveUnblock is what unblockElsewhere asks for.
func (s *Server) serveUnblock(id uint64, how string) (int64, error) {
	type result struct {
		ended bool
		err   error
	}
	answer := make(chan result, 1)
	s.unblock(id, how, func(ended bool, err error) { answer <- result{ended, err} })
	select {
	case r := <-answer:
		if r.ended {
			return 1, r.err
		}
		return 0, r.err
	case <-time.After(clientCallTimeout):
		return 0, errors.New("TIMEOUT the client may or may not have been unblocked")
	}
}

// unblock ends the wait of a client of this node.
func (s *Server) unblock(id uint64, how string, done func(ended bool, err error)) {
	c := s.clients.get(id)
	if c == nil || !c.endWaitSoon(how, done) {
		done(false, nil)
	}
}
