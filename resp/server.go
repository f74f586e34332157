package resp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// Options configure a Server. Zero values mean the default stated.
type Options struct {
	// Addr is the TCP address to listen on, "host:port"; port 0 lets the system choose.
	Addr string
	// Backend is the node. Required.
	Backend Backend
	// Logger receives a line per trouble, none per request; default slog.Default.
	Logger *slog.Logger
	// Version is rkv's own; RedisVersion is what HELLO and INFO advertise: "7.2.4".
	Version, RedisVersion string
	// RequirePass is the default user's password; "" means none.
	RequirePass string
	// UnprotectedMode serves clients from other machines though there is no password.
	UnprotectedMode bool
	// DebugCommand says who may use DEBUG: "no", "local" (from this machine), "yes".
	DebugCommand string
	// Loops is the number of event loops; 1. More only help when one core is full.
	Loops int
	// MaxClients refuses further connections; 10000.
	MaxClients int
	// IdleTimeout closes connections without traffic; 0 means never.
	IdleTimeout time.Duration
	// AuthTimeout is how long a client may take to authenticate; 10 s. Longer, and
	// strangers could hold all MaxClients places.
	AuthTimeout time.Duration
	// WriteTimeout closes a connection whose client took no byte for so long while
	// replies wait; 60 s.
	WriteTimeout time.Duration
	// QueryBufferLimit bounds the bytes received but not executed per connection; 64
	// MiB. It also bounds a whole request, so it must exceed proto-max-bulk-len.
	QueryBufferLimit int
	// OutputSoftLimit stops executing a connection's commands while so many bytes of
	// replies are unsent; 1 MiB. OutputHardLimit closes it; 64 MiB.
	OutputSoftLimit, OutputHardLimit int
	// MaxArgs bounds the arguments of a request; 1000000.
	MaxArgs int
	// MaxMultiBytes bounds what MULTI queues; 32 MiB, well below a log entry's 64 MiB.
	MaxMultiBytes int
	// Config are start parameters of the node as CONFIG GET reports them, by Redis's
	// names (dir, appendfsync ...) and ours. They are fixed while the process lives.
	Config map[string]string
	// LongWork is called when a long read begins beside the event loops, and what it returns
	// when that ends: it may need a processor of its own. nil: nobody cares.
	LongWork func() (end func())
	// Shutdown ends the process gracefully, as SIGTERM does; nil: SHUTDOWN is refused.
	Shutdown func()
	// Params are this node's parameters as CONFIG SET takes them, set at the start;
	// CheckParams tells what may be given.
	Params map[string]string
	// ACLFile is what ACL SAVE writes and ACL LOAD reads; "": they are refused.
	ACLFile string
	// Rewrite persists what CONFIG SET changed on this node (CONFIG REWRITE); nil:
	// refused. It may block and be called concurrently.
	Rewrite func(changed map[string]string) error
	// ClusterAddr and SentinelAddr are further addresses to listen on, for clients of a
	// Redis Cluster and of Sentinels; "": none. MasterName is what the latter ask for;
	// "mymaster".
	ClusterAddr, SentinelAddr, MasterName string
	// ClusterProxy executes what cluster clients ask of a follower, as plain clients'
	// requests are, instead of sending them to the leader by MOVED.
	ClusterProxy bool

	// NoIOUring: a system call for each socket, as where the kernel refuses io_uring.
	NoIOUring bool

	// tick is the period of timeouts and retries; 100 ms.
	tick time.Duration
}

// Limits before a client has authenticated (CVE-2025-21605 and kin).
const (
	unauthQueryBuffer = 1 << 20
	unauthOutput      = 64 << 10
)

