package kv

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"github.com/rkvdb/rkv/internal/pages"
)

// ref is the place of a block in the arena, in units of 16 bytes: chunk number and
// offset in the chunk. 40 bits are used (16 TiB); 0 is no block.
type ref uint64

const (
	chunkBytes = 4 << 20
	pageBytes  = 256 << 10
	refBytes   = 16

	chunkRefBits  = 18 // log2(chunkBytes / refBytes)
	pageRefBits   = 14 // log2(pageBytes / refBytes)
	pagesPerChunk = chunkBytes / pageBytes

	maxClassBytes = 64 << 10
	// pagesKept are empty pages that keep their memory, so that a workload that
	// deletes and inserts in turn does not go to the kernel for each page (16 MiB).
	pagesKept = 64
	// pageDropOps is what dropping a page costs, in blocks freed.
	pageDropOps = 200
	// chunksSmall chunks keep small pages: below 16 MiB huge pages would cost a small
	// store more memory than they save it time.
	chunksSmall = 4

	// maxHugeBytes is the largest record that is worth huge pages: a larger one spends
	// more on its bytes than on finding them, and new memory in huge pages can be dear (in a
	// virtual machine whose host has to provide it; docs/adr/0038).
	maxHugeBytes = 1 << 10

	bigPage  = ^uint8(0)     // page.class of a block with a mapping of its own
	idlePage = ^uint8(0) - 1 // page.class of an empty page
)

// arena is the memory of records and table segments, outside the Go heap, so that
// a hundred million keys cost the collector nothing.
//
//	chunk (4 MiB mapping) = 16 pages; page (256 KiB) = slots of one size class
//
// A block above 64 KiB is a mapping of its own. A page whose last block is freed
// can serve any class again, and trim gives it back to the kernel when many are
// empty.
//
// One writer. Readers without the writer's lock (cuts) may read blocks that stay
// allocated: chunks is published atomically and only ever extended, and an
// element changes only while no block of that chunk is live.
type arena struct {
	chunks  atomic.Pointer[[][]byte] // [0] is nil, so that no block has ref 0
	pages   []arenaPage              // by ref >> pageRefBits
	partial [256]uint32              // by class: first page with a free slot; 0: none
	warm    []uint32                 // empty pages with memory
	// cold are empty pages without memory, by the kind of their chunk.
	cold  [2][]uint32
	spare []uint32   // chunk numbers whose big block is gone
	huge  []bool     // by chunk: it is a hugeChunk
	huges int        // how many are
	room  [256]int64 // by class: free slots of its pages
	// grown are the classes that filled a page. Their next ones get all of their memory at
	// once (docs/adr/0033); a first one as it is touched, or a few keys of many sizes
	// would take a page each.
	grown [256]bool
	look  uint32 // page sparsePage looked at last

	// tracking: a cut is open, and blocks allocated since the newest one opened are
	// marked in page.born. Only they may be changed or freed at once.
	tracking bool
	marked   []uint32 // pages with born set

	// ahead, if not nil, has chunks of huge pages that are there already (see
	// Store.MemoryAhead and Loader.Hurry).
	ahead *memoryAhead

	live   int64 // bytes of allocated slots
	mapped int64 // bytes of pages in use or warm, and of big blocks
}

// chunkKind tells chunks that are to be of huge pages from others.
type chunkKind uint8

const (
	plainChunk chunkKind = iota
	hugeChunk
)

// kindOf is where a class is at home. Those whose blocks are found at random, again and
// again, are worth huge pages: small records, and the table's segments (and what else has
// their size). An empty page that has its memory serves either kind.
func kindOf(class uint8) chunkKind {
	if bytes := classes[class].bytes; bytes <= maxHugeBytes || bytes == segmentBytes {
		return hugeChunk
	}
	return plainChunk
}

type arenaPage struct {
	born       []uint64 // by slot: allocated since the newest open cut
	prev, next uint32   // pages of the class with a free slot
	live       uint32   // allocated slots
	carved     uint32   // slots ever used; those above it have no memory yet
	free       uint32   // 1 + first free slot below carved; its first bytes link on
	class      uint8
}

func newArena() *arena {
	a := &arena{}
	chunks := make([][]byte, 1, 64)
	a.chunks.Store(&chunks)
	a.pages = make([]arenaPage, pagesPerChunk)
	return a
}

// at is the memory from a block's first byte on; it reaches past the block's end.
func (a *arena) at(r ref) []byte {
	return (*a.chunks.Load())[r>>chunkRefBits][(r&(1<<chunkRefBits-1))*refBytes:]
}

// alloc returns a block of at least size bytes with undefined contents. It panics
// when the kernel refuses memory, as the Go runtime does.
func (a *arena) alloc(size int) ref {
	if size > maxClassBytes {
		return a.allocBig(size)
	}
	class := classOf(size)
	pn := a.partial[class]
	if pn == 0 {
		pn = a.takePage(class)
	}
	p := &a.pages[pn]
	c := &classes[class]
	var slot uint32
	if p.free != 0 {
		slot = p.free - 1
		p.free = binary.LittleEndian.Uint32(a.at(slotRef(pn, slot, c)))
	} else {
		slot = p.carved
		p.carved++
	}
	p.live++
	a.room[class]--
	if p.live == c.slots {
		a.unlink(pn)
	}
	if a.tracking {
		a.markBorn(pn, slot)
	}
	a.live += int64(c.bytes)
	return slotRef(pn, slot, c)
}

