package kv

// rng is a splitmix64 generator: the only chance in the state machine. It is
// seeded by the entry, so every node draws the same numbers (docs/adr/0004).
type rng struct{ s uint64 }

// newRNG seeds the generator of one operation.
func newRNG(seed uint64, unit, op int) rng {
	r := rng{seed}
	r.s = r.next() ^ uint64(unit)
	r.s = r.next() ^ uint64(op)
	return r
}

func (r *rng) next() uint64 {
	r.s += 0x9e3779b97f4a7c15
	z := r.s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// intn draws from [0, n) without bias; n must be positive.
func (r *rng) intn(n uint64) uint64 {
	for limit := -n % n; ; { // 2^64 mod n: the numbers that would favour small results
		if v := r.next(); v >= limit {
			return v % n
		}
	}
}
