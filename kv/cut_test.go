package kv

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// readCut is the contents of a cut's first database.
func readCut(c *cut) modelSpace { return read(c.each) }

func read(each func(db int, fn func(key []byte, v Value) error) error) modelSpace {
	m := modelSpace{}
	_ = each(0, func(key []byte, v Value) error {
		m[string(key)] = plain(v)
		return nil
	})
	return m
}

// Cuts hold the state at their opening, however many are open, in whatever order
// they close, while the keyspace changes under a running reader; when all are
// closed nothing stays behind.
func TestCutsAreIsolated(t *testing.T) {
	for seed := range uint64(3) {
		h := newHeap(seed)
		ks := newKeyspace(h)
		u := &mutator{r: rand.New(rand.NewPCG(seed, 7)), h: h, ks: ks, m: modelSpace{}, keys: []int{200, 2000, 8000}[seed]}
		type opened struct {
			c     *cut
			spent bool
			want  modelSpace
			got   chan modelSpace
		}
		var open []opened
		var mu sync.Mutex // the store's lock
		steps := 40_000
		if testing.Short() {
			steps = 10_000
		}
		for step := range steps {
			mu.Lock()
			u.step(t, (step/10_000)%2 == 0)
			if step%13 == 0 {
				h.freeSome(20)
			}
			switch {
			case len(open) < 3 && u.r.IntN(1500) == 0:
				o := opened{h.openCut([]*keyspace{u.ks}), u.r.IntN(2) == 0, maps.Clone(u.m), make(chan modelSpace, 1)}
				require.Equal(t, len(o.want), o.c.len(0))
				require.Equal(t, u.ks.expires(), o.c.expires(0))
				go func() {
					if o.spent {
						o.got <- read(o.c.spend)
					} else {
						o.got <- readCut(o.c)
					}
				}()
				open = append(open, o)
			case len(open) > 0 && u.r.IntN(1000) == 0:
				i := u.r.IntN(len(open))
				mu.Unlock()
				first := <-open[i].got
				requireSameSpace(t, open[i].want, first)
				if !open[i].spent {
					requireSameSpace(t, open[i].want, readCut(open[i].c)) // and again, later
				}
				mu.Lock()
				open[i].c.close()
				open[i].c.close()
				open = append(open[:i], open[i+1:]...)
			case u.r.IntN(12_000) == 0:
				u.ks.clear()
				u.m = modelSpace{}
			}
			mu.Unlock()
		}
		for _, o := range open {
			requireSameSpace(t, o.want, <-o.got)
			o.c.close()
		}
		requireSpace(t, u.m, u.ks)
		u.ks.clear()
		requireEmptyHeap(t, h, 0)
		require.Empty(t, h.cuts)
		require.Zero(t, h.shared)
	}
}

func requireSameSpace(tb testing.TB, want, got modelSpace) {
	tb.Helper()
	require.Equal(tb, len(want), len(got))
	for k, v := range want {
		if got[k] != v {
			tb.Fatalf("key %q: cut has %v, want %v", k, got[k].typ, v.typ)
		}
	}
}

func TestCutEachStopsAtAnError(t *testing.T) {
	h := newHeap(1)
	ks := newKeyspace(h)
	for i := range 5000 {
		ks.set(fmt.Appendf(nil, "%d", i), Value{Type: TypeString})
	}
	c := h.openCut([]*keyspace{ks, newKeyspace(h)})
	defer c.close()
	stop, n := errors.New("stop"), 0
	require.ErrorIs(t, c.each(0, func([]byte, Value) error {
		if n++; n == 3000 {
			return stop
		}
		return nil
	}), stop)
	require.Equal(t, 3000, n)
	require.NoError(t, c.each(1, func([]byte, Value) error { return stop }))
}

// What a cut that is spent has passed is neither copied nor kept, though the cut is
// open; what lies ahead is.
func TestSpentPartOfACutIsNotKept(t *testing.T) {
	h := newHeap(1)
	ks := newKeyspace(h)
	const n = 20_000
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
	rewrite := func() (held int64) {
		before := h.held
		for i := range n {
			ks.set(key(i), Value{Type: TypeString, Bytes: fmt.Appendf(nil, "a value of some length %d", i)})
		}
		return h.held - before
	}
	rewrite()
	c := h.openCut([]*keyspace{ks})
	seen := 0
	require.NoError(t, c.spend(0, func(_ []byte, v Value) error {
		if seen++; seen == n/2 {
			all := int64(n * 48)
			held := rewrite()
			require.Greater(t, held, all*4/10)
			require.Less(t, held, all*6/10, "nor is the table copied for what lies ahead")
			require.Less(t, rewrite(), all/100, "once is enough")
		}
		require.Contains(t, string(v.Bytes), "a value")
		return nil
	}))
	require.Equal(t, n, seen)
	require.Zero(t, rewrite())
	live := h.arena.live
	require.Zero(t, rewrite())
	require.Equal(t, live, h.arena.live)
	later := h.openCut([]*keyspace{ks})
	require.Positive(t, rewrite(), "another cut's state is its own")
	c.close()
	later.close()
	ks.clear()
	requireEmptyHeap(t, h, 0)
}