// free gives a block back. Its memory may be reused or unmapped at once.
func (a *arena) free(r ref) {
	pn := uint32(r >> pageRefBits)
	p := &a.pages[pn]
	if p.class == bigPage {
		a.freeBig(uint32(r >> chunkRefBits))
		return
	}
	c := &classes[p.class]
	slot := slotOf(r, c)
	binary.LittleEndian.PutUint32(a.at(r), p.free)
	p.free = slot + 1
	if p.live == c.slots {
		a.link(pn)
	}
	p.live--
	a.room[p.class]++
	a.live -= int64(c.bytes)
	if p.live == 0 {
		a.idle(pn)
	}
}

// size is the room of a block.
func (a *arena) size(r ref) int {
	p := &a.pages[r>>pageRefBits]
	if p.class == bigPage {
		return len((*a.chunks.Load())[r>>chunkRefBits])
	}
	return classes[p.class].bytes
}

// fits reports whether a block for size bytes would be of the same class as r, so
// that rewriting r in place wastes nothing.
func (a *arena) fits(r ref, size int) bool {
	p := &a.pages[r>>pageRefBits]
	return size <= maxClassBytes && p.class != bigPage && p.class == classOf(size)
}

// track starts marking: all blocks that are there now are older than the newest
// cut. untrack ends it.
func (a *arena) track() {
	a.untrack()
	a.tracking = true
}

func (a *arena) untrack() {
	for _, pn := range a.marked {
		a.pages[pn].born = nil
	}
	a.marked = a.marked[:0]
	a.tracking = false
}

// isBorn reports whether a block was allocated since track. Without tracking every
// block is as good as new.
func (a *arena) isBorn(r ref) bool {
	if !a.tracking {
		return true
	}
	p := &a.pages[r>>pageRefBits]
	if p.born == nil {
		return false
	}
	slot := uint32(0)
	if p.class != bigPage {
		slot = slotOf(r, &classes[p.class])
	}
	return p.born[slot/64]>>(slot%64)&1 == 1
}

func (a *arena) markBorn(pn, slot uint32) {
	p := &a.pages[pn]
	if p.born == nil {
		slots := uint32(1)
		if p.class != bigPage {
			slots = classes[p.class].slots
		}
		p.born = make([]uint64, (slots+63)/64)
		a.marked = append(a.marked, pn)
	}
	p.born[slot/64] |= 1 << (slot % 64)
}

// takePage makes an empty page the class's first page with free slots.
func (a *arena) takePage(class uint8) uint32 {
	kind := kindOf(class)
	if len(a.warm) == 0 && len(a.cold[kind]) == 0 {
		a.addChunk(kind)
	}
	var pn uint32
	if n := len(a.warm); n > 0 {
		pn, a.warm = a.warm[n-1], a.warm[:n-1]
	} else {
		n := len(a.cold[kind])
		pn, a.cold[kind] = a.cold[kind][n-1], a.cold[kind][:n-1]
		a.mapped += pageBytes
		if pn%pagesPerChunk == pagesPerChunk-1 && kind == hugeChunk && a.huges > chunksSmall {
			// Fewer TLB misses, a third of the time of a random get at 10 M keys
			// (docs/adr/0038). A chunk that was not made ahead is not advised before all
			// of it is in use: the first touch of a huge page takes the kernel up to 5 ms
			// in a virtual machine; one already touched in small pages is made huge by
			// the kernel's own thread, some time.
			adviseHuge((*a.chunks.Load())[pn/pagesPerChunk])
		}
		if a.grown[class] {
			pages.Populate(a.page(pn))
		}
		a.grown[class] = true
	}
	// A page keeps its born bits' room only within one class.
	a.pages[pn] = arenaPage{class: class}
	a.room[class] += int64(classes[class].slots)
	a.link(pn)
	return pn
}

// idle makes a page without live blocks free for any class.
func (a *arena) idle(pn uint32) {
	a.unlink(pn)
	p := &a.pages[pn]
	a.room[p.class] -= int64(classes[p.class].slots)
	p.class, p.born = idlePage, nil
	a.warm = append(a.warm, pn)
}

// trim gives memory of empty pages back to the kernel, all but pagesKept, and
// returns what of maxOps is left.
func (a *arena) trim(maxOps int) int {
	for ; maxOps > 0 && a.trimmable(); maxOps -= pageDropOps {
		n := len(a.warm)
		pn := a.warm[n-1]
		a.warm = a.warm[:n-1]
		dropMemory(a.page(pn))
		a.mapped -= pageBytes
		kind := a.kind(pn / pagesPerChunk)
		a.cold[kind] = append(a.cold[kind], pn)
	}
	return maxOps
}