func (o *Options) setDefaults() error {
	if o.Backend == nil {
		return errors.New("resp: Options.Backend is required")
	}
	setDefault(&o.Logger, slog.Default())
	setDefault(&o.Version, "0.0.0")
	setDefault(&o.RedisVersion, "7.2.4")
	setDefault(&o.DebugCommand, "no")
	setDefault(&o.Loops, 1)
	setDefault(&o.MaxClients, 10000)
	setDefault(&o.AuthTimeout, 10*time.Second)
	setDefault(&o.WriteTimeout, 60*time.Second)
	setDefault(&o.QueryBufferLimit, 64<<20)
	setDefault(&o.OutputSoftLimit, 1<<20)
	setDefault(&o.OutputHardLimit, 64<<20)
	setDefault(&o.MaxArgs, 1000000)
	setDefault(&o.MaxMultiBytes, 32<<20)
	setDefault(&o.MasterName, "mymaster")
	setDefault(&o.tick, 100*time.Millisecond)
	if o.MaxMultiBytes > maxUnit {
		return fmt.Errorf("resp: MaxMultiBytes %d exceeds what fits a log entry (%d)", o.MaxMultiBytes, maxUnit)
	}
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Server serves Redis clients over TCP. Its goroutines are its event loops, each
// owning the connections it was dealt, and up to maxAdmin blocking admin commands.
type Server struct {
	opt     Options
	backend Backend
	log     *slog.Logger
	started time.Time
	nodeID  uint64

	live    liveConfig
	maxBulk atomic.Int64 // proto-max-bulk-len, refreshed every tick
	stats   stats
	pause   pauseState
	authLog authThrottle
	aclLog  aclLog
	slowlog slowlog
	latency latencyMonitor
	// monitors are the connections in MONITOR; tallies count commands, one per loop.
	monitors   monitors
	tallies    []*tally
	statsEpoch atomic.Uint64
	http       rateLimited

	subs    subscriptions
	tracked trackingTotals

	// clients is every connection by id, for CLIENT LIST and KILL.
	clients clientTable
	admin   chan struct{} // counts running admin commands
	// longReads are scripts that take their time.
	longReads longReads
	adminWG   sync.WaitGroup

	chunks sync.Pool
	loops  []*loop
	addr   string
	// listeners are the bound addresses by persona, addr among them.
	listeners [personas]string
	recent    atomic.Pointer[recentStatus]
	fresh     freshness
	// lastMaster is the last leader this node knew of.
	lastMaster atomic.Uint64
	wg         sync.WaitGroup
	start      sync.Once

	// ctx ends when Close cuts off what did not end by itself.
	ctx    context.Context
	cancel context.CancelFunc
}

// maxAdmin bounds the goroutines of blocking admin commands: a client that loops
// over RAFT SNAPSHOT must not pile them up.
const maxAdmin = 16

// newServer makes a server without sockets.
func newServer(opt Options) (*Server, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, err
	}
	s := &Server{
		opt: opt, backend: opt.Backend, log: opt.Logger, started: time.Now(),
		nodeID: opt.Backend.Status().ID, admin: make(chan struct{}, maxAdmin),
	}
	s.longReads.threshold.Store(5000)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.clients.init(s.nodeID)
	opt.Backend.ServeClientCalls(s.serveClientCall)
	s.live.init(&opt)
	s.subs.init(s)
	s.slowlog.init()
	s.aclLog.max = 128
	for range opt.Loops {
		s.tallies = append(s.tallies, newTally())
	}
	s.refresh()
	if err := s.startWith(opt.Params); err != nil {
		return nil, fmt.Errorf("resp: %w", err)
	}
	return s, nil
}

// New binds opt.Addr and returns a server that does not serve yet: clients may
// connect, they wait. The error says what the address is good for.
func New(opt Options) (*Server, error) {
	s, err := newServer(opt)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// Addr is the address the server listens on, with the port the system chose.
func (s *Server) Addr() string { return s.addr }

// ClusterAddr and SentinelAddr are those of the other listeners, "" where there is none.
func (s *Server) ClusterAddr() string  { return s.listeners[clusterPersona] }
func (s *Server) SentinelAddr() string { return s.listeners[sentinelPersona] }

// Start begins to serve. It returns at once.
func (s *Server) Start() {
	s.start.Do(func() {
		for _, l := range s.loops {
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				l.run()
			}()
		}
	})
}

