package kv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizeClasses(t *testing.T) {
	require.Less(t, len(classes), int(idlePage))
	for size := 1; size <= maxClassBytes; size++ {
		c := classes[classOf(size)]
		slack := c.bytes - size
		if slack < 0 || c.bytes%refBytes != 0 || size <= 512 && slack >= refBytes || slack > size/3+refBytes {
			t.Fatalf("size %d in class %d", size, c.bytes)
		}
	}
	require.Equal(t, segmentBytes, classes[classOf(segmentBytes)].bytes)
}

// Blocks keep what was written while others come and go, and all memory is idle
// when all blocks are freed.
func TestArenaKeepsBlocksApart(t *testing.T) {
	a := newArena()
	r := rand.New(rand.NewPCG(1, 1))
	type block struct {
		r    ref
		size int
		mark uint64
	}
	var live []block
	write := func(b block) {
		mem := a.at(b.r)[:b.size]
		binary.LittleEndian.PutUint64(mem, b.mark)
		binary.LittleEndian.PutUint64(mem[b.size-8:], b.mark)
	}
	check := func(b block) {
		mem := a.at(b.r)[:b.size]
		require.Equal(t, b.mark, binary.LittleEndian.Uint64(mem[b.size-8:]))
	}
	for step := range 60_000 {
		if r.IntN(100) < 55 && step < 40_000 {
			size := 8 + r.IntN(300)
			switch r.IntN(2000) {
			case 0:
				size = 70_000 + r.IntN(1<<20)
			case 1, 2, 3:
				size = 8 + r.IntN(maxClassBytes-8)
			}
			b := block{a.alloc(size), size, r.Uint64()}
			require.GreaterOrEqual(t, a.size(b.r), size)
			write(b)
			live = append(live, b)
		} else if len(live) > 0 {
			i := r.IntN(len(live))
			check(live[i])
			a.free(live[i].r)
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		}
	}
	for _, b := range live {
		check(b)
		a.free(b.r)
	}
	require.Zero(t, a.live)
	for a.trimmable() {
		a.trim(1000)
	}
	require.LessOrEqual(t, a.mapped, int64(pagesKept*pageBytes))
	require.Equal(t, (len(*a.chunks.Load())-1-len(a.spare))*pagesPerChunk, len(a.warm)+len(a.cold[0])+len(a.cold[1]))
}

func TestArenaKnowsWhatWasBornSinceTrack(t *testing.T) {
	a := newArena()
	var old, young []ref
	for range 5000 {
		old = append(old, a.alloc(48))
	}
	big := a.alloc(1 << 20)
	for i := 0; i < len(old); i += 3 { // leave holes for the young ones
		a.free(old[i])
	}
	a.track()
	for range 4000 {
		young = append(young, a.alloc(40))
	}
	youngBig := a.alloc(1 << 20)
	isYoung := map[ref]bool{}
	for _, r := range young {
		isYoung[r] = true
		require.True(t, a.isBorn(r))
	}
	for i, r := range old {
		if i%3 != 0 {
			require.False(t, a.isBorn(r))
		}
	}
	require.False(t, a.isBorn(big))
	require.True(t, a.isBorn(youngBig))
	a.track()
	require.False(t, a.isBorn(young[0]))
	require.False(t, a.isBorn(youngBig))
	a.untrack()
	require.True(t, a.isBorn(old[1]))
}

// Chunks made ahead are used like others; what is left of them at the end is given back.
func TestArenaTakesMemoryMadeAhead(t *testing.T) {
	for _, hurry := range []bool{true, false} {
		arenaTakesMemoryMadeAhead(t, hurry)
	}
}

func arenaTakesMemoryMadeAhead(t *testing.T, hurry bool) {
	a := newArena()
	a.ahead = newMemoryAhead(hurry)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.ahead.run()
	}()
	const small = 1008 // a size class
	var blocks []ref
	for i := range (chunksSmall + 4*chunksAhead) * chunkBytes / small {
		if i%64 == 0 { // large ones live elsewhere
			large := a.alloc(maxHugeBytes + 1)
			require.Equal(t, plainChunk, a.kind(uint32(large>>chunkRefBits)))
		}
		r := a.alloc(small)
		require.Equal(t, hugeChunk, a.kind(uint32(r>>chunkRefBits)))
		mem := a.at(r)[:small]
		require.True(t, mem[0] == 0 && mem[small-1] == 0)
		mem[0], mem[small-1] = byte(len(blocks)), byte(len(blocks))
		blocks = append(blocks, r)
	}
	a.ahead.stop()
	<-done
	require.Empty(t, a.ahead.ready)
	for i, r := range blocks {
		mem := a.at(r)[:small]
		require.True(t, mem[0] == byte(i) && mem[small-1] == byte(i))
	}
	idle := newMemoryAhead(hurry)
	idle.stop()
	idle.run()
	require.Empty(t, idle.ready)
}

// A kernel that makes no pages ahead would make huge ones at a client's first touch: a store
// goes on with small ones then.
func TestNoMemoryAheadWithoutPages(t *testing.T) {
	m := newMemoryAhead(false)
	m.populate = func([]byte) bool { return false }
	require.Len(t, m.take(), chunkBytes)
	m.run() // ends by itself
	require.Len(t, m.take(), chunkBytes)
}

// A store has its memory made ahead until it is told to stop, also after a snapshot was
// loaded, and while it is.
func TestStoreHasMemoryMadeAhead(t *testing.T) {
	n := newTestNode(t)
	prepare, stop := n.s.MemoryAhead()
	done := make(chan struct{})
	go func() {
		defer close(done)
		prepare()
	}()
	value := strings.Repeat("v", 900)
	const keys = (chunksSmall + 3) * chunkBytes >> 10
	fill := func() {
		for i := range keys {
			var c Chunk
			addCommand(&c, "SET", fmt.Sprint("key", i), value)
			n.run(&c)
		}
	}
	fill()
	<-n.s.nextMemory.begun
	cut := n.s.OpenCut()
	state := cut.State()
	cut.Close()
	l := n.s.NewLoader()
	require.NoError(t, l.SetState(state))
	for i := range 2 * keys {
		require.NoError(t, l.Add(0, fmt.Appendf(nil, "key%d", i), Value{Type: TypeString, Bytes: []byte(value)}))
	}
	require.NoError(t, l.Commit(n.s.Applied()))
	require.Same(t, n.s.nextMemory, n.s.heap.arena.ahead)
	fill()
	for i := range keys {
		var c Chunk
		addCommand(&c, "GET", fmt.Sprint("key", i))
		n.run(&c)
		require.Contains(t, string(c.Reply.b), value)
	}
	stop()
	stop()
	<-done
}
