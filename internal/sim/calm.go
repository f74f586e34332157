package sim

import (
	"time"
)

// Calm seeds are hours of a cluster's life instead of seconds: clients work in bursts
// and sleep for minutes in between, faults come minutes apart and last as long, keys
// live for up to an hour, and the log is compacted again and again. That is where
// clocks drift apart, snapshots descend from snapshots over many generations, and
// machines come back to a cluster that has long gone on without them. Timers are those
// of a wide-area cluster, so that an hour is about a hundred thousand events rather
// than millions. Everything is checked as in any other seed.

// calmEvery: one seed in so many is calm. It is not drawn: that would change what the
// other seeds do.
const calmEvery = 16

func (w *world) isCalm() bool { return w.seed%calmEvery == 5 }

// drawCalm changes what was drawn into hours.
func (w *world) drawCalm() {
	rng, o := w.rng, &w.opt
	o.calm = true
	o.duration = w.between(time.Hour, 3*time.Hour)
	o.heartbeat = pick(rng, []time.Duration{time.Second, time.Second, 2 * time.Second})
	o.election = o.heartbeat * time.Duration(4+rng.IntN(4))
	o.every = w.between(30*time.Second, 5*time.Minute)
	o.downTime = w.between(time.Second, 10*time.Minute)
	o.cutTime = w.between(time.Second, 5*time.Minute)
	o.think = w.between(20*time.Millisecond, 300*time.Millisecond)
	o.sleep = w.between(time.Minute, 10*time.Minute)
	o.ttl = int(time.Hour.Milliseconds())
	o.ppm = 1000 // crystals are ten times better
	o.snapshotBytes = int64(2<<10 + rng.IntN(30<<10))
	o.keepBytes = o.snapshotBytes / int64(1+rng.IntN(16))
	if rng.IntN(2) == 0 {
		o.segment = int64(8<<10 + rng.IntN(4)*4096)
	}
}

// pace is d, or as much longer as a calm seed is slower.
func (w *world) pace(d time.Duration) time.Duration {
	if w.opt.calm {
		return 100 * d
	}
	return d
}