// Segments in which values were only replaced are not copied ahead of a reader, though
// they change; behind where it stands, where keys come or go, or under two cuts they are.
func TestReplacingCopiesNoSegmentAhead(t *testing.T) {
	const n = 5000
	for _, cuts := range []int{1, 2} {
		h := newHeap(1)
		ks := newKeyspace(h)
		key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
		write := func(what string) {
			for i := range n {
				ks.set(key(i), Value{Type: TypeString, Bytes: fmt.Appendf(nil, "%s %d", what, i)})
			}
		}
		write("first")
		want := modelSpace{}
		ks.each(func(k []byte, v Value) bool { want[string(k)] = plain(v); return true })
		var open []*cut
		for range cuts {
			open = append(open, h.openCut([]*keyspace{ks}))
		}
		shared := func() (same int) {
			for _, s := range open[0].dbs[0].dir {
				if ks.t.dir[ks.t.index(s.prefix)] == s {
					same++
				}
			}
			return same
		}
		all := shared()
		require.Positive(t, all)
		write("second")
		write("a third of another length that needs another block")
		if cuts == 1 {
			require.Equal(t, all, shared())
		} else {
			require.Zero(t, shared())
		}
		ks.delete(key(7))
		ks.set([]byte("new"), Value{Type: TypeString})
		for _, c := range open {
			requireSameSpace(t, want, readCut(c))
		}
		write("fourth")
		require.Zero(t, shared(), "a reader was there")
		for _, c := range open {
			requireSameSpace(t, want, readCut(c))
			lo, hi := digestCut(c)
			other := newHeap(1)
			copied := newKeyspace(other)
			for i := range n {
				copied.set(key(i), Value{Type: TypeString, Bytes: fmt.Appendf(nil, "first %d", i)})
			}
			lo2, hi2 := digestCut(other.openCut([]*keyspace{copied}))
			require.Equal(t, [2]uint64{lo2, hi2}, [2]uint64{lo, hi})
			c.close()
		}
		ks.clear()
		requireEmptyHeap(t, h, 0)
	}
}

// Overwriting the same keys over and over while a cut is open keeps one old
// version of each, not one per write.
func TestCutKeepsOneOldVersion(t *testing.T) {
	h := newHeap(1)
	ks := newKeyspace(h)
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
	const n = 1000
	for i := range n {
		ks.set(key(i), Value{Type: TypeString, Bytes: make([]byte, 100)})
	}
	before := h.stats()
	c := h.openCut([]*keyspace{ks})
	for round := range 50 {
		for i := range n {
			ks.set(key(i), Value{Type: TypeString, Bytes: make([]byte, 90+round%30)})
		}
	}
	require.Less(t, h.stats().LiveBytes, 3*before.LiveBytes)
	require.LessOrEqual(t, h.stats().Retired, int64(n+10))
	c.close()
	for h.freeSome(100) {
	}
	require.Zero(t, h.stats().Retired)
	require.Less(t, h.stats().LiveBytes, before.LiveBytes*3/2)
}

// A tree that is changed while a cut is open shares the blocks that were not
// touched.
func TestCutSharesUntouchedBlocks(t *testing.T) {
	h := newHeap(1)
	ks := newKeyspace(h)
	o := h.newObject()
	o.t = newTree(h)
	for i := range 100_000 {
		o.t.put(fmt.Appendf(nil, "%06d", i), []byte("value"))
	}
	ks.set([]byte("k"), Value{Type: TypeHash, Enc: EncTree, Obj: o})
	bytes := h.treeBytes
	c := h.openCut([]*keyspace{ks})
	m := h.mutable(o)
	require.NotSame(t, o, m)
	require.Same(t, m, h.mutable(m))
	m.t.put([]byte("050000"), []byte("other"))
	m.t.del([]byte("000000"))
	ks.set([]byte("k"), Value{Type: TypeHash, Enc: EncTree, Obj: m})
	seen := map[*treeNode]bool{}
	var walk func(n *treeNode)
	walk = func(n *treeNode) {
		seen[n] = true
		if n.isLeaf() {
			return
		}
		for _, k := range n.kids {
			walk(k)
		}
	}
	walk(o.t.root)
	old := len(seen)
	walk(m.t.root)
	require.LessOrEqual(t, len(seen)-old, 6, "nodes copied for two changes")
	v, _ := o.t.get([]byte("050000"))
	require.Equal(t, "value", string(v))
	require.Equal(t, 100_000, o.t.len())
	require.Equal(t, bytes-13, h.treeBytes, "the cut's share is not the keyspace's")
	c.close()
	ks.delete([]byte("k"))
	requireEmptyHeap(t, h, 1)
}

