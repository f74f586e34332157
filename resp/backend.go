package resp

import (
	"context"

	"github.com/rkvdb/rkv/kv"
)

// Backend is the node as the front end sees it. cmd/rkv implements it over
// internal/node; tests implement it over a lone kv.Store.
//
// Callbacks run on an arbitrary goroutine of the node and must only enqueue.
type Backend interface {
	// Store is the state machine, for reads under its own lock.
	Store() *kv.Store
	// Flush makes everything that Propose, ReadBarrier and Tick were given since the
	// last call take effect, together; a caller calls it once for many. It does not
	// wait for disk or network, but may compute.
	Flush()
	// Release tells that the clients whose chunks came back have sent what they had to
	// send, or had the time to. After it answered several chunks the node keeps new ones,
	// for a few ms at most, until it is called: they share one log entry.
	Release()
	// Propose submits a chunk that holds at least one logged operation. It never
	// blocks. c.Waiter.ChunkDone(c) is called exactly once: after this node applied
	// the chunk (replies on its tape), or with c.Err set to an error in Redis's
	// words. Until then the chunk belongs to the node. A Waiter that is a kv.BlockWaiter
	// hears in between if the client is blocked.
	Propose(c *kv.Chunk)
	// Leave tells that the client of a proposed chunk has gone: if it waits in a blocking
	// command it must not be served. ChunkDone may or may not be called after it.
	Leave(c *kv.Chunk)
	// ClientCall asks another node of the cluster to do something with one of its
	// clients, and blocks until it did: the number is what it answered, 0 if there is
	// no such node. ServeClientCalls sets who answers such calls here; serve may block.
	ClientCall(ctx context.Context, node uint64, words []string) (int64, error)
	ServeClientCalls(serve func(words []string) (int64, error))
	// ReadBarrier calls done(nil) once this node's state machine holds everything
	// that was acknowledged anywhere before the call: a read made then is
	// linearizable. One call serves any number of reads waiting at that moment.
	ReadBarrier(done func(err error))
	// LeaseRead reports whether reads may run now, without a barrier, on condition that
	// LeaseHolds(lease) is true after they ran; if it is false then, what was read must
	// not be answered, and the reads run again behind a barrier. Both are cheap.
	LeaseRead() (lease uint64, ok bool)
	LeaseHolds(lease uint64) bool
	// Tick makes the cluster's stamp reach now, so that keys due by now are
	// expired for everybody; done is called when this node has applied it.
	Tick(now int64, done func(err error))
	// Now is the node's wall clock in Unix ms (coarse, cheap).
	Now() int64
	// Saturated reports that the node holds too many proposed bytes: the front end
	// stops reading from sockets. It asks again with each answer and every tick, so
	// the call must be cheap.
	Saturated() bool
	// Publish brings messages to the subscribers of all nodes, in one order for all of
	// them. done is called once, with the number of clients of the cluster that listen,
	// for each message, or with an error in Redis's words. It never blocks; ps becomes
	// the node's.
	Publish(ps []kv.Publication, done func(receivers []int, err error))
	// Announce tells the cluster how many of this node's clients listen to the names
	// from now on; done, if not nil, is called once, when a PUBLISH anywhere counts
	// them, or after a short while. It never blocks. Calls keep their order.
	Announce(list []kv.Subscription, done func())
	// Subscribers is how many clients of the cluster listen to a name, Subscriptions
	// which names are listened to, SubscriptionCount how many.
	Subscribers(kind kv.SubscriptionKind, name string) int
	Subscriptions(kind kv.SubscriptionKind) []string
	SubscriptionCount(kind kv.SubscriptionKind) int
	// WaitReplicas answers, through done, how many nodes other than the leader
	// hold index durably, once that number is at least n or ctx ends.
	WaitReplicas(ctx context.Context, index uint64, n int, done func(count int))

	// Status is cheap enough for INFO.
	Status() Status
	// Admin operations block until they succeeded or failed; errors are in
	// Redis's words ("ERR ...").
	AddLearner(ctx context.Context, id uint64, peerAddr string) error
	Remove(ctx context.Context, id uint64) error
	Promote(ctx context.Context, id uint64) error
	Transfer(ctx context.Context, to uint64) error
	// SetPriority makes a member more (higher) or less welcome as leader.
	SetPriority(ctx context.Context, id uint64, priority int32) error
	// SetReadMode makes the cluster read by "quorum" or by "lease".
	SetReadMode(ctx context.Context, mode string) error
	Snapshot(ctx context.Context) (index uint64, err error)
	// Digest is (applied index, digest of all replicated data at it).
	Digest(ctx context.Context) (index uint64, digest string, err error)
}

// Status is what INFO, ROLE and RAFT STATUS tell about the node.
type Status struct {
	ID            uint64
	Role          string // leader, follower, candidate, pre-candidate, learner
	Term          uint64
	LeaderID      uint64
	LeaderAddr    string // client address, "" if unknown
	FirstIndex    uint64
	LastIndex     uint64
	DurableIndex  uint64
	CommitIndex   uint64
	AppliedIndex  uint64
	SnapshotIndex uint64
	QuorumOK      bool
	ReadMode      string // quorum or lease
	ClusterID     string
	RunID         string // 40 hex digits, new at each start
	Members       []Member
	// Matches are the voters' durable indexes, descending.
	Matches []uint64
	// Counters for INFO raft and tests.
	Fsyncs, Batches, Proposals, Snapshots uint64
	LogBytes                              int64
	Stamp                                 int64
	// SavedAt is when the newest snapshot held everything, Unix ms, 0 if there is none;
	// Saving: one is being written; SaveFailed: the last attempt came to nothing.
	SavedAt            int64
	Saving, SaveFailed bool
}

// Member is one member as seen from this node.
type Member struct {
	ID         uint64
	PeerAddr   string
	ClientAddr string
	// ClusterAddr and SentinelAddr are its listeners for such clients; "": none.
	ClusterAddr, SentinelAddr string
	Voter                     bool
	Self                      bool
	Priority                  int32 // as leader; higher is preferred
	// Match is the durable index as known here; Active whether it was heard from
	// within an election timeout. Both are zero where this node cannot know.
	Match  uint64
	Active bool
	State  string
	// Connected: this node and the member are connected.
	Connected bool
}
