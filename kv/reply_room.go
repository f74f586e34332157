package kv

import (
	"sync"
	"unsafe"
	"weak"
)

// LargeTape is from where a tape is large. Neither a chunk nor a connection keeps
// memory of that size, so it may go from the one to the other.
const LargeTape = chunkKeep

// maxRoom is the most that a hint is good for. What a hint is made of may be far off
// (one long element among many short ones), and a tape beyond it is copied few times.
const maxRoom = 64 << 20

// Grow makes room for about n more bytes, what the command is going to append. A tape
// that is not told grows by and by, and each time all of it is copied to memory that is
// new to the process.
func (r *Reply) Grow(n int) { r.ensure(min(n+2*lineRoom, maxRoom)) }

// valueRoom is what Array and its kin take a value to need at least: a bulk of one or
// two bytes. Only a tape of integers stays below that, by half.
const valueRoom = 8

// expect makes room for n values of unknown length.
func (r *Reply) expect(n int) { r.Grow(min(n, maxRoom) * valueRoom) }

// makeRoom is called before n bytes and a line or two are appended.
func (r *Reply) makeRoom(n int) { r.ensure(n + lineRoom) }

// lineRoom holds a bulk's length and the score that may follow it.
const lineRoom = 64

// ensure sees to n bytes of room. A tape that is large already at least doubles, however
// little was asked for, or many small hints would copy it each time; append would add a
// quarter.
func (r *Reply) ensure(n int) {
	have := len(r.b)
	if n <= cap(r.b)-have || have+n < LargeTape {
		return
	}
	more := min(have, max(maxRoom, have/4))
	r.b = append(NewTape(have+max(n, more)), r.b...)
}

// Take hands the tape's memory over to the caller, who owns it from then on; the tape
// is empty, but for its marks.
func (r *Reply) Take() []byte {
	b := r.b
	r.b = nil
	return b
}

// Tight reports whether the tape takes little more memory than its length, so that
// who takes it does not hold much else.
func (r *Reply) Tight() bool { return cap(r.b)-len(r.b) <= len(r.b)/2 }

// growLike makes room for left values that take about as much each as the done ones
// did that begin at start; at most is the most that they can be believed to take.
func (r *Reply) growLike(start, done, left int, atMost int64) {
	if done > 0 {
		r.Grow(int(min(float64(len(r.b)-start)/float64(done)*float64(left), float64(atMost))))
	}
}

// spares are large tapes that were sent. Nothing holds them, the garbage collector takes
// them when it runs; but until then the next large reply gets one. Memory that is new
// costs a page fault each 4 KiB, which is as much as it takes to write a reply.
var spares struct {
	mu   sync.Mutex
	list [4]spareTape
	next int // the place that is overwritten next
}

type spareTape struct {
	first weak.Pointer[byte]
	size  int
}

// NewTape returns an empty buffer of at least size bytes, a spare one if there is one
// that is not much larger. Its owner may give it to SpareTape.
func NewTape(size int) []byte {
	if size >= LargeTape {
		spares.mu.Lock()
		defer spares.mu.Unlock()
		for i := range spares.list {
			t := spares.list[i]
			if t.size < size || t.size-size > size/4 {
				continue
			}
			spares.list[i] = spareTape{}
			if p := t.first.Value(); p != nil {
				return unsafe.Slice(p, t.size)[:0]
			}
		}
	}
	return make([]byte, 0, size)
}

// SpareTape gives away a buffer that nobody refers to any more. b begins where the buffer
// does.
func SpareTape(b []byte) {
	if cap(b) < LargeTape {
		return
	}
	spares.mu.Lock()
	defer spares.mu.Unlock()
	spares.list[spares.next] = spareTape{weak.Make(unsafe.SliceData(b)), cap(b)}
	spares.next = (spares.next + 1) % len(spares.list)
}
