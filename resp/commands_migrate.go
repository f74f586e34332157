package resp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"github.com/rkvdb/rkv/kv"
)

// migration is MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password]
// [AUTH2 user password] [KEYS key ...]: the keys are restored on another server, then
// deleted here.
//
// Redis stands still meanwhile. Here the keys are read, sent, and deleted by a
// transaction that watches them since before they were read: if one was modified, none
// is deleted and the error says so; the other server then has the older value, too.
type migration struct {
	srv           *Server
	db            int
	user          uint64 // as kv.Chunk.User
	addr          string
	target        int // database
	timeout       time.Duration
	copy, replace bool
	auth          [][]byte // arguments of AUTH, or none
	keys          [][]byte
}

const (
	errMigrateRead    = "IOERR error or timeout reading to target instance" // Redis's words
	errMigrateConnect = "IOERR error or timeout connecting to the client"
	errMigrateRace    = "ERR a key was modified while it was migrated: nothing was deleted here, the target instance has the value from before"
)

func cmdMigrate(s *session, args [][]byte, out *kv.Reply) {
	m, msg := s.parseMigrate(copyArgs(args))
	if msg != "" {
		out.Error(msg)
		return
	}
	s.async = s.srv.blocking(m.run)
}

func (s *session) parseMigrate(args [][]byte) (m *migration, msg string) {
	m = &migration{srv: s.srv, db: s.db, user: s.userID + 1, addr: net.JoinHostPort(string(args[1]), string(args[2]))}
	m.keys = args[3:4]
	for i := 6; i < len(args); i++ {
		rest := args[i+1:]
		switch opt := args[i]; {
		case equalFold(opt, "copy"):
			m.copy = true
		case equalFold(opt, "replace"):
			m.replace = true
		case equalFold(opt, "auth") && len(rest) > 0:
			m.auth, i = rest[:1], i+1
		case equalFold(opt, "auth2") && len(rest) > 1:
			m.auth, i = rest[:2], i+2
		case equalFold(opt, "keys"):
			if len(args[3]) > 0 {
				return nil, "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
			}
			m.keys, i = rest, len(args)
		default:
			return nil, errSyntax
		}
	}
	db, ok1 := parseLen(args[4])
	ms, ok2 := parseLen(args[5])
	if !ok1 || !ok2 {
		return nil, errNotInt
	}
	if ms <= 0 || ms > maxTimerMillis {
		ms = 1000
	}
	m.target, m.timeout = int(db), time.Duration(ms)*time.Millisecond
	return m, ""
}

func (m *migration) run(ctx context.Context, out *kv.Reply) {
	watches, values, err := m.read(ctx)
	switch {
	case err != nil:
		out.Error(err.Error())
		return
	case len(values) == 0:
		out.Status("NOKEY")
		return
	}
	done, problem := m.send(ctx, values)
	if len(done) > 0 && !m.copy {
		if err := m.remove(ctx, watches, done); err != nil {
			problem = err
		}
	}
	if problem != nil {
		out.Error(problem.Error())
		return
	}
	out.OK()
}

// migrated is a key on its way.
type migrated struct {
	key, ttl, payload []byte
}

// read returns the values of the keys that exist, and watches from before it looked.
func (m *migration) read(ctx context.Context) (watches []kv.Watch, values []migrated, err error) {
	store := m.srv.backend.Store()
	if err := m.await(ctx, m.srv.backend.ReadBarrier); err != nil {
		return nil, nil, err
	}
	c := m.chunk()
	for _, key := range m.keys {
		watches = append(watches, store.Watch(m.db, key))
		c.AddRead(pttlRow, [][]byte{[]byte("pttl"), key})
		c.AddRead(dumpRow, [][]byte{[]byte("dump"), key})
	}
	now := m.srv.backend.Now()
	for store.ReadLong(c, now) {
		due := now
		if err := m.await(ctx, func(done func(error)) { m.srv.backend.Tick(due, done) }); err != nil {
			return nil, nil, err
		}
		now = 0
	}
	tape := c.Reply.Bytes()
	for _, key := range m.keys {
		var ttl, payload []byte
		ttl, tape = cutMigrated(tape)
		payload, tape = cutMigrated(tape)
		if payload == nil {
			continue
		}
		if ttl[0] == '-' {
			ttl = []byte("0")
		}
		values = append(values, migrated{key, ttl, payload})
	}
	return watches, values, nil
}

