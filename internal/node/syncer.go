package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// syncer is the only writer of the log. While one sync runs, everything that
// arrives becomes the next batch: group commit by back-pressure, never by a timer.
// A batch is performed by the syncer's goroutine, or by a helper that has nothing
// better to do (Node.pump); busy sees to it that there is one at a time.
type syncer struct {
	log  *segmentlog.Log
	now  func() time.Time
	done func(saved uint64) // a batch is durable up to this Save
	fail func(err error)
	pump func() // after the goroutine performed a batch: what follows from it

	mu     sync.Mutex
	jobs   []syncJob
	spare  []syncJob       // the memory of the batch before
	saves  []raftcore.Save // scratch of the batch being performed
	busy   bool            // somebody performs a batch
	dead   bool            // a batch failed
	closed bool
	wake   chan struct{}
	// since is when the disk began to owe an answer, Unix ns; 0: idle. What is large may
	// take its time first.
	since atomic.Int64
	exit  chan struct{}
}

// syncJob is one of: a save, a reset of the log after a snapshot was installed, a
// compaction.
type syncJob struct {
	save    *raftcore.Save
	reset   *raftcore.SnapshotMeta
	compact uint64
	then    func()
}

func newSyncer(log *segmentlog.Log, now func() time.Time, done func(uint64), fail func(error)) *syncer {
	return &syncer{log: log, now: now, done: done, fail: fail, pump: func() {},
		wake: make(chan struct{}, 1), exit: make(chan struct{})}
}

// put queues a job and wakes the goroutine.
func (s *syncer) put(j syncJob) {
	s.add(j)
	s.kick()
}

// add is put for those who see to it themselves that somebody performs the job.
func (s *syncer) add(j syncJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, j)
	if len(s.jobs) == 1 && !s.busy {
		// Under mu, or a syncer that is done by now would seem busy for ever.
		s.since.CompareAndSwap(0, s.now().UnixNano())
	}
}

// kick wakes the goroutine if there is work that nobody has begun.
func (s *syncer) kick() {
	if s.idle() {
		s.signal()
	}
}

// idle reports whether work waits and nobody performs any.
func (s *syncer) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) > 0 && !s.busy
}

// help performs the next batch on the caller's goroutine, if there is one that
// nobody has begun.
func (s *syncer) help() bool {
	jobs, _ := s.take()
	if len(jobs) == 0 {
		return false
	}
	_ = s.perform(jobs) // the error has reached fail
	return true
}

func (s *syncer) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// age is how long the disk has owed us an answer.
func (s *syncer) age(now time.Time) time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(max(0, now.UnixNano()-since))
}

func (s *syncer) run() {
	defer close(s.exit)
	for {
		jobs, closed := s.take()
		switch {
		case len(jobs) > 0:
			if s.perform(jobs) != nil {
				return
			}
			s.pump()
		case closed:
			return
		default:
			<-s.wake
		}
	}
}

// take begins a batch of everything that waits, unless one is being performed.
// Whoever got jobs must perform them. done: the syncer has ended, or may.
func (s *syncer) take() (jobs []syncJob, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || len(s.jobs) == 0 {
		return nil, s.dead || s.closed && !s.busy
	}
	clear(s.spare)
	jobs, s.jobs, s.spare = s.jobs, s.spare[:0], s.jobs
	s.busy = true
	s.since.Store(s.now().UnixNano())
	return jobs, false
}

// perform finishes a batch. After an error the syncer is done for: it stays busy and
// since stays set, so that the loop sees a disk that never answers.
func (s *syncer) perform(jobs []syncJob) error {
	err := s.do(jobs)
	s.mu.Lock()
	s.busy, s.dead = err != nil, err != nil
	switch {
	case err != nil:
	case len(s.jobs) > 0:
		s.since.Store(s.now().UnixNano())
	default:
		s.since.Store(0)
	}
	wake := s.dead || s.closed || len(s.jobs) > 0
	s.mu.Unlock()
	if wake {
		s.signal()
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

// syncBytes bounds a write of several saves: what is behind it should not have to wait
// for much more than an entry of the largest size, nor be mistaken for a hanging disk.
const syncBytes = 8 << 20

// slowDisk is how much a disk must write in a second, at least, not to be taken for one
// that hangs.
const slowDisk = 16 << 20

// do performs jobs in order; neighbouring saves become one write and one sync, if they
// are not too large.
func (s *syncer) do(jobs []syncJob) error {
	batch, size := s.saves[:0], 0
	defer func() { s.saves = batch[:0] }()
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		s.since.Store(s.now().UnixNano() + int64(size)*int64(time.Second)/slowDisk)
		if err := s.log.Save(batch); err != nil {
			return err
		}
		s.done(batch[len(batch)-1].ID)
		clear(batch)
		batch, size = batch[:0], 0
		return nil
	}
	for _, j := range jobs {
		if j.save != nil {
			n := saveSize(j.save)
			if size > 0 && size+n > syncBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			batch, size = append(batch, *j.save), size+n
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if err := s.maintain(j); err != nil {
			return err
		}
	}
	return flush()
}

func saveSize(s *raftcore.Save) (bytes int) {
	for i := range s.Entries {
		bytes += s.Entries[i].Size()
	}
	return bytes
}

func (s *syncer) maintain(j syncJob) error {
	var err error
	switch {
	case j.reset != nil:
		err = s.log.Reset(j.reset.Index, j.reset.Term)
	case j.compact != 0:
		err = s.log.Compact(j.compact)
	}
	if err == nil && j.then != nil {
		j.then()
	}
	return err
}

// close lets the queued jobs finish and ends the goroutine.
func (s *syncer) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	<-s.exit
}
