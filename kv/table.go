package kv

import "slices"

// table is an extendible hash table of records: a directory, indexed by the first
// bits of the hash, of segments. A segment that is full splits in two and touches
// nothing else; the directory doubles (8 bytes per about 700 keys) when a segment
// needs more bits than it has. No operation moves more than one segment's slots.
//
// The hash order of a table (order by hash, then key) depends on its keys and the
// seed alone; see table_order.go.
type table struct {
	h *heap
	tableView
	// depths counts segments by depth, to know when the directory may halve.
	depths   [maxDepth + 1]int
	segments int
	// reserved is the number of segments a table is about to get (see reserve).
	reserved int
}

// tableView is what lookups need. A cut keeps one with a directory of its own.
type tableView struct {
	dir  []*segment // 2^bits entries; nil entries: the table is empty
	bits uint8
	n    int // keys
}

const (
	// maxDepth leaves a tag enough hash bits.
	maxDepth = 40
	// slackBits is how much longer than the number of segments asks for the
	// directory may get. Uniform hashes need about 2; more means a flood of keys
	// with chosen hashes, whose segments become chains instead.
	slackBits = 6
)

func newTable(h *heap) *table {
	return &table{h: h, tableView: tableView{dir: make([]*segment, 1)}}
}

func (v *tableView) index(hash uint64) int { return int(hash >> (64 - v.bits)) }

// find looks a key up.
func (v *tableView) find(a *arena, hash uint64, key []byte) (r ref, ok bool) {
	for s := v.dir[v.index(hash)]; s != nil; s = s.next {
		if _, r, ok = s.find(a, hash, key); ok {
			return r, true
		}
	}
	return 0, false
}

// insert adds a record for a key that is not there.
func (t *table) insert(hash uint64, r ref) {
	t.n++
	for {
		s := t.own(hash)
		if s.n >= segmentMax && t.canSplit(s) {
			t.split(s)
			continue
		}
		for s.n >= segmentMax {
			if s.next == nil {
				s.next = t.h.newSegment(s.prefix, s.depth)
			}
			s = s.next
		}
		s.insert(s.tag(hash)<<refBits | uint64(r))
		return
	}
}

// replace makes a key's slot refer to another record.
func (t *table) replace(hash uint64, key []byte, r ref) {
	if s := t.dir[t.index(hash)]; s.epoch < t.h.shared && len(t.h.cuts) == 1 {
		if d := t.h.cuts[0].of(t); d != nil && d.replace(t.h.arena, s, hash, key, r) {
			return
		}
	}
	for s := t.own(hash); s != nil; s = s.next {
		if i, _, ok := s.find(t.h.arena, hash, key); ok {
			s.setSlot(i, s.slot(i)&^refMask|uint64(r))
			return
		}
	}
}

// remove takes a key's slot out.
func (t *table) remove(hash uint64, key []byte) {
	first := t.own(hash)
	for s, prev := first, (*segment)(nil); s != nil; s, prev = s.next, s {
		i, _, ok := s.find(t.h.arena, hash, key)
		if !ok {
			continue
		}
		t.n--
		s.remove(i)
		if s.n == 0 && prev != nil {
			prev.next = s.next
			t.h.release(s.ref)
		}
		break
	}
	if first.n <= segmentMerged && first.next == nil {
		t.merge(first)
	}
}

// own is the segment of a hash, made safe to change.
func (t *table) own(hash uint64) *segment {
	s := t.dir[t.index(hash)]
	switch {
	case s == nil:
		s = t.first(hash)
	case s.epoch < t.h.shared && t.h.wanted(t, s.epoch, s.last()):
		s = t.h.copySegment(s)
		t.point(s)
	case s.epoch < t.h.shared:
		s.epoch = t.h.epoch // the cuts have passed it: it need not be asked again
	}
	return s
}

// first makes the segment of a hash in a table that is empty, or reserved.
func (t *table) first(hash uint64) *segment {
	i := t.index(hash)
	t.dir[i] = t.h.newSegment(uint64(i)<<(64-t.bits), t.bits)
	t.depths[t.bits]++
	t.segments++
	return t.dir[i]
}

// point makes the directory entries of a segment's prefix refer to it.
func (t *table) point(s *segment) {
	first, n := t.index(s.prefix), 1<<(t.bits-s.depth)
	for i := range n {
		t.dir[first+i] = s
	}
}

