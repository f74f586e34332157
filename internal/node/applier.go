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
// snapshots between them. It is the state machine's only writer. A batch is performed
// by the applier's goroutine, or, if it is small, by a helper that has nothing better
// to do (Node.pump); busy sees to it that there is one at a time.
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
	level    atomic.Uint32 // the cluster's apply level
	waits    uint64        // store.WaitVersion as of then
	pump     func()        // after the goroutine performed a batch: what follows from it
	// rest, if set, is called after each piece of work, with how long it took, until it
	// reports that there is no need for it any more.
	rest   func(worked time.Duration) bool
	mu     sync.Mutex
	jobs   []applyJob
	spare  []applyJob // the memory of the batch before
	busy   bool       // somebody performs a batch, or tidies up
	dead   bool       // a batch failed
	closed bool
	wake   chan struct{}
	exit   chan struct{}
	batch  []kv.LogEntry
	rounds atomic.Uint64 // batches performed
	untidy atomic.Bool   // memory may be given back
}

type applyJob struct {
	entries []raftcore.Entry
	restore *raftcore.SnapshotMeta
	deliver []kv.Publication
}

func newApplier(store *kv.Store, owner kv.Owner) *applier {
	return &applier{store: store, owner: owner, pump: func() {}, wake: make(chan struct{}, 1), exit: make(chan struct{})}
}

// add queues a job; somebody has to kick or help. The queue is bounded by the core,
// which hands out committed entries of its memory window or fetches them a message's
// worth at a time.
func (a *applier) add(j applyJob) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.jobs = append(a.jobs, j)
}

// kick wakes the goroutine if there is work that nobody has begun.
func (a *applier) kick() {
	a.mu.Lock()
	idle := len(a.jobs) > 0 && !a.busy
	a.mu.Unlock()
	if idle {
		a.signal()
	}
}

// help performs the next batch on the caller's goroutine, if there is one that
// nobody has begun and that is brief.
func (a *applier) help() bool {
	a.mu.Lock()
	if a.busy || len(a.jobs) == 0 || !brief(a.jobs) {
		a.mu.Unlock()
		return false
	}
	jobs := a.begin()
	a.mu.Unlock()
	_ = a.perform(jobs) // the error has reached fail
	return true
}

// briefBytes bounds what a helper applies: it has other duties.
const briefBytes = 64 << 10

// brief reports whether jobs take no longer than a helper should be away.
func brief(jobs []applyJob) bool {
	bytes := 0
	for i := range jobs {
		if jobs[i].restore != nil {
			return false
		}
		for k := range jobs[i].entries {
			if bytes += len(jobs[i].entries[k].Body); bytes > briefBytes {
				return false
			}
		}
	}
	for i := range jobs {
		for k := range jobs[i].entries {
			if e := &jobs[i].entries[k]; e.Type == raftcore.EntryNormal && !kv.Brief(e.Body) {
				return false
			}
		}
	}
	return true
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
			a.pump()
		case closed:
			return
		case !a.untidy.Load():
			<-a.wake
		default:
			a.waitToTidy(rest)
		}
	}
}

// waitToTidy waits for work, and tidies up if there was none, for helpers either, for
// tidyAfter.
func (a *applier) waitToTidy(rest *time.Timer) {
	before := a.rounds.Load()
	rest.Reset(tidyAfter)
	select {
	case <-a.wake:
	case <-rest.C:
		if a.rounds.Load() == before {
			a.tidyUp()
		}
	}
}

// tidyAfter is how long the applier must have been idle before it gives memory back
// that deletions and closed cuts left behind: sooner, and every pause between two
// commands of a lone client would pay for it.
const tidyAfter = 10 * time.Millisecond

// tidyUp works in slices of well below a millisecond, as long as nothing else waits.
func (a *applier) tidyUp() {
	for {
		a.mu.Lock()
		if len(a.jobs) > 0 || a.closed || a.busy {
			a.mu.Unlock()
			return
		}
		a.busy = true
		a.mu.Unlock()
		a.untidy.Store(a.store.Maintain())
		a.release(false)
		if !a.untidy.Load() {
			return
		}
	}
}

// tidy asks for a round: a cut was closed.
func (a *applier) tidy() {
	a.untidy.Store(true)
	a.signal()
}

// take begins a batch of everything that waits, unless one is being performed.
// Whoever got jobs must perform them. done: the applier has ended, or may.
func (a *applier) take() (jobs []applyJob, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy || len(a.jobs) == 0 {
		return nil, a.dead || a.closed && !a.busy
	}
	return a.begin(), false
}

// begin takes everything that waits. The caller holds mu.
func (a *applier) begin() (jobs []applyJob) {
	clear(a.spare)
	jobs, a.jobs, a.spare = a.jobs, a.spare[:0], a.jobs
	a.busy = true
	return jobs
}

// perform finishes a batch and tells the loop. After an error nothing more may be
// applied: the applier stays busy for ever.
func (a *applier) perform(jobs []applyJob) error {
	if err := a.do(jobs); err != nil {
		a.release(true)
		a.fail(err)
		return err
	}
	a.publish()
	a.rounds.Add(1)
	a.applied()
	if !a.untidy.Swap(true) {
		a.signal() // the goroutine may sleep without a timer
	}
	a.release(false)
	return nil
}

// release ends what take or tidyUp began.
func (a *applier) release(dead bool) {
	a.mu.Lock()
	a.busy, a.dead = dead, dead
	wake := dead || a.closed || len(a.jobs) > 0
	a.mu.Unlock()
	if wake {
		a.signal()
	}
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
		if err := a.applyAndRest(j.entries); err != nil {
			return err
		}
	}
	return nil
}

// restPiece is how many bytes of entries are applied between two rests: milliseconds.
const restPiece = 128 << 10

// applyAndRest does not rest for what a helper may apply, who has other duties.
func (a *applier) applyAndRest(entries []raftcore.Entry) error {
	for rests := false; a.rest != nil && len(entries) > 0; {
		n, bytes := 0, 0
		for ; n < len(entries) && bytes < restPiece; n++ {
			bytes += len(entries[n].Body)
		}
		if rests = rests || bytes > briefBytes; !rests {
			break
		}
		began := time.Now()
		if err := a.apply(entries[:n]); err != nil {
			return err
		}
		worked := time.Since(began)
		a.publish()
		a.applied()
		if entries = entries[n:]; !a.rest(worked) {
			a.rest = nil
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return a.apply(entries)
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
	a.level.Store(uint32(a.store.Level()))
	rows := a.store.Presence(nil)
	a.presence.Store(&rows)
}
