package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// Config is what a node is started with. Zero durations and sizes mean defaults.
type Config struct {
	ID      raftcore.NodeID // 0: whatever the data directory says, 1 in a new one
	DataDir string
	// PeerAddr is where peers reach this node; ListenPeer, if set, is bound instead
	// of it. ClientAddr is announced to Redis clients.
	PeerAddr, ListenPeer, ClientAddr string
	// Addresses are announced to the other nodes, for their clients.
	Addresses Addresses
	// Initial forms a new cluster together with the others of the list (which
	// includes this node). Join asks members of an existing one. Neither: a
	// cluster of one. All are ignored once the directory belongs to a cluster.
	Initial map[raftcore.NodeID]string
	Join    []string
	Secret  []byte

	// ElectionTimeout is T: elections start after T to 2T without a leader. Too
	// low: elections under load. Too high: slow failover. Default 500 ms.
	ElectionTimeout time.Duration
	// Heartbeat, at most T/2, default 50 ms.
	Heartbeat time.Duration
	// Priority is this node's when it first becomes a member; SetPriority changes it.
	// Higher is preferred as leader, 0 is normal.
	Priority int32
	// ReadMode is quorum or lease: how a new cluster reads. In an existing one it has to
	// be what the cluster does already, or empty; SetReadMode changes it. Lease: leaders
	// answer reads without a round, trusting that no two nodes' clocks run at rates that
	// differ by more than a third. Default quorum: clocks are not trusted.
	ReadMode string
	// ParkTimeout is how long requests wait for a leader; shorter than the common
	// clients' time-outs so that they hear our error. Default 1.8 s.
	ParkTimeout time.Duration
	// RequestTimeout bounds a unit's wait while there is a leader. Default 5 s.
	RequestTimeout time.Duration
	// ResendTimeout is the silence after which a unit is given to the same leader
	// again. Default 2T.
	ResendTimeout time.Duration
	// StallLimit is the silence of the disk after which the node stops: whoever waits
	// for it is better served by a restart elsewhere. Leadership goes after one T.
	// Default 30 s.
	StallLimit time.Duration
	// SnapshotLogBytes of log since the last snapshot make the node take one.
	// Smaller: faster restarts, less disk, more CPU. Default 512 MiB.
	SnapshotLogBytes int64
	// KeepLogBytes of log stay after a snapshot for followers that lag. Default a
	// quarter of SnapshotLogBytes.
	KeepLogBytes int64
	// SnapshotBytesPerSecond bounds how fast a snapshot is written, sent and received.
	// Lower: the log grows for longer meanwhile. Higher: commits wait for the disk and
	// the network. Default 64 MiB.
	SnapshotBytesPerSecond int64
	SegmentSize            int64 // see segmentlog.Options
	// MaxQueuedBytes of client chunks in flight; beyond it the front end stops
	// reading. Default 256 MiB.
	MaxQueuedBytes int64
	MaxEntryBytes  int // default 64 MiB
	// LargeUnit is the size, in bytes, from which a unit is an entry of its own, which waits
	// its turn (docs/adr/0039). Default 1 MiB, a full entry.
	LargeUnit int
	Databases int // default 16
	// Level is the newest apply level this node knows; default kv.ApplyLevel. Another is
	// for tests of what nodes of different versions do together.
	Level uint16
	// SyncNever is --sync never: one-node clusters only.
	SyncNever bool

	FS     vfs.FS
	Logger *slog.Logger
	Now    func() time.Time // the clock; nil: time.Now
	// Elapsed is the clock of leases, in ns: it never goes back and counts while the
	// machine sleeps. Nil: CLOCK_BOOTTIME, or Now if that is given.
	Elapsed func() int64

	// Idle, if set, is how long the machine's processors have had nothing to do so far, all
	// added up. Snapshots take more of what nobody uses.
	Idle func() time.Duration
	// LongWork, if set, is called when work begins that keeps processors busy for long:
	// the load at a start, which nobody is served beside, and the collection of garbage
	// before a snapshot, whose sweep would keep all others off a single one. What it
	// returns is called when that ends.
	LongWork func() (end func())

	// The rest is the simulator's: see step.go. Zero in production.

	// Wall is the wall clock, Unix ms, at a reading of Now: there Now is the
	// monotonic clock alone. Nil: the reading's own wall time.
	Wall func(now time.Time) int64
	// Random draws incarnations and the seeds of entries. Nil: crypto/rand.
	Random func() uint64
	// Tune adjusts the core's limits before it starts.
	Tune func(c *raftcore.Config)
	// Inline keeps the log from preparing segments on a goroutine of its own.
	Inline bool
}