// canSplit reports whether splitting is worth it: not for a chain, and not when it
// would take a directory far longer than the table needs.
func (t *table) canSplit(s *segment) bool {
	if s.next != nil || s.depth == maxDepth {
		return false
	}
	return s.depth < t.bits || int(t.bits) < log2ceil(max(t.segments, t.reserved))+slackBits
}

// split moves the keys with a 1 in the bit after the prefix to a new segment.
func (t *table) split(s *segment) {
	if s.depth == t.bits {
		t.double()
	}
	var all, high [segmentSlots]uint64
	slots := s.drain(all[:0])
	low, ones := slots[:0], high[:0]
	for _, slot := range slots {
		if s.splitBit(slot) {
			ones = append(ones, slot)
		} else {
			low = append(low, slot)
		}
	}
	depth := s.depth + 1
	up := t.h.newSegment(s.prefix, depth)
	up.base = s.base // the tags are still the parent's
	up.rebase(t.h, s.prefix|1<<(64-depth), depth, ones)
	s.rebase(t.h, s.prefix, depth, low)
	fill(up, ones)
	fill(s, low)
	t.depths[depth-1]--
	t.depths[depth] += 2
	t.segments++
	t.point(up)
}

func fill(s *segment, slots []uint64) {
	for _, slot := range slots {
		s.insert(slot)
	}
}

// merge joins a segment with its sibling when both are nearly empty. While a cut
// is open it waits for a later deletion: it would copy segments only to save
// memory.
func (t *table) merge(s *segment) {
	for s.depth > 0 && t.h.shared == 0 {
		other := t.dir[t.index(s.prefix^1<<(64-s.depth))]
		if other.depth != s.depth || other.next != nil || s.n+other.n > segmentMerged {
			return
		}
		if s.prefix > other.prefix {
			s, other = other, s
		}
		var a, b [segmentSlots]uint64
		low, high := s.drain(a[:0]), other.drain(b[:0])
		depth := s.depth - 1
		other.rebase(t.h, s.prefix, depth, high)
		s.rebase(t.h, s.prefix, depth, low)
		fill(s, low)
		fill(s, high)
		t.h.release(other.ref)
		t.depths[depth+1] -= 2
		t.depths[depth]++
		t.segments--
		t.point(s)
		for t.bits > 0 && t.depths[t.bits] == 0 {
			t.halve()
		}
	}
}

func (t *table) double() {
	dir := make([]*segment, 2*len(t.dir))
	for i, s := range t.dir {
		dir[2*i], dir[2*i+1] = s, s
	}
	t.dir = dir
	t.bits++
}

func (t *table) halve() {
	dir := make([]*segment, len(t.dir)/2)
	for i := range dir {
		dir[i] = t.dir[2*i]
	}
	t.dir = dir
	t.bits--
}

// clone is the view with a directory of its own: what a cut keeps.
func (v *tableView) clone() tableView {
	c := *v
	c.dir = slices.Clone(v.dir)
	return c
}

// doomedTable is a table no key can be reached in any more; its memory is freed
// piece by piece.
type doomedTable struct {
	tableView
	epoch uint64 // cuts with an epoch up to it may see the table
	next  int    // directory entry to go on at
	left  int    // keys not freed yet
	at    *segment
	slot  int
}

// doom hands a table over to freeSome.
func (h *heap) doom(v tableView) {
	if v.dir[0] != nil {
		h.doomed = append(h.doomed, &doomedTable{tableView: v, epoch: h.epoch, left: v.n})
	}
}

func (d *doomedTable) done() bool { return d.at == nil && d.next >= len(d.dir) }

// free frees up to maxOps blocks and returns how many operations it took.
func (d *doomedTable) free(h *heap, maxOps int) (ops int) {
	for ops < maxOps && !d.done() {
		if d.at == nil {
			d.at, d.slot = d.dir[d.next], 0
			d.next += 1 << (d.bits - d.at.depth)
		}
		for ; d.slot < segmentSlots && ops < maxOps; d.slot++ {
			slot := d.at.slot(d.slot)
			if slot == 0 {
				d.slot |= groupSlots - 1 // the rest of the group is empty too
				continue
			}
			r := ref(slot & refMask)
			if rec := readRecord(h.arena.at(r)); hasObject(rec.enc) {
				o := h.objects.get(rec.objectID())
				h.uncount(o)
				h.objects.remove(o.id)
			}
			h.arena.free(r)
			d.left--
			ops++
		}
		if d.slot >= segmentSlots {
			h.arena.free(d.at.ref)
			d.at = d.at.next
			d.slot = 0
			ops++
		}
	}
	return ops
}
