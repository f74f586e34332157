package resp

import (
	"math/bits"
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// tally counts the commands of one loop. Only that loop writes rows, without locks;
// others see what it published last (tick). INFO on the same loop reads them live.
type tally struct {
	rows      []commandRow
	epoch     uint64 // of Server.statsEpoch: CONFIG RESETSTAT makes rows void
	published atomic.Pointer[[]commandRow]
}

// commandRow is what INFO commandstats and latencystats tell of a command.
type commandRow struct {
	calls, usec, rejected, failed uint64
	latency                       *histogram
}

func newTally() *tally { return &tally{rows: make([]commandRow, kv.NumCommands())} }

// row is the command's; a reset by another loop takes effect here.
func (s *session) row(cmd *kv.Command) *commandRow {
	t := s.tally
	if e := s.srv.statsEpoch.Load(); e != t.epoch {
		t.epoch = e
		clear(t.rows)
	}
	return &t.rows[cmd.ID()]
}

func (r *commandRow) add(usec int64) {
	r.calls++
	r.usec += uint64(usec)
	if r.latency == nil {
		r.latency = new(histogram)
	}
	r.latency.add(uint64(usec))
}

// called notes what a script called; it was no command's time but the script's.
func (r *commandRow) called(c kv.CommandCalls) {
	r.calls += uint64(c.Calls)
	r.failed += uint64(c.Failed)
	r.rejected += uint64(c.Rejected)
	if c.Calls == 0 {
		return
	}
	if r.latency == nil {
		r.latency = new(histogram)
	}
	r.latency.n += uint64(c.Calls)
	r.latency.buckets[0] += uint32(c.Calls)
}

// publish makes the rows visible to other loops.
func (t *tally) publish(epoch uint64) {
	if t.epoch != epoch {
		t.epoch = epoch
		clear(t.rows)
	}
	rows := make([]commandRow, len(t.rows))
	copy(rows, t.rows)
	for i := range rows {
		if h := rows[i].latency; h != nil {
			c := *h
			rows[i].latency = &c
		}
	}
	t.published.Store(&rows)
}

// commandRows merges all loops' rows: ours as they are, the others' as published.
func (s *Server) commandRows(mine *tally) []commandRow {
	sum := make([]commandRow, kv.NumCommands())
	for _, t := range s.tallies {
		rows := t.rows
		if t != mine {
			p := t.published.Load()
			if p == nil {
				continue
			}
			rows = *p
		} else if t.epoch != s.statsEpoch.Load() {
			continue
		}
		for i := range rows {
			sum[i].merge(&rows[i])
		}
	}
	return sum
}

func (r *commandRow) merge(o *commandRow) {
	r.calls += o.calls
	r.usec += o.usec
	r.rejected += o.rejected
	r.failed += o.failed
	if o.latency != nil {
		if r.latency == nil {
			r.latency = new(histogram)
		}
		r.latency.merge(o.latency)
	}
}

// histogram counts durations in microseconds: eight buckets for each power of two,
// so a percentile is at most an eighth too high.
type histogram struct {
	n       uint64
	buckets [histogramBuckets]uint32
}

const histogramBuckets = 8 * 30

func bucketOf(usec uint64) int {
	if usec < 8 {
		return int(usec)
	}
	exp := bits.Len64(usec) - 1 // at least 3
	return min((exp-2)*8+int(usec>>(exp-3)&7), histogramBuckets-1)
}

// bucketTop is the largest duration of a bucket.
func bucketTop(i int) uint64 {
	if i < 8 {
		return uint64(i)
	}
	exp := i/8 + 2
	return (uint64(i%8)+9)<<(exp-3) - 1
}

func (h *histogram) add(usec uint64) {
	h.n++
	h.buckets[bucketOf(usec)]++
}

func (h *histogram) merge(o *histogram) {
	h.n += o.n
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
}

// percentile is the duration that p percent of the calls did not exceed.
func (h *histogram) percentile(p float64) uint64 {
	want := uint64(p / 100 * float64(h.n))
	if float64(want) < p/100*float64(h.n) {
		want++
	}
	sum := uint64(0)
	for i, n := range h.buckets {
		if sum += uint64(n); sum >= want && sum > 0 {
			return bucketTop(i)
		}
	}
	return 0
}

// cumulative calls fn with powers of two of microseconds and how many calls took at
// most that, as LATENCY HISTOGRAM shows them: from the first bucket that is not empty
// until all calls are in.
func (h *histogram) cumulative(fn func(usec, calls uint64)) {
	sum, at := uint64(0), 0
	for top := uint64(1); sum < h.n; top *= 2 {
		before := sum
		for ; at < histogramBuckets && bucketTop(at) <= top; at++ {
			sum += uint64(h.buckets[at])
		}
		if at == histogramBuckets {
			sum = h.n
		}
		if sum > 0 && (sum != before || sum == h.n) {
			fn(top, sum)
		}
	}
}