var (
	pttlRow = findRow("pttl")
	dumpRow = findRow("dump")
	delRow  = findRow("del")
)

func (m *migration) chunk() *kv.Chunk {
	c := &kv.Chunk{User: m.user}
	c.AppendSelect(m.db)
	return c
}

// await calls fn and waits until it calls back.
func (m *migration) await(ctx context.Context, fn func(done func(error))) error {
	answer := make(chan error, 1)
	fn(func(err error) { answer <- err })
	m.srv.backend.Flush()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return errors.New("ERR the client left")
	}
}

// cutMigrated takes an integer, a bulk string or a null from a tape.
func cutMigrated(tape []byte) (value, rest []byte) {
	line, rest, _ := bytes.Cut(tape, []byte("\r\n"))
	if line[0] != '$' {
		if line[0] != ':' {
			return nil, rest
		}
		return line[1:], rest
	}
	n := int(mustInt(string(line[1:])))
	return rest[:n], rest[n+2:]
}

// send restores the values on the other server and returns the keys it took; problem is
// the first error.
func (m *migration) send(ctx context.Context, values []migrated) (done [][]byte, problem error) {
	dialer := net.Dialer{Timeout: m.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return nil, errors.New(errMigrateConnect)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go m.write(conn, values) // an error shows as one of the replies
	r := bufio.NewReader(conn)
	for range m.preamble() {
		if err := m.readOK(conn, r); err != nil {
			return nil, err
		}
	}
	for i := range values {
		switch err := m.readOK(conn, r); {
		case err == nil:
			done = append(done, values[i].key)
		case problem == nil:
			problem = err
		}
		if problem != nil && strings.HasPrefix(problem.Error(), "IOERR") {
			return done, problem
		}
	}
	return done, problem
}

// preamble are the commands before the values.
func (m *migration) preamble() (cmds [][][]byte) {
	if len(m.auth) > 0 {
		cmds = append(cmds, append([][]byte{[]byte("AUTH")}, m.auth...))
	}
	return append(cmds, [][]byte{[]byte("SELECT"), strconv.AppendInt(nil, int64(m.target), 10)})
}

func (m *migration) write(conn net.Conn, values []migrated) {
	w := bufio.NewWriter(conn)
	send := func(args ...[]byte) {
		_ = conn.SetWriteDeadline(time.Now().Add(m.timeout))
		b := redcon.AppendArray(nil, len(args))
		for _, a := range args {
			b = redcon.AppendBulk(b, a)
		}
		_, _ = w.Write(b)
	}
	for _, cmd := range m.preamble() {
		send(cmd...)
	}
	for _, v := range values {
		args := [][]byte{[]byte("RESTORE"), v.key, v.ttl, v.payload}
		if m.replace {
			args = append(args, []byte("REPLACE"))
		}
		send(args...)
	}
	if w.Flush() != nil {
		conn.Close()
	}
}

// readOK reads one reply: a status, or an error.
func (m *migration) readOK(conn net.Conn, r *bufio.Reader) error {
	_ = conn.SetReadDeadline(time.Now().Add(m.timeout))
	line, err := r.ReadSlice('\n')
	if err != nil {
		return errors.New(errMigrateRead)
	}
	if line[0] == '-' {
		return errors.New("ERR Target instance replied with error: " + string(bytes.TrimRight(line[1:], "\r\n")))
	}
	return nil
}

// remove deletes the keys that are on the other server now, unless one of all keys was
// modified since it was read.
func (m *migration) remove(ctx context.Context, watches []kv.Watch, keys [][]byte) error {
	c := m.chunk()
	c.BeginExec(watches)
	c.AppendOp(delRow, append([][]byte{[]byte("del")}, keys...))
	c.EndExec()
	err := m.await(ctx, func(done func(error)) {
		c.Waiter = migrateWaiter(done)
		m.srv.backend.Propose(c)
	})
	if err == nil && !bytes.HasPrefix(c.Reply.Bytes(), []byte("*1\r\n:")) {
		err = errors.New(errMigrateRace)
	}
	return err
}

// migrateWaiter takes the answer to a proposal.
type migrateWaiter func(err error)

// ChunkDone implements kv.Waiter.
func (w migrateWaiter) ChunkDone(c *kv.Chunk) { w(c.Err) }
