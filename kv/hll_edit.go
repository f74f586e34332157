package kv

// hllEditor changes a HyperLogLog in a buffer of its own. A sparse one takes the
// forms Redis gives it, opcode by opcode: GET must show the same bytes.
type hllEditor struct {
	h hll
	// sparseMax is hll-sparse-max-bytes: a sparse one that would grow beyond becomes
	// dense.
	sparseMax int
	seq       [8]byte // scratch for what replaces an opcode
}

// add counts an element and reports whether a register grew; ok is false if the
// value is corrupt.
func (e *hllEditor) add(element []byte) (grew, ok bool) { return e.set(hllHash(element)) }

// set raises a register to n > 0.
func (e *hllEditor) set(register int, n uint8) (grew, ok bool) {
	if e.h.dense() {
		if e.h.get(register) >= n {
			return false, true
		}
		e.h.put(register, n)
		return true, true
	}
	if n > hllSparseValueMax {
		return e.setDense(register, n)
	}
	return e.setSparse(register, n)
}

func (e *hllEditor) setDense(register int, n uint8) (grew, ok bool) {
	if !e.toDense() {
		return false, false
	}
	return e.set(register, n)
}

// toDense changes the form; false if the sparse one is corrupt.
func (e *hllEditor) toDense() bool {
	if e.h.dense() {
		return true
	}
	var regs hllRegisters
	if !e.h.mergeInto(&regs) {
		return false
	}
	e.h = grow(e.h[:hllHeader], hllDenseSize)
	clear(e.h[hllHeader:])
	e.h[4] = 0
	for i, n := range regs {
		if n > 0 {
			e.h.put(i, n)
		}
	}
	return true
}

// setSparse splits the opcode that covers the register in up to three, then joins
// neighbours of one value.
func (e *hllEditor) setSparse(register int, n uint8) (grew, ok bool) {
	prev := hllRun{at: hllHeader}
	var run hllRun
	e.h.runs(func(r hllRun) bool {
		if run = r; register < r.first+r.n {
			return false
		}
		prev = r
		return true
	})
	if run.n == 0 || register >= run.first+run.n || register < run.first {
		return false, false // the opcodes end before the register
	}
	if run.value >= n {
		return false, true
	}
	seq := e.split(run, register, n)
	if delta := len(seq) - run.size; delta > 0 && len(e.h)+delta > e.sparseMax {
		return e.setDense(register, n)
	}
	e.replace(run, seq)
	e.join(prev.at)
	return true, true
}

// split is what stands for the run once the register is n.
func (e *hllEditor) split(run hllRun, register int, n uint8) []byte {
	seq := e.seq[:0]
	rest := func(k int) {
		switch {
		case k == 0:
		case run.value > 0:
			seq = appendValueRun(seq, run.value, k)
		default:
			seq = appendZeroRun(seq, k)
		}
	}
	rest(register - run.first)
	seq = appendValueRun(seq, n, 1)
	rest(run.first + run.n - 1 - register)
	return seq
}

func (e *hllEditor) replace(run hllRun, seq []byte) {
	old := len(e.h)
	size := old + len(seq) - run.size
	if size > old {
		e.h = grow(e.h, size)
	}
	copy(e.h[run.at+len(seq):], e.h[run.at+run.size:old])
	copy(e.h[run.at:], seq)
	e.h = e.h[:size]
}

// hllJoinSteps bounds the search for opcodes to join: a change makes three at most,
// and each end has one neighbour.
const hllJoinSteps = 5

// join makes one opcode of neighbours with one value, from the one at on.
func (e *hllEditor) join(at int) {
	for steps := hllJoinSteps; steps > 0 && at < len(e.h); steps-- {
		b := e.h[at]
		if b < 0x80 {
			at += 1 + int(b>>6)
			continue
		}
		if at+1 < len(e.h) && e.h[at+1] >= 0x80 && e.h[at+1]>>2 == b>>2 {
			if n := int(b&3) + int(e.h[at+1]&3) + 2; n <= hllSparseRunMax {
				e.h[at] = b&^3 | byte(n-1)
				e.h = append(e.h[:at+1], e.h[at+2:]...)
				continue
			}
		}
		at++
	}
}

func appendValueRun(dst []byte, value uint8, n int) []byte {
	return append(dst, 0x80|(value-1)<<2|byte(n-1))
}

func appendZeroRun(dst []byte, n int) []byte {
	if n <= hllSparseZeroMax {
		return append(dst, byte(n-1))
	}
	return append(dst, 0x40|byte((n-1)>>8), byte(n-1))
}