// page is the memory of a page.
func (a *arena) page(pn uint32) []byte {
	off := pn % pagesPerChunk * pageBytes
	return (*a.chunks.Load())[pn/pagesPerChunk][off : off+pageBytes]
}

func (a *arena) trimmable() bool { return len(a.warm) > pagesKept }

func (a *arena) link(pn uint32) {
	p := &a.pages[pn]
	head := &a.partial[p.class]
	p.prev, p.next = 0, *head
	if *head != 0 {
		a.pages[*head].prev = pn
	}
	*head = pn
}

func (a *arena) unlink(pn uint32) {
	p := &a.pages[pn]
	if p.prev != 0 {
		a.pages[p.prev].next = p.next
	} else {
		a.partial[p.class] = p.next
	}
	if p.next != 0 {
		a.pages[p.next].prev = p.prev
	}
	p.prev, p.next = 0, 0
}

func (a *arena) addChunk(kind chunkKind) {
	var mem []byte
	if a.ahead != nil && kind == hugeChunk && a.huges >= chunksSmall {
		mem = a.ahead.take()
	} else {
		mem = mapMemory(chunkBytes)
	}
	id := a.addMapping(mem)
	if a.huge = append(a.huge, make([]bool, max(int(id)+1-len(a.huge), 0))...); kind == hugeChunk {
		a.huge[id] = true
		a.huges++
	}
	for i := range uint32(pagesPerChunk) {
		pn := id*pagesPerChunk + (pagesPerChunk - 1 - i)
		a.pages[pn].class = idlePage
		a.cold[kind] = append(a.cold[kind], pn)
	}
}

// kind is what a chunk was made as.
func (a *arena) kind(chunk uint32) chunkKind {
	if int(chunk) < len(a.huge) && a.huge[chunk] {
		return hugeChunk
	}
	return plainChunk
}

// addMapping gives a mapping a chunk number.
func (a *arena) addMapping(mem []byte) uint32 {
	chunks := *a.chunks.Load()
	if n := len(a.spare); n > 0 {
		id := a.spare[n-1]
		a.spare = a.spare[:n-1]
		chunks[id] = mem
		return id
	}
	// The element is written before the longer slice is published; readers with the
	// shorter one do not look at it.
	chunks = append(chunks, mem)
	a.chunks.Store(&chunks)
	a.pages = append(a.pages, make([]arenaPage, pagesPerChunk)...)
	return uint32(len(chunks) - 1)
}

func (a *arena) allocBig(size int) ref {
	id := a.addMapping(mapMemory((size + 4095) &^ 4095))
	n := int64(len((*a.chunks.Load())[id]))
	a.live += n
	a.mapped += n
	pn := id * pagesPerChunk
	a.pages[pn] = arenaPage{class: bigPage}
	if a.tracking {
		a.markBorn(pn, 0)
	}
	return ref(id) << chunkRefBits
}

func (a *arena) freeBig(id uint32) {
	chunks := *a.chunks.Load()
	n := int64(len(chunks[id]))
	a.live -= n
	a.mapped -= n
	unmapMemory(chunks[id])
	chunks[id] = nil
	a.pages[id*pagesPerChunk] = arenaPage{class: idlePage}
	a.spare = append(a.spare, id)
}

// sizeClass is a slot size: 16-byte steps to 512, then steps of about 12 % chosen
// to fill a page.
type sizeClass struct {
	bytes int
	slots uint32 // in a page
	units uint32 // bytes / refBytes
}

// classes and unitClass (by size in 16-byte units, rounded up) are set once.
var classes, unitClass = sizeClasses()

func sizeClasses() ([]sizeClass, *[maxClassBytes/refBytes + 1]uint8) {
	var cs []sizeClass
	add := func(n int) {
		cs = append(cs, sizeClass{n, uint32(pageBytes / n), uint32(n / refBytes)})
	}
	for n := refBytes; n <= 512; n += refBytes {
		add(n)
	}
	for n := 512; n < maxClassBytes; {
		next := n + n/8
		fitted := pageBytes / (pageBytes / next) &^ (refBytes - 1)
		if n < segmentBytes && segmentBytes < fitted {
			fitted = segmentBytes
		}
		n = min(fitted, maxClassBytes)
		add(n)
	}
	var of [maxClassBytes/refBytes + 1]uint8
	c := 0
	for u := range of {
		if u*refBytes > cs[c].bytes {
			c++
		}
		of[u] = uint8(c)
	}
	return cs, &of
}

func classOf(size int) uint8 { return unitClass[(size+refBytes-1)/refBytes] }

func slotRef(pn, slot uint32, c *sizeClass) ref {
	return ref(pn)<<pageRefBits + ref(slot*c.units)
}

func slotOf(r ref, c *sizeClass) uint32 {
	return uint32(r&(1<<pageRefBits-1)) / c.units
}

// log2 of v, rounded up; 0 for 0 and 1.
func log2ceil(v int) int { return bits.Len(uint(max(v, 1) - 1)) }
