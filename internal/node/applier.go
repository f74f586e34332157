package node

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// applier feeds committed entries to the state machine, in order, and installs
// snapshots between them. It is the state machine's only writer.
type applier struct {
	store   *kv.Store
	owner   kv.Owner
	restore func(meta raftcore.SnapshotMeta) error
	applied func()
	fail    func(err error)

	// What the state machine looked like after the last batch, for the loop, which
	// must not wait for the store's lock. noDue means that no key expires.
	index   atomic.Uint64
	stamp   atomic.Int64
	nextDue atomic.Int64
	// mailBytes are those of deliver jobs that wait.
	mailBytes atomic.Int64
	// timeout and presence are about clients in blocking commands.
	timeout  atomic.Int64
	presence atomic.Pointer[[]kv.Presence]
	waits    uint64 // store.WaitVersion as of then
	mu       sync.Mutex
	jobs     []applyJob
	spare    []applyJob // the memory of the batch before
	closed   bool
	wake     chan struct{}
	exit     chan struct{}
	batch    []kv.LogEntry
	untidy   atomic.Bool // memory may be given back
}

type applyJob struct {
	entries []raftcore.Entry
	restore *raftcore.SnapshotMeta
	deliver []kv.Publication
}

func newApplier(store *kv.Store, owner kv.Owner) *applier {
	return &applier{store: store, owner: owner, wake: make(chan struct{}, 1), exit: make(chan struct{})}
}

// put queues a job. The queue is bounded by the core, which hands out committed
// entries of its memory window or fetches them a message's worth at a time.
func (a *applier) put(j applyJob) {
	a.mu.Lock()
	a.jobs = append(a.jobs, j)
	first := len(a.jobs) == 1
	a.mu.Unlock()
	if first {
		a.signal()
	}
}

func (a *applier) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *applier) run() {
	defer close(a.exit)
	rest := time.NewTimer(tidyAfter)
	defer rest.Stop()
	for {
		jobs, closed := a.take()
		switch {
		case len(jobs) > 0:
			if a.perform(jobs) != nil {
				return
			}
			a.untidy.Store(true)
		case closed:
			return
		case !a.untidy.Load():
			<-a.wake
		default:
			rest.Reset(tidyAfter)
			select {
			case <-a.wake:
			case <-rest.C:
				a.tidyUp()
			}
		}
	}
}

// tidyAfter is how long the applier must have been idle before it gives memory back
// that deletions and closed cuts left behind: sooner, and every pause between two
// commands of a lone client would pay for it.
const tidyAfter = 10 * time.Millisecond

// tidyUp works in slices of well below a millisecond, as long as nothing else waits.
func (a *applier) tidyUp() {
	more := true
	for more && !a.pending() {
		more = a.store.Maintain()
	}
	a.untidy.Store(more)
}

func (a *applier) pending() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.jobs) > 0 || a.closed
}

// tidy asks for a round: a cut was closed.
func (a *applier) tidy() {
	a.untidy.Store(true)
	a.signal()
}

// take begins a batch of everything that waits; the one before must be finished.
func (a *applier) take() (jobs []applyJob, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.spare)
	jobs, a.jobs, a.spare = a.jobs, a.spare[:0], a.jobs
	return jobs, a.closed
}

// perform finishes a batch and tells the loop. After an error nothing more may be
// applied.
func (a *applier) perform(jobs []applyJob) error {
	if err := a.do(jobs); err != nil {
		a.fail(err)
		return err
	}
	a.publish()
	a.applied()
	return nil
}

func (a *applier) do(jobs []applyJob) error {
	for _, j := range jobs {
		if j.restore != nil {
			if err := a.restore(*j.restore); err != nil {
				return err
			}
			continue
		}
		if j.deliver != nil {
			a.mailBytes.Add(-int64(publicationBytes(j.deliver)))
			a.store.Deliver(j.deliver)
			continue
		}
		if err := a.apply(j.entries); err != nil {
			return err
		}
	}
	return nil
}

// apply turns a panic into an error that names the entry: a poisoned entry must
// stop the node, on every node alike, and be found (DESIGN 5).
func (a *applier) apply(entries []raftcore.Entry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			at := a.store.Applied() + 1
			err = fmt.Errorf("applying entry %d (checksum %08x) panicked: %v", at, checksumOf(entries, at), p)
		}
	}()
	a.batch = a.batch[:0]
	for i := range entries {
		e := &entries[i]
		kind := kv.EntryOther
		if e.Type == raftcore.EntryNormal {
			kind = kv.EntryNormal
		}
		a.batch = append(a.batch, kv.LogEntry{Index: e.Index, Kind: kind, Body: e.Body})
	}
	err = a.store.Apply(a.batch, a.owner)
	clear(a.batch)
	return err
}

func checksumOf(entries []raftcore.Entry, index uint64) uint32 {
	for i := range entries {
		if entries[i].Index == index {
			return entries[i].CRC
		}
	}
	return 0
}

func (a *applier) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.signal()
	<-a.exit
}

const noDue = math.MaxInt64

func (a *applier) publish() {
	a.index.Store(a.store.Applied())
	a.stamp.Store(a.store.Stamp())
	at, ok := a.store.NextDue()
	if !ok {
		at = noDue
	}
	a.nextDue.Store(at)
	if v := a.store.WaitVersion(); v != a.waits || a.presence.Load() == nil {
		a.waits = v
		a.publishWaits()
	}
}

// publishWaits tells about clients in blocking commands.
func (a *applier) publishWaits() {
	at, ok := a.store.NextTimeout()
	if !ok {
		at = noDue
	}
	a.timeout.Store(at)
	rows := a.store.Presence(nil)
	a.presence.Store(&rows)
}
