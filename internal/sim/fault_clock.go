package sim

func (w *world) clockStep() bool {
	m := pick(w.rng, w.machines)
	step := w.rng.Int64N(7_200_000) - 3_600_000
	if w.chance(0.5) {
		step /= 1000
	}
	m.wall += step
	w.say("node %d: clock steps by %d ms", m.id, step)
	return true
}

func (w *world) drift() bool {
	m := pick(w.rng, w.machines)
	m.monotonic()
	m.ppm = w.rng.Int64N(2*w.opt.ppm) - w.opt.ppm
	return true
}

func (w *world) madClock() bool {
	l := w.leader()
	if l == nil {
		return false
	}
	l.m.wall += pick(w.rng, []int64{-3_600_000, 3_600_000, 30_000, -30_000})
	w.say("leader %d: its clock went mad", l.m.id)
	return true
}