// TestDigestNowIsDigest: what is summed in place is what a cut would have.
func TestDigestNowIsDigest(t *testing.T) {
	n := newTestNode(t)
	for i := range 3000 { // enough for the table to split
		n.do("SET", fmt.Sprint("k", i), fmt.Sprint(i))
		if i%500 == 0 {
			n.do("RPUSH", fmt.Sprint("l", i), "a", "b")
			index, digest := n.s.Digest()
			nowIndex, now := n.s.DigestNow()
			require.Equal(t, index, nowIndex)
			require.Equal(t, digest, now)
		}
	}
	_, before := n.s.DigestNow()
	n.do("SET", "k7", "another")
	_, after := n.s.DigestNow()
	require.NotEqual(t, before, after)
}

func TestDigestIgnoresLayoutAndEncoding(t *testing.T) {
	build := func(seed uint64, tree bool, order []int) *cut {
		h := newHeap(seed)
		ks := newKeyspace(h)
		for _, i := range order {
			ks.set(fmt.Appendf(nil, "k%d", i), Value{Type: TypeString, Bytes: []byte("v"), ExpireAt: int64(i % 3)})
		}
		pairs := [][]byte{[]byte("a"), []byte("1"), []byte("b"), []byte("2")}
		if !tree {
			ks.set([]byte("hash"), Value{Type: TypeHash, Enc: EncPacked, Bytes: packedOf(nil, pairs...)})
			ks.set([]byte("set"), Value{Type: TypeSet, Enc: EncPacked, Bytes: packedOf(nil, pairs...)})
			ks.set([]byte("list"), Value{Type: TypeList, Enc: EncPacked, Bytes: packedOf(nil, pairs...)})
			return h.openCut([]*keyspace{ks})
		}
		hash, set, list := h.newObject(), h.newObject(), h.newObject()
		hash.t, set.t, list.t = newTree(h), newTree(h), newTree(h)
		for i, e := range pairs {
			set.t.put(appendHashed(nil, h, e), nil)
			list.t.insertAt(i, e)
			if i%2 == 0 {
				hash.t.put(appendHashed(nil, h, e), pairs[i+1])
			}
		}
		ks.set([]byte("hash"), Value{Type: TypeHash, Enc: EncTree, Obj: hash})
		ks.set([]byte("set"), Value{Type: TypeSet, Enc: EncTree, Obj: set})
		ks.set([]byte("list"), Value{Type: TypeList, Enc: EncTree, Obj: list})
		return h.openCut([]*keyspace{ks})
	}
	r := rand.New(rand.NewPCG(1, 8))
	lo, hi := digestCut(build(1, false, r.Perm(5000)))
	lo2, hi2 := digestCut(build(2, true, r.Perm(5000)))
	require.Equal(t, [2]uint64{lo, hi}, [2]uint64{lo2, hi2})
	other := build(1, false, r.Perm(5000)[:4999])
	lo3, hi3 := digestCut(other)
	require.NotEqual(t, lo, lo3)
	require.NotEqual(t, hi, hi3)

	h := newHeap(1)
	ks := newKeyspace(h)
	digests := map[uint64]bool{}
	for _, v := range []Value{
		{Type: TypeString, Bytes: []byte("a")},
		{Type: TypeString, Bytes: []byte("b")},
		{Type: TypeString, Bytes: []byte("a"), ExpireAt: 5},
		{Type: TypeList, Enc: EncPacked, Bytes: packedOf(nil, []byte("a"), []byte("b"))},
		{Type: TypeList, Enc: EncPacked, Bytes: packedOf(nil, []byte("b"), []byte("a"))},
		{Type: TypeList, Enc: EncPacked, Bytes: packedOf(nil, []byte("ab"))},
		{Type: TypeSet, Enc: EncPacked, Bytes: packedOf(nil, []byte("a"), []byte("b"))},
		{Type: TypeHash, Enc: EncPacked, Bytes: packedOf(nil, []byte("a"), []byte("b"))},
		{Type: TypeHash, Enc: EncPacked, Bytes: packedOf(nil, []byte("b"), []byte("a"))},
	} {
		ks.set([]byte("key"), v)
		c := h.openCut([]*keyspace{ks})
		lo, _ := digestCut(c)
		require.False(t, digests[lo], "%v %q digests like another", v.Type, v.Bytes)
		digests[lo] = true
		c.close()
	}
}
