package kv

// heap is what the keyspaces of one store share: the arena, the object table, and
// the cuts that are open.
//
// Epochs make cuts cheap. Opening a cut raises epoch (as does a COPY, whose trees
// tell by it what they have in common: tree.share); every segment, tree node and
// object header carries the epoch it was made in, and one older than the newest
// open cut (shared) may be seen by it and is copied before it is changed. Records
// carry no epoch: the arena marks those allocated since that cut instead. What a
// cut may still see is not freed but retired, and freed once every cut that was
// open then is closed.
type heap struct {
	arena *arena
	seed  uint64 // of hash64; equal on all nodes of a cluster

	read byte // see segment.rebase

	epoch  uint64
	shared uint64 // epoch of the newest open cut; 0: none is open
	cuts   []*cut // open, oldest first

	objects objectTable
	// treeBytes are the bytes of objects that keys hold.
	treeBytes int64

	retired []*retiredBatch // oldest first
	held    int64           // bytes of the blocks in them
	doomed  []*doomedTable  // cleared tables, oldest first

	spaces []*keyspace // all of them, for compaction
	moved  []ref       // scratch of compaction
}

// newHeap returns an empty heap. seed is the cluster's secret.
func newHeap(seed uint64) *heap {
	h := &heap{arena: newArena(), seed: seed, epoch: 1}
	h.objects.init()
	return h
}

// heapStats are for INFO and for the eviction decision.
type heapStats struct {
	LiveBytes int64 // blocks in use and objects, without the slack in trees
	UsedBytes int64 // memory held for them
	Retired   int64 // blocks kept for open cuts or not freed yet
	Chunks    int
	Objects   int
	Cuts      int
}

// stats is O(1) but for the retired batches, 4,096 blocks each.
func (h *heap) stats() heapStats {
	s := heapStats{
		LiveBytes: h.arena.live + h.treeBytes,
		UsedBytes: h.arena.mapped + h.treeBytes + h.treeBytes/2,
		Chunks:    len(*h.arena.chunks.Load()) - 1 - len(h.arena.spare),
		Objects:   h.objects.live,
		Cuts:      len(h.cuts),
	}
	for _, b := range h.retired {
		s.Retired += int64(b.n)
	}
	for _, d := range h.doomed {
		s.Retired += int64(d.left)
	}
	return s
}

// isPrivate reports whether no open cut can see a block.
func (h *heap) isPrivate(r ref) bool { return h.shared == 0 || h.arena.isBorn(r) }

// wanted reports whether an open cut may still read a table's keys with hashes up to
// last, as they were in an epoch.
func (h *heap) wanted(t *table, epoch, last uint64) bool {
	for _, c := range h.cuts {
		if c.epoch > epoch && c.wants(t, last) {
			return true
		}
	}
	return false
}

// releaseRecord frees the record of a key with a hash, later if an open cut may see it.
func (h *heap) releaseRecord(t *table, hash uint64, r ref) {
	if h.isPrivate(r) || !h.wanted(t, 0, hash) {
		h.arena.free(r)
		return
	}
	h.release(r)
}

// release frees a block, later if an open cut may see it.
func (h *heap) release(r ref) {
	if h.isPrivate(r) {
		h.arena.free(r)
		return
	}
	h.held += int64(h.arena.size(r))
	h.retire(uint64(r))
}

// releaseObject takes one key's hold off an object.
func (h *heap) releaseObject(o *object) {
	o.refs--
	if o.refs > 0 {
		return
	}
	h.uncount(o)
	if h.shared != 0 && o.epoch < h.shared {
		h.retire(retiredObject | uint64(o.id))
		return
	}
	h.objects.remove(o.id)
}

const (
	retiredBatchSize = 4096
	// retiredObject marks an object's id among refs, which have 40 bits.
	retiredObject = 1 << 63
)

// retiredBatch are blocks and objects that cuts with an epoch up to the batch's
// may see.
type retiredBatch struct {
	epoch uint64
	n     int
	items [retiredBatchSize]uint64
}

func (h *heap) retire(item uint64) {
	last := len(h.retired) - 1
	// A batch as old as the newest open cut, or younger, waits for all of them. Were it
	// only this epoch's, many copies under a cut would make a batch each.
	if last < 0 || h.retired[last].epoch < h.shared || h.retired[last].n == retiredBatchSize {
		h.retired = append(h.retired, &retiredBatch{epoch: h.epoch})
		last++
	}
	b := h.retired[last]
	b.items[b.n] = item
	b.n++
}

// reclaimable reports whether what was retired in an epoch is out of every cut's
// sight.
func (h *heap) reclaimable(epoch uint64) bool {
	return len(h.cuts) == 0 || epoch < h.cuts[0].epoch
}

// freeSome frees up to maxOps blocks that cleared keyspaces and closed cuts left
// behind, gives empty pages back to the kernel, compacts sparse ones if maxOps
// leaves room for it (compactLeast), and reports whether more can be done now. A
// block costs 0.1 to 0.25 us, so 2,000 keep it well below 1 ms. Call it under the
// store's lock, whenever there is time, until it returns false. It moves records:
// like a change, it invalidates what get returned.
func (h *heap) freeSome(maxOps int) (more bool) {
	for maxOps > 0 && len(h.retired) > 0 && h.reclaimable(h.retired[0].epoch) {
		b := h.retired[0]
		for ; maxOps > 0 && b.n > 0; maxOps-- {
			b.n--
			if item := b.items[b.n]; item&retiredObject != 0 {
				h.objects.remove(uint32(item))
			} else {
				h.held -= int64(h.arena.size(ref(item)))
				h.arena.free(ref(item))
			}
		}
		if b.n == 0 {
			h.retired[0] = nil
			h.retired = h.retired[1:]
		}
	}
	for maxOps > 0 && len(h.doomed) > 0 && h.reclaimable(h.doomed[0].epoch) {
		maxOps -= h.doomed[0].free(h, maxOps)
		if h.doomed[0].done() {
			h.doomed[0] = nil
			h.doomed = h.doomed[1:]
		}
	}
	maxOps = h.arena.trim(maxOps)
	compacting := h.compactSome(maxOps)
	return compacting || h.arena.trimmable() ||
		len(h.retired) > 0 && h.reclaimable(h.retired[0].epoch) ||
		len(h.doomed) > 0 && h.reclaimable(h.doomed[0].epoch)
}
