// Package pages gives large memory its pages in bulk, before it is written.
//
// The kernel gives a process memory page by page, at the first touch of each 4 KiB. On
// bare metal that costs a fraction of a microsecond; in a virtual machine whose page tables
// its host shadows, the trap alone costs ten and more, twenty times what the page itself
// does (docs/adr/0033). Asked for in one call, pages are there without a trap each.
package pages

import (
	"bytes"
	"unsafe"
)

// few is less than what a call is worth.
const few = 16 << 10

// Populate has the kernel give mem, which is about to be written, its pages now. What is
// in it stays. It is a wish: kernels before 5.14 and other systems do nothing.
func Populate[T any](mem []T) {
	var one T
	if n := uintptr(len(mem)) * unsafe.Sizeof(one); n >= few {
		populate(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(mem))), n), false)
	}
}

// PopulateAside is Populate for memory that nobody waits for: the calling goroutine's
// processor serves others while the kernel works. It reports whether the pages are there. mem
// must not be on a stack.
func PopulateAside(mem []byte) bool { return populate(mem, true) }

// Clone is a copy of b, which may be large.
func Clone(b []byte) []byte {
	if len(b) < few {
		return bytes.Clone(b)
	}
	c := make([]byte, len(b))
	populate(c, false)
	copy(c, b)
	return c
}

const (
	// slabFirst and slabMost are the first piece of memory that small allocations share,
	// and the largest: each is four times the one before. The pages of the largest take the
	// kernel a tenth of a millisecond at most.
	slabFirst, slabMost = 16 << 10, 256 << 10
	// slabShare: what is larger would leave too much of a piece unused at its end.
	slabShare = 4
)

// Slab allocates bytes that live about as long as their neighbours, like the entries of
// a log: its pieces are freed, by the collector, once nothing in them is used. It is for
// one goroutine; the zero value is ready.
type Slab struct {
	rest []byte
	size int // of the piece that rest is of
}

// Make returns n zero bytes with no capacity beyond.
func (s *Slab) Make(n int) []byte {
	if n > slabMost/slabShare {
		b := make([]byte, n)
		Populate(b)
		return b
	}
	if n > len(s.rest) {
		s.size = min(max(slabFirst, 4*s.size, slabShare*n), slabMost)
		s.rest = make([]byte, s.size)
		Populate(s.rest)
	}
	b := s.rest[:n:n]
	s.rest = s.rest[n:]
	return b
}
