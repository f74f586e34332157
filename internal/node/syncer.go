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
type syncer struct {
	log  *segmentlog.Log
	now  func() time.Time
	done func(saved uint64) // a batch is durable up to this Save
	fail func(err error)

	mu     sync.Mutex
	jobs   []syncJob
	spare  []syncJob // the memory of the batch before
	busy   bool
	closed bool
	wake   chan struct{}
	// since is when the oldest unfinished job was handed in, Unix ns; 0: idle.
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
	return &syncer{log: log, now: now, done: done, fail: fail,
		wake: make(chan struct{}, 1), exit: make(chan struct{})}
}

func (s *syncer) put(j syncJob) {
	s.mu.Lock()
	s.jobs = append(s.jobs, j)
	first := len(s.jobs) == 1 && !s.busy
	if first {
		// Under mu, or a syncer that is done by now would seem busy for ever.
		s.since.CompareAndSwap(0, s.now().UnixNano())
	}
	s.mu.Unlock()
	if first {
		s.signal()
	}
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
	return time.Duration(now.UnixNano() - since)
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
		case closed:
			return
		default:
			<-s.wake
		}
	}
}

// take begins a batch of everything that waits; the one before must be finished.
func (s *syncer) take() (jobs []syncJob, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.spare)
	jobs, s.jobs, s.spare = s.jobs, s.spare[:0], s.jobs
	s.busy = len(jobs) > 0
	if s.busy {
		s.since.Store(s.now().UnixNano())
	} else {
		s.since.Store(0)
	}
	return jobs, s.closed
}

// perform finishes a batch. After an error the syncer is done for: since stays set,
// so that the loop sees a disk that never answers.
func (s *syncer) perform(jobs []syncJob) error {
	err := s.do(jobs)
	if err != nil {
		s.fail(err)
	}
	return err
}

// do performs jobs in order; neighbouring saves become one write and one sync.
func (s *syncer) do(jobs []syncJob) error {
	var batch []raftcore.Save
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := s.log.Save(batch); err != nil {
			return err
		}
		s.done(batch[len(batch)-1].ID)
		batch = batch[:0]
		return nil
	}
	for _, j := range jobs {
		if j.save != nil {
			batch = append(batch, *j.save)
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
