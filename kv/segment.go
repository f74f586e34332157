package kv

import "encoding/binary"

// segment is a piece of a table: the keys whose hashes share their first depth
// bits, in 1,024 slots of 8 bytes in the arena.
//
//	slot = 24 bits of tag | 40 bits of record reference; 0 is empty
//
// The tag is 24 bits of the hash from bit base on (counted from the top), where
// base is depth rounded down to a multiple of 8. So the tag tells the next 17 to
// 24 bits after the prefix: enough to find the home group, to split without
// reading a record seven times in eight, and to walk in hash order.
//
// Slots come in groups of 8, one cache line. A key lives in its home group (the 7
// bits after the prefix) or, if that is full, in the next group with room. Used
// slots of a group are its first ones. Hence a search ends at the first empty
// slot; deletion keeps that true by pulling displaced keys back (see remove), and
// there are no tombstones.
//
// It is one cache line. mem is a slice, not a pointer to an array: for an index into that the
// compiler reads the first slot, to find out that it is not nil, which is in no cache.
type segment struct {
	mem   []byte // slots, in the arena at ref
	ref   ref
	epoch uint64 // the heap's epoch when mem was written first (see heap)
	// prefix holds the first depth bits of the hashes, at the top.
	prefix uint64
	n      int32
	depth  uint8
	base   uint8
	// next is the rest of a segment that may not be split further: only floods of
	// equal hashes make one (see table.canSplit).
	next *segment
}

const (
	segmentSlots  = 1024
	segmentBytes  = segmentSlots * slotBytes
	slotBytes     = 8
	groupSlots    = 8
	groupBytes    = groupSlots * slotBytes
	segmentGroups = segmentSlots / groupSlots
	groupBits     = 7 // log2(segmentGroups)

	// segmentMax is where a segment splits (87.5 %): beyond it searches visit many
	// groups. Two siblings merge at segmentMerged or fewer.
	segmentMax    = segmentSlots * 7 / 8
	segmentMerged = segmentSlots / 4

	tagBits = 24
	refBits = 40
	refMask = 1<<refBits - 1
	tagMax  = 1<<tagBits - 1
)

// newSegment allocates an empty segment.
func (h *heap) newSegment(prefix uint64, depth uint8) *segment {
	r := h.arena.alloc(segmentBytes)
	s := &segment{ref: r, epoch: h.epoch, prefix: prefix, depth: depth, base: depth &^ 7}
	s.mem = h.arena.at(r)[:segmentBytes:segmentBytes]
	clear(s.mem)
	return s
}

// copySegment copies a segment, chain and all, into private memory and retires
// the old one.
func (h *heap) copySegment(s *segment) *segment {
	if s == nil {
		return nil
	}
	r := h.arena.alloc(segmentBytes)
	c := *s
	c.ref, c.epoch = r, h.epoch
	c.mem = h.arena.at(r)[:segmentBytes:segmentBytes]
	copy(c.mem, s.mem)
	h.release(s.ref)
	c.next = h.copySegment(s.next)
	return &c
}

func (s *segment) slot(i int) uint64 { return binary.LittleEndian.Uint64(s.mem[i*slotBytes:]) }
func (s *segment) setSlot(i int, v uint64) {
	binary.LittleEndian.PutUint64(s.mem[i*slotBytes:], v)
}

// tag is the part of a hash that its slot keeps.
func (s *segment) tag(hash uint64) uint64 { return hash << s.base >> refBits }

// home is the group a hash belongs in.
func (s *segment) home(hash uint64) int { return int(hash << s.depth >> (64 - groupBits)) }

// homeOf is the group a slot's key belongs in.
func (s *segment) homeOf(slot uint64) int {
	return int(slot << (s.depth - s.base) >> (64 - groupBits))
}

// knownHash is a slot's hash as far as prefix and tag tell it, zeros after.
func (s *segment) knownHash(slot uint64) uint64 {
	return s.prefix>>(64-s.base)<<(64-s.base) | slot>>refBits<<refBits>>s.base
}

// last is the highest hash that belongs in the segment.
func (s *segment) last() uint64 { return s.prefix + (1<<(64-s.depth) - 1) }

