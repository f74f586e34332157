package kv

import "encoding/binary"

// Compaction: when deletions at random or a shift in value sizes leave pages
// mostly empty, their records move to other pages of the class and the pages are
// free for any class. It runs in freeSome, only when no cut is open and nothing
// waits to be freed, so that every block is a segment or the record of a key.
const (
	// compactSlack is memory above 1.25 times the live bytes that is left alone.
	compactSlack = pagesKept * pageBytes
	// compactLook bounds the pages looked at per call, compactOps is the price of
	// moving a record, in blocks freed.
	compactLook = 512
	compactOps  = 4
	// compactLeast is the budget below which looking costs more than moving gains.
	compactLeast = 256
)

// compactSome moves records out of the next sparse page, as far as maxOps goes,
// and reports whether it found one.
func (h *heap) compactSome(maxOps int) (found bool) {
	a := h.arena
	if maxOps < compactLeast || len(h.cuts) > 0 || len(h.retired) > 0 || len(h.doomed) > 0 ||
		a.mapped-a.live/4 < a.live+compactSlack {
		return false
	}
	pn := a.sparsePage()
	if pn == 0 {
		return false
	}
	// Off the list of pages with room, the page cannot be allocated from; it is put
	// back before its blocks are freed, for free expects it there.
	a.unlink(pn)
	moved := h.moved[:0]
	c := &classes[a.pages[pn].class]
	isFree := a.freeSlots(pn)
	for slot := range a.pages[pn].carved {
		if maxOps <= 0 {
			break
		}
		if isFree[slot/64]>>(slot%64)&1 == 0 {
			r := slotRef(pn, slot, c)
			if h.moveRecord(r, c.bytes) {
				moved = append(moved, r)
			}
			maxOps -= compactOps
		}
	}
	a.link(pn)
	for _, r := range moved {
		a.free(r)
	}
	h.moved = moved
	return len(moved) > 0
}

// moveRecord gives a record another block and makes its key's slot refer to it.
func (h *heap) moveRecord(r ref, size int) bool {
	mem := h.arena.at(r)[:size]
	key := recordKey(mem)
	hash := hash64(h, key)
	for _, ks := range h.spaces {
		if at, ok := ks.t.find(h.arena, hash, key); ok && at == r {
			to := h.arena.alloc(size)
			copy(h.arena.at(to)[:size], mem)
			ks.t.replace(hash, key, to)
			return true
		}
	}
	return false
}

// sparsePage is the next page of records that is at most half full and whose
// records have room in other pages of the class; 0 if none is near.
func (a *arena) sparsePage() uint32 {
	for range min(compactLook, len(a.pages)) {
		if a.look++; int(a.look) >= len(a.pages) {
			a.look = 0
		}
		p := &a.pages[a.look]
		if p.class >= idlePage || p.live == 0 || p.class == classOf(segmentBytes) {
			continue
		}
		slots := classes[p.class].slots
		if p.live <= slots/2 && a.room[p.class]-int64(slots-p.live) >= int64(p.live) {
			a.look-- // come back until it is empty
			return a.look + 1
		}
	}
	return 0
}

// freeSlots marks the slots of a page that hold no block.
func (a *arena) freeSlots(pn uint32) []uint64 {
	p := &a.pages[pn]
	c := &classes[p.class]
	free := make([]uint64, (c.slots+63)/64)
	for next := p.free; next != 0; {
		slot := next - 1
		free[slot/64] |= 1 << (slot % 64)
		next = binary.LittleEndian.Uint32(a.at(slotRef(pn, slot, c)))
	}
	return free
}
