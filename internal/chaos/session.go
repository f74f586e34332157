package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// session is one client: a go-redis connection to one node, for one worker. When the
// connection breaks it goes to another node, or the same one if it is pinned.
type session struct {
	r      *round
	h      *History
	worker int
	proto  int
	pinned *Node
	rng    *rand.Rand

	node *Node
	rdb  *redis.Client
	conn *redis.Conn
}

// replyLimit is above everything the server promises, so whoever reaches it found a bug;
// the operation is unknown all the same.
const replyLimit = 20 * time.Second

// quiet keeps the client library from telling of each refused connection.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(quiet{}) }

// clientOptions is a stock client without retries: an error is an error. Notifications
// of maintenance are off because they would move the connection to a node of which
// the books know nothing.
func clientOptions(n *Node, proto int, limit time.Duration) *redis.Options {
	return &redis.Options{
		Addr: n.Addr, Password: password, Protocol: proto,
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1, DialTimeout: min(limit, 3*time.Second),
		ReadTimeout: limit, WriteTimeout: limit,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// connect tries until a connection stands; false when the round is over.
func (s *session) connect() bool {
	for s.r.workCtx.Err() == nil {
		if s.conn != nil {
			return true
		}
		start := time.Now()
		if s.node = s.pinned; s.node == nil {
			s.node = pick(s.rng, s.r.c.members())
		}
		rdb := redis.NewClient(clientOptions(s.node, s.proto, replyLimit))
		conn := rdb.Conn()
		err := conn.Ping(s.r.workCtx).Err()
		if err == nil {
			s.rdb, s.conn = rdb, conn
			continue
		}
		conn.Close()
		rdb.Close()
		if s.r.workCtx.Err() == nil {
			s.r.clientError(s.node, start, "connect: "+err.Error())
		}
		s.pause(50 * time.Millisecond)
	}
	return false
}

func (s *session) close() {
	if s.conn != nil {
		s.conn.Close()
		s.rdb.Close()
		s.conn = nil
	}
}

// command is one operation on the wire. Its strings become Op.Out.
type command func(ctx context.Context, c *redis.Conn) ([]string, error)

// do performs an operation and writes it into the history; false when the round is over.
func (s *session) do(kind, key string, in []string, run command) (Op, bool) {
	if !s.connect() {
		return Op{}, false
	}
	s.r.began.Add(1)
	start := time.Now()
	out, err := run(context.Background(), s.conn)
	end := time.Now()
	op := Op{Worker: s.worker, Node: s.node.ID, RESP: s.proto, Kind: kind, Key: key, In: in,
		Start: start.Sub(s.r.start), End: end.Sub(s.r.start), Outcome: classify(err)}
	if op.Outcome == OK {
		op.Out = out
	} else {
		op.Err = err.Error()
		if !errors.Is(err, errNotDone) {
			s.r.clientError(s.node, start, kind+": "+op.Err)
		}
	}
	s.h.add(op)
	if broken(err) {
		s.close()
	} else if op.Outcome != OK && !errors.Is(err, errNotDone) {
		// Somebody who got an error may as well try elsewhere.
		if s.pinned == nil && s.rng.IntN(2) == 0 {
			s.close()
		}
		s.pause(10 * time.Millisecond)
	}
	return op, true
}

// rest is the time between two operations, so that load leaves room for elections.
func (s *session) rest() { s.pause(time.Duration(s.rng.Int64N(int64(2 * s.r.think)))) }

func (s *session) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.r.workCtx.Done():
	}
}

// errNotDone is a definite outcome without an error of the server: a WATCH that aborted.
var errNotDone = errors.New("aborted by WATCH")

// classify follows DESIGN 1.4. Only an answer of the server can be definite.
func classify(err error) Outcome {
	var reply redis.Error
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return OK
	case errors.Is(err, errNotDone), errors.Is(err, redis.TxFailedErr):
		return Failed
	case errors.As(err, &reply) && !strings.HasPrefix(err.Error(), "TIMEOUT"):
		return Failed
	}
	return Unknown
}

// broken says that the connection is of no more use: nothing but a reply can be trusted.
func broken(err error) bool {
	var reply redis.Error
	return err != nil && !errors.Is(err, errNotDone) && !errors.As(err, &reply)
}

// clientErrors are the errors of clients whose node, and a majority, were left alone.
type clientErrors struct {
	mu      sync.Mutex
	all     int // errors on any node
	at      int // errors on surviving nodes
	samples []string
}

const maxSamples = 20

func (r *round) clientError(n *Node, start time.Time, what string) {
	survives := r.c.surviving(n, start, time.Now())
	r.errs.mu.Lock()
	defer r.errs.mu.Unlock()
	r.errs.all++
	if !survives {
		return
	}
	r.errs.at++
	if len(r.errs.samples) < maxSamples {
		r.errs.samples = append(r.errs.samples, time.Since(r.start).Round(time.Millisecond).String()+" "+n.String()+" "+what)
	}
}

// texts turns numbers into what histories keep.
func texts[T int | int64](numbers ...T) []string {
	var out []string
	for _, n := range numbers {
		out = append(out, strconv.FormatInt(int64(n), 10))
	}
	return out
}
