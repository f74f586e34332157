package kv

import "sync/atomic"

// object is a value too large for a record: a string above 64 KiB or a collection
// in block trees. A record refers to it by id.
//
// An object belongs to the key it was set under. To change one, pass it through
// heap.mutable first; while a cut may see it that returns a copy of the header
// (trees are shared and copied block by block as they are touched).
type object struct {
	// str is the string of EncBigString. It is replaced or changed in place only
	// after mutable, and set again when its length changed.
	str []byte
	// t is the collection; for a sorted set t is ordered by score and t2 by member.
	t, t2 *tree
	// aux is the type's own number.
	aux int64
	// fieldDue is when the next field of a hash expires, as the keyspace's index of
	// expiries of fields has it; the writer's.
	fieldDue int64

	id    uint32 // place in the object table; 0: in no key yet
	refs  uint32 // keys that hold it: 1, or 2 in the middle of a RENAME; the writer's
	epoch uint64 // the heap's epoch when the header was made
	// counted is what of heap.treeBytes is str's; -1: nothing of the object is in it.
	counted int64
}

// newObject returns an empty object; the caller fills it and stores it with
// keyspace.set.
func (h *heap) newObject() *object { return &object{epoch: h.epoch, counted: -1} }

// mutable returns an object that may be changed in place: o itself, or, while an
// open cut may see o, a copy. In the latter case the caller stores the copy with
// keyspace.set under o's key before the command ends. Cost: a few words, but for a
// big string its length.
func (h *heap) mutable(o *object) *object {
	if o.epoch >= h.shared {
		return o
	}
	c := &object{aux: o.aux, fieldDue: o.fieldDue, epoch: h.epoch, counted: o.counted}
	c.str = append([]byte(nil), o.str...)
	// The copy takes over the trees' place in treeBytes: blocks that only a cut
	// still holds are not the keyspace's memory.
	c.t, c.t2 = o.t.handOver(), o.t2.handOver()
	o.counted = -1
	return c
}

// handOver is another header over the same nodes; changes through it copy those a
// cut may see.
func (t *tree) handOver() *tree {
	if t == nil {
		return nil
	}
	c := *t
	t.counted = false
	return &c
}

// copyObject is an object with the same contents (COPY). A string is copied; trees
// have their nodes in common until one of the two changes them.
func (h *heap) copyObject(o *object) *object {
	c := h.newObject()
	c.str = append([]byte(nil), o.str...)
	c.aux = o.aux
	c.t, c.t2 = o.t.share(), o.t2.share()
	return c
}

// holdObject adds a key's hold on an object and keeps treeBytes.
func (h *heap) holdObject(o *object) {
	if o.id == 0 {
		h.objects.add(o)
	}
	o.refs++
	h.recount(o)
}

// recount brings treeBytes up to date with an object a key holds. Trees keep it
// themselves from then on.
func (h *heap) recount(o *object) {
	h.treeBytes += int64(len(o.str)) - max(o.counted, 0)
	o.counted = int64(len(o.str))
	for _, t := range [2]*tree{o.t, o.t2} {
		if t != nil && !t.counted {
			t.counted = true
			h.treeBytes += t.root.size
		}
	}
}

func (h *heap) uncount(o *object) {
	h.treeBytes -= max(o.counted, 0)
	o.counted = -1
	for _, t := range [2]*tree{o.t, o.t2} {
		if t != nil && t.counted {
			t.counted = false
			h.treeBytes -= t.root.size
		}
	}
}

// objectTable finds objects by id. One writer; a cut's reader may look up ids that
// were given before the cut opened, without the lock: pages never move, and the
// list of them is published atomically.
type objectTable struct {
	pages atomic.Pointer[[]*objectPage]
	spare []uint32 // ids free for use
	next  uint32   // the lowest id never given
	live  int
}

const objectPageSize = 1024

type objectPage [objectPageSize]atomic.Pointer[object]

func (t *objectTable) init() {
	t.next = 1
	t.pages.Store(new([]*objectPage))
}

func (t *objectTable) get(id uint32) *object {
	return (*t.pages.Load())[id/objectPageSize][id%objectPageSize].Load()
}

func (t *objectTable) add(o *object) {
	if n := len(t.spare); n > 0 {
		o.id, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		o.id = t.next
		t.next++
		if pages := *t.pages.Load(); int(o.id/objectPageSize) == len(pages) {
			pages = append(pages, new(objectPage))
			t.pages.Store(&pages)
		}
	}
	t.live++
	(*t.pages.Load())[o.id/objectPageSize][o.id%objectPageSize].Store(o)
}

func (t *objectTable) remove(id uint32) {
	(*t.pages.Load())[id/objectPageSize][id%objectPageSize].Store(nil)
	t.spare = append(t.spare, id)
	t.live--
}