// Close stops accepting, lets what is in flight finish, flushes replies and closes
// all connections. When ctx ends first, it cuts them off. When it returns, no
// goroutine of the server is left.
func (s *Server) Close(ctx context.Context) error {
	defer s.cancel()
	defer s.subs.to.Close()
	s.start.Do(func() { // never started: there is nothing but descriptors to give back
		for _, l := range s.loops {
			l.shutdown()
		}
	})
	for _, l := range s.loops {
		l.post(l.drain)
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		s.adminWG.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		s.cancel()
		for _, l := range s.loops {
			l.post(l.abort)
		}
		<-done
	}
	return err
}

// refresh takes over what other nodes may have changed through the log.
func (s *Server) refresh() {
	settings := s.backend.Store().Settings()
	s.maxBulk.Store(settings.ProtoMaxBulkLen)
}

// imitates reports whether replies have the forms of this version of Redis, or of a
// later one (kv.Settings).
func (s *Server) imitates(version int64) bool {
	settings := s.backend.Store().Settings()
	return settings.RedisVersion >= version
}

func (s *Server) passwordSet() bool { return s.live.password() != "" }

func (s *Server) getChunk() *kv.Chunk {
	if c, ok := s.chunks.Get().(*kv.Chunk); ok {
		return c
	}
	return &kv.Chunk{}
}

// putChunk takes a chunk back. One that a big value went through is left to the
// garbage collector: the pool would keep its memory for ever.
func (s *Server) putChunk(c *kv.Chunk) {
	const keep = 1 << 20
	c.Waiter = nil
	if c.Reply.Len() > keep {
		kv.SpareTape(c.Reply.Take())
	}
	if c.Size() > keep {
		return
	}
	c.Reset()
	s.chunks.Put(c)
}

// blocking makes an asyncFunc of something that blocks: it runs on a goroutine of
// its own, of which there are at most maxAdmin.
func (s *Server) blocking(run func(ctx context.Context, out *kv.Reply)) asyncFunc {
	return func(ctx context.Context, done func(func(*kv.Reply))) {
		select {
		case s.admin <- struct{}{}:
		default:
			done(func(out *kv.Reply) { out.Error("BUSY too many administrative commands are running") })
			return
		}
		s.adminWG.Add(1)
		go func() {
			defer s.adminWG.Done()
			defer func() { <-s.admin }()
			var reply kv.Reply
			defer func() { done(func(out *kv.Reply) { out.AppendTape(&reply) }) }()
			defer func() {
				if r := recover(); r != nil {
					s.log.Error("admin command panicked", "panic", r, "stack", string(debug.Stack()))
					reply.Reset()
					reply.Error("ERR internal error")
				}
			}()
			run(ctx, &reply)
		}()
	}
}

// streaming is blocking for what sends its answer by itself. Told says that it has begun
// to; it then ends the connection, too.
func (s *Server) streaming(run func(ctx context.Context) (told bool, err error)) asyncFunc {
	return func(ctx context.Context, done func(func(*kv.Reply))) {
		told := false
		s.blocking(func(ctx context.Context, out *kv.Reply) {
			var err error
			if told, err = run(ctx); err != nil && !told {
				out.Error(err.Error())
			}
		})(ctx, func(fill func(*kv.Reply)) {
			if !told {
				done(fill)
			}
		})
	}
}

// rateLimited lets one event per minute through and counts the others.
type rateLimited struct {
	mu     sync.Mutex
	last   time.Time
	missed int
}

func (r *rateLimited) allow(now time.Time) (missed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < time.Minute {
		r.missed++
		return 0, false
	}
	missed, r.missed, r.last = r.missed, 0, now
	return missed, true
}

func (s *Server) logCrossProtocol(addr clientAddr) {
	if missed, ok := s.http.allow(time.Now()); ok {
		s.log.Warn("possible attack: POST or Host: sent to the Redis port, connection closed",
			"client", addr.remote, "not_logged_before", missed)
	}
}
