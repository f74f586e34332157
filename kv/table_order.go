package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Hash order is the order by (hash, key). It is a function of the keys and the
// seed: tables of different shape, on other nodes or before a resize, walk the
// same keys in the same order, and a SCAN cursor means the same to all of them.

// positionShift: a cursor is the first 52 bits of a hash, below 2^53, so that
// clients that keep numbers in doubles do not lose any.
const positionShift = 12

// orderedKey is one key in hash order.
type orderedKey struct {
	hash uint64
	r    ref
}

// walker yields the records of a table in hash order, some slots at a time.
type walker struct {
	h *heap
	v *tableView
	// cut is what v is a cut's view of; nil: nobody changes v meanwhile.
	cut *cutDB
	// from is where the next window of hashes begins; done: there is none.
	from uint64
	done bool
	// window is about how many keys to sort at a time: as many as the caller is
	// likely to take, for each window is a pass over a segment.
	window int
	read   byte // see warm
	// scratch is for a segment's slots as they were at the cut.
	scratch *[segmentBytes]byte
}

// warm reads the beginnings of the records, then their second cache lines, so that the
// waits for memory, which in hash order nearly every record costs, overlap. It must not
// read beyond a record: a cut's neighbour may be written meanwhile.
func (w *walker) warm(keys []orderedKey) {
	const line = 64
	read := byte(0)
	for _, k := range keys {
		read += w.h.arena.at(k.r)[0]
	}
	for _, k := range keys {
		mem := w.h.arena.at(k.r)
		if r := readRecord(mem); r.size() > line {
			read += mem[line]
		}
	}
	w.read += read
}

// next returns the keys of the next window, or false at the end of the table. The
// result is in buf or grown from it; a window may be empty.
func (w *walker) next(buf []orderedKey) ([]orderedKey, bool) {
	buf = buf[:0]
	if w.done || w.v.dir[0] == nil {
		return buf, false
	}
	first := w.v.dir[w.v.index(w.from)]
	if w.cut != nil {
		w.cut.enter(first)
	}
	// The window is [from, to], in whole steps of the hash bits that tags know.
	step := uint64(1) << (refBits - first.base)
	end := first.last()
	to := end
	if n := int(first.n); first.next == nil && n > 2*w.window {
		// span is in steps: at most 24 bits, so the product fits.
		span := (end-first.prefix)/step + 1
		width := max(span*uint64(w.window)/uint64(n), 1) * step
		if base := w.from &^ (step - 1); end-base >= width {
			to = base + width - 1
		}
	}
	for s := first; s != nil; s = s.next {
		buf = w.gather(buf, s, to)
	}
	w.sort(buf, step)
	w.from = to + 1
	w.done = w.from == 0
	return buf, true
}

// gather adds the segment's keys with from <= hash <= to. Only a key in the same
// step as from needs its record read to decide.
func (w *walker) gather(buf []orderedKey, s *segment, to uint64) []orderedKey {
	step := uint64(1) << (refBits - s.base)
	mem := s.mem
	if w.cut != nil {
		if w.scratch == nil {
			w.scratch = new([segmentBytes]byte)
		}
		mem = w.cut.slots(s, w.scratch)
	}
	for i := 0; i < segmentSlots; i++ {
		slot := binary.LittleEndian.Uint64(mem[i*slotBytes:])
		if slot == 0 {
			i |= groupSlots - 1 // the rest of the group is empty too
			continue
		}
		k := orderedKey{s.knownHash(slot), ref(slot & refMask)}
		if k.hash > to || k.hash+(step-1) < w.from {
			continue
		}
		if k.hash < w.from && w.fullHash(k) < w.from {
			continue
		}
		buf = append(buf, k)
	}
	return buf
}

// sort orders keys by what the tags know, then runs of equal tags by their full
// hash and key. All keys get their full hash only where it matters: in such runs.
func (w *walker) sort(keys []orderedKey, step uint64) {
	slices.SortFunc(keys, func(a, b orderedKey) int { return cmp.Compare(a.hash, b.hash) })
	for i := 0; i < len(keys); {
		j := i + 1
		for j < len(keys) && keys[j].hash == keys[i].hash {
			j++
		}
		if j > i+1 {
			run := keys[i:j]
			for k := range run {
				run[k].hash = w.fullHash(run[k])
			}
			slices.SortFunc(run, func(a, b orderedKey) int {
				if c := cmp.Compare(a.hash, b.hash); c != 0 {
					return c
				}
				return bytes.Compare(recordKey(w.h.arena.at(a.r)), recordKey(w.h.arena.at(b.r)))
			})
		}
		i = j
	}
}

func (w *walker) fullHash(k orderedKey) uint64 {
	return hash64(w.h, recordKey(w.h.arena.at(k.r)))
}