// find looks for a key in this segment alone, not in next.
func (s *segment) find(a *arena, hash uint64, key []byte) (i int, r ref, ok bool) {
	tag := s.tag(hash)
	g := s.home(hash)
	for range segmentGroups {
		group := s.mem[g*groupBytes : g*groupBytes+groupBytes]
		for j := 0; j < groupSlots; j++ {
			slot := binary.LittleEndian.Uint64(group[j*slotBytes:])
			if slot == 0 {
				return 0, 0, false
			}
			if slot>>refBits == tag {
				r := ref(slot & refMask)
				if recordHasKey(a.at(r), key) {
					return g*groupSlots + j, r, true
				}
			}
		}
		g = (g + 1) % segmentGroups
	}
	return 0, 0, false
}

// insert adds a slot; the segment must have room.
func (s *segment) insert(slot uint64) {
	g := s.homeOf(slot)
	for ; ; g = (g + 1) % segmentGroups {
		for i := g * groupSlots; i < (g+1)*groupSlots; i++ {
			if s.slot(i) == 0 {
				s.setSlot(i, slot)
				s.n++
				return
			}
		}
	}
}

// remove empties slot i. If that leaves room in a group that was full, a key
// further on that had to pass the group moves back into it, or its search would
// end here; then the same holds for the group that key came from.
func (s *segment) remove(i int) {
	s.n--
	for {
		g := i / groupSlots
		last := g*groupSlots + groupSlots - 1
		full := s.slot(last) != 0
		for s.slot(last) == 0 {
			last--
		}
		s.setSlot(i, s.slot(last))
		s.setSlot(last, 0)
		if !full {
			return
		}
		var found bool
		if i, found = s.passer(g); !found {
			return
		}
		s.setSlot(last, s.slot(i))
	}
}

// passer finds a key that lies beyond group g but whose search passes g. Only
// full groups can have been passed, so the first one that is not ends the search.
func (s *segment) passer(g int) (i int, ok bool) {
	for x := (g + 1) % segmentGroups; x != g; x = (x + 1) % segmentGroups {
		for i := x * groupSlots; i < (x+1)*groupSlots; i++ {
			slot := s.slot(i)
			if slot == 0 {
				return 0, false
			}
			toHome := (x - s.homeOf(slot)) & (segmentGroups - 1)
			toGap := (x - g) & (segmentGroups - 1)
			if toHome >= toGap {
				return i, true
			}
		}
	}
	return 0, false
}

// drain moves all slots of the segment (not of next) out, in dst.
func (s *segment) drain(dst []uint64) []uint64 {
	for i := 0; i < segmentSlots; i++ {
		if slot := s.slot(i); slot != 0 {
			dst = append(dst, slot)
		}
	}
	clear(s.mem)
	s.n = 0
	return dst
}

// scatterSlots calls fn for the keys of a segment's slots (not of next).
func (h *heap) scatterSlots(slots []byte, fn func(key []byte, v Value)) {
	for i := 0; i < segmentSlots; i++ {
		slot := binary.LittleEndian.Uint64(slots[i*slotBytes:])
		if slot == 0 {
			i |= groupSlots - 1 // the rest of the group is empty too
			continue
		}
		rec := readRecord(h.arena.at(ref(slot & refMask)))
		fn(rec.key, h.value(&rec))
	}
}

// rebase changes the prefix and gives slots, taken from a segment with the old
// base, the tags of the new one. Only when base changes must it read the keys.
func (s *segment) rebase(h *heap, prefix uint64, depth uint8, slots []uint64) {
	old := s.base
	s.prefix, s.depth, s.base = prefix, depth, depth&^7
	if s.base == old {
		return
	}
	read := byte(0) // all records before the first is needed: their misses overlap
	for _, slot := range slots {
		read += h.arena.at(ref(slot & refMask))[0]
	}
	h.read += read
	for i, slot := range slots {
		r := slot & refMask
		slots[i] = s.tag(hash64(h, recordKey(h.arena.at(ref(r)))))<<refBits | r
	}
}

// splitBit tells which child a slot goes to when its segment splits.
func (s *segment) splitBit(slot uint64) bool {
	return slot<<(s.depth-s.base)>>63 == 1
}
