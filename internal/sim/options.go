package sim

import (
	"time"
)

// options are drawn anew for each seed (swarm testing): a fault that is always on
// hides what the others would find.
type options struct {
	nodes, joiners int
	duration       time.Duration
	faults         [faults]bool
	every          time.Duration // between two faults, on average

	election, heartbeat            time.Duration
	delay, perByte                 time.Duration
	loss, dup, spike               float64
	disk, applyMax, snapTime       time.Duration
	streamTimeout, downTime, think time.Duration
	cutTime                        time.Duration

	segment, snapshotBytes, keepBytes           int64
	window, message, inflight, inflightMessages int
	uncommitted, maxEntry, bigValue, clients    int
	largeUnit                                   int // 0: no unit is large

	calm  bool
	sleep time.Duration // of a client between two bursts, on average; 0: it never sleeps
	ttl   int           // ms, of keys at most
	ppm   int64         // a clock's drift at most
}

func (w *world) drawOptions() {
	rng, o := w.rng, &w.opt
	o.ttl, o.ppm = 400, 200_000
	// Half of four is no quorum, and a lone voter has nobody to ask.
	o.nodes = pick(rng, []int{3, 3, 3, 3, 3, 5, 5, 4, 4, 1})
	o.joiners = rng.IntN(3)
	o.duration = time.Duration(10+rng.IntN(30)) * time.Second
	for f := range faults {
		o.faults[f] = rng.IntN(3) == 0
	}
	o.every = w.between(150*time.Millisecond, 3*time.Second)
	o.heartbeat = pick(rng, []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond})
	o.election = o.heartbeat * time.Duration(5+rng.IntN(6))
	o.delay = w.between(100*time.Microsecond, 10*time.Millisecond)
	o.perByte = time.Duration(rng.IntN(20)) * time.Nanosecond
	rate := func(f fault, most float64) float64 {
		if !o.faults[f] {
			return 0
		}
		return rng.Float64() * rng.Float64() * most
	}
	o.loss, o.dup, o.spike = rate(faultLoss, 0.3), rate(faultDup, 0.5), rate(faultDelay, 0.1)
	o.disk = w.between(50*time.Microsecond, 3*time.Millisecond)
	if o.faults[faultSlowDisk] {
		o.disk *= time.Duration(2 + rng.IntN(20))
		w.fired(faultSlowDisk)
	}
	o.applyMax = w.between(50*time.Microsecond, 20*time.Millisecond)
	o.snapTime = w.between(time.Millisecond, 200*time.Millisecond)
	o.streamTimeout = w.between(time.Second, 5*time.Second)
	o.downTime = w.between(10*time.Millisecond, 4*time.Second)
	o.cutTime = w.between(100*time.Millisecond, 4*time.Second)
	o.think = w.between(2*time.Millisecond, 100*time.Millisecond)
	o.segment = 256 << 10
	if o.faults[faultTinySegments] {
		o.segment = int64(8<<10 + rng.IntN(4)*4096)
		w.fired(faultTinySegments)
	}
	o.snapshotBytes = 256 << 10
	if o.faults[faultTinySnapshots] {
		o.snapshotBytes = int64(1<<10 + rng.IntN(30<<10))
		w.fired(faultTinySnapshots)
	}
	o.keepBytes = o.snapshotBytes / int64(1+rng.IntN(16))
	o.window = pick(rng, []int{1 << 10, 16 << 10, 1 << 20})
	o.message = pick(rng, []int{200, 2 << 10, 256 << 10})
	o.inflight = pick(rng, []int{1 << 10, 64 << 10, 8 << 20})
	o.inflightMessages = pick(rng, []int{1, 4, 64})
	o.uncommitted = pick(rng, []int{16 << 10, 256 << 20})
	o.maxEntry = pick(rng, []int{8 << 10, 32 << 10, 128 << 10})
	o.bigValue = pick(rng, []int{64, 2 << 10})
	o.clients = 2 + rng.IntN(8)
	if o.clients%2 == 0 && o.bigValue > 1<<10 {
		o.largeUnit = 1 << 10
	}
	if rng.IntN(3) == 0 {
		// A storm: what needs several faults within one election.
		o.every = w.between(20*time.Millisecond, 200*time.Millisecond)
		o.downTime = w.between(5*time.Millisecond, 500*time.Millisecond)
		o.cutTime = w.between(50*time.Millisecond, time.Second)
		o.duration = time.Duration(5+rng.IntN(10)) * time.Second
	}
}