func (c *Config) fill() error {
	if c.LongWork == nil {
		c.LongWork = func() func() { return func() {} }
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	size := func(n *int64, v int64) {
		if *n == 0 {
			*n = v
		}
	}
	def(&c.ElectionTimeout, 500*time.Millisecond)
	def(&c.Heartbeat, min(50*time.Millisecond, c.ElectionTimeout/2))
	def(&c.ParkTimeout, 1800*time.Millisecond)
	def(&c.RequestTimeout, 5*time.Second)
	def(&c.ResendTimeout, 2*c.ElectionTimeout)
	def(&c.StallLimit, 30*time.Second)
	size(&c.SnapshotLogBytes, 512<<20)
	size(&c.KeepLogBytes, c.SnapshotLogBytes/4)
	size(&c.SnapshotBytesPerSecond, 64<<20)
	size(&c.MaxQueuedBytes, 256<<20)
	if c.MaxEntryBytes == 0 {
		c.MaxEntryBytes = 64 << 20
	}
	if c.LargeUnit == 0 {
		c.LargeUnit = maxBatchBytes
	}
	if c.Level == 0 {
		c.Level = kv.ApplyLevel
	}
	if c.Databases == 0 {
		c.Databases = 16
	}
	switch now := c.Now; {
	case c.Elapsed != nil:
	case now != nil:
		c.Elapsed = func() int64 { return now().UnixNano() }
	default:
		c.Elapsed = bootTime
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wall == nil {
		c.Wall = time.Time.UnixMilli
	}
	if c.Random == nil {
		c.Random = randomID
	}
	if c.FS == nil {
		c.FS = vfs.OS{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.ListenPeer == "" {
		c.ListenPeer = c.PeerAddr
	}
	return c.validate()
}

// Validate checks the configuration as Open will, before anything is touched.
func (c Config) Validate() error { return c.fill() }

func (c *Config) validate() error {
	if c.Heartbeat > c.ElectionTimeout/2 {
		return fmt.Errorf("heartbeat is %v, must be at most half of the election timeout (%v)", c.Heartbeat, c.ElectionTimeout)
	}
	if c.ElectionTimeout < 20*time.Millisecond {
		return fmt.Errorf("election timeout is %v, must be at least 20ms", c.ElectionTimeout)
	}
	if c.ReadMode != "" && c.ReadMode != ReadQuorum && c.ReadMode != ReadLease {
		return fmt.Errorf("read mode is %q, must be quorum or lease", c.ReadMode)
	}
	if c.Priority < -MaxPriority || c.Priority > MaxPriority {
		return fmt.Errorf("priority is %d, must be between %d and %d", c.Priority, -MaxPriority, MaxPriority)
	}
	if len(c.Initial) > 0 && len(c.Join) > 0 {
		return errors.New("an initial cluster and addresses to join exclude each other; give one")
	}
	if len(c.Initial) > 0 {
		if addr, ok := c.Initial[c.ID]; !ok {
			return fmt.Errorf("the initial cluster does not list this node's id %d", c.ID)
		} else if addr != c.PeerAddr {
			return fmt.Errorf("the initial cluster lists node %d at %s, but its peer address is %s", c.ID, addr, c.PeerAddr)
		}
		if c.SyncNever && len(c.Initial) > 1 {
			return errors.New("sync never is for one-node clusters only")
		}
	}
	return nil
}

// tick is the core's unit of time.
func (c *Config) tick() time.Duration {
	return max(c.Heartbeat/5, time.Millisecond)
}
