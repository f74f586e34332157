package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelSpace is the plain truth a keyspace is compared with.
type modelSpace map[string]modelValue

type modelValue struct {
	typ  Type
	at   int64
	data string // the string, or a digest of the tree
}

// plain turns a value into its model.
func plain(v Value) modelValue {
	m := modelValue{typ: v.Type, at: v.ExpireAt, data: string(v.Bytes)}
	if v.Enc == EncTree {
		var d keyDigest
		d.begin()
		for it := v.Obj.t.first(); it.valid(); it.next() {
			d.element(it.key())
			d.element(it.val())
		}
		m.data = fmt.Sprint(d.end())
	}
	return m
}

// check verifies a table's invariants: every key is found, counts and depths are
// right, used slots of a group come first, every segment is where it belongs.
func (t *table) check(tb testing.TB) {
	tb.Helper()
	require.Len(tb, t.dir, 1<<t.bits)
	var depths [maxDepth + 1]int
	keys, segments := 0, 0
	for i := 0; t.dir[0] != nil && i < len(t.dir); {
		s := t.dir[i]
		segments++
		depths[s.depth]++
		require.Equal(tb, i, t.index(s.prefix))
		for j := range 1 << (t.bits - s.depth) {
			require.Same(tb, s, t.dir[i+j])
		}
		i += 1 << (t.bits - s.depth)
		for c := s; c != nil; c = c.next {
			n := 0
			for j := range segmentSlots {
				slot := c.slot(j)
				if slot == 0 {
					continue
				}
				n++
				require.True(tb, j%groupSlots == 0 || c.slot(j-1) != 0, "gap in a group")
				key := recordKey(t.h.arena.at(ref(slot & refMask)))
				hash := hash64(t.h, key)
				require.Equal(tb, c.tag(hash), slot>>refBits)
				require.Equal(tb, c.home(hash), c.homeOf(slot))
				at, _, ok := c.find(t.h.arena, hash, key)
				require.True(tb, ok && at == j, "key %q at %d is not found", key, j)
			}
			require.EqualValues(tb, n, c.n)
			keys += n
		}
	}
	require.Equal(tb, keys, t.n)
	require.Equal(tb, segments, t.segments)
	require.Equal(tb, depths, t.depths)
}

func requireSpace(tb testing.TB, m modelSpace, ks *keyspace) {
	tb.Helper()
	require.Equal(tb, len(m), ks.len())
	n, expires := 0, 0
	var prev []byte
	ks.each(func(key []byte, v Value) bool {
		want, ok := m[string(key)]
		if !ok || want != plain(v) {
			tb.Fatalf("key %q: want %v %+v", key, ok, want)
		}
		if v.ExpireAt != 0 {
			expires++
		}
		if prev != nil {
			a, b := hash64(ks.h, prev), hash64(ks.h, key)
			require.True(tb, a < b || a == b && bytes.Compare(prev, key) < 0, "hash order")
		}
		prev = append(prev[:0], key...)
		n++
		return true
	})
	require.Equal(tb, len(m), n)
	require.Equal(tb, expires, ks.expires())
	ks.t.check(tb)
	ks.due.check(tb)
}

// mutator changes a keyspace and its model in step.
type mutator struct {
	r    *rand.Rand
	h    *heap
	ks   *keyspace
	m    modelSpace
	keys int
	// small leaves out the rare large values.
	small bool
}

func (u *mutator) key() []byte {
	n := u.r.IntN(u.keys)
	k := fmt.Appendf(nil, "key:%d", n)
	if n%97 == 0 {
		k = append(k, bytes.Repeat([]byte{'k'}, n%4000)...)
	}
	return k
}

func (u *mutator) bytes() []byte {
	n := u.r.IntN(120)
	if !u.small {
		switch u.r.IntN(400) {
		case 0:
			n = u.r.IntN(150_000)
		case 1, 2, 3:
			n = u.r.IntN(5000)
		}
	}
	b := make([]byte, n)
	for i := 0; i < n; i += 1 + n/8 {
		b[i] = byte(u.r.Uint32())
	}
	return b
}

func (u *mutator) expiry() int64 {
	if u.r.IntN(3) > 0 {
		return 0
	}
	return 1 + u.r.Int64N(1000)
}

// step does one random change.
func (u *mutator) step(tb testing.TB, grow bool) {
	key := u.key()
	old, found := u.m[string(key)]
	v, ok := u.ks.get(key)
	require.Equal(tb, found, ok)
	if found {
		require.Equal(tb, old, plain(v))
	}
	op := u.r.IntN(20)
	if grow && op >= 8 && op < 14 {
		op = 0
	}
	switch {
	case op < 6:
		nv := Value{Type: TypeString, Bytes: u.bytes(), ExpireAt: u.expiry()}
		u.ks.set(key, nv)
		u.m[string(key)] = modelValue{TypeString, nv.ExpireAt, string(nv.Bytes)}
	case op < 8: // a change within the value
		if !found || v.Enc == EncTree || v.Obj != nil || len(v.Bytes) == 0 {
			return
		}
		cut := u.r.IntN(len(v.Bytes))
		old.data = old.data[cut:]
		v.Bytes = v.Bytes[cut:] // aliases the record
		u.ks.set(key, v)
		u.m[string(key)] = old
	case op < 13:
		require.Equal(tb, found, u.ks.delete(key))
		delete(u.m, string(key))
	case op < 15:
		old.at = u.expiry()
		require.Equal(tb, found, u.ks.setExpire(key, old.at))
		if found {
			u.m[string(key)] = old
		}
	case op < 16: // RENAME
		to := u.key()
		if !found || bytes.Equal(key, to) {
			return
		}
		v, _ := u.ks.get(key)
		u.ks.set(to, v)
		u.ks.delete(key)
		u.m[string(to)] = old
		delete(u.m, string(key))
	default:
		u.stepTree(tb, key, v, found)
	}
}

func (u *mutator) stepTree(tb testing.TB, key []byte, v Value, found bool) {
	if !found || v.Enc != EncTree {
		o := u.h.newObject()
		o.t = newTree(u.h)
		n := u.r.IntN(50)
		if u.r.IntN(20) == 0 {
			n = 1000
		}
		for i := range n {
			o.t.put(binary.BigEndian.AppendUint64(nil, uint64(i)), u.bytes())
		}
		v = Value{Type: TypeHash, Enc: EncTree, Obj: o}
	}
	o := u.h.mutable(v.Obj)
	for range 5 {
		k := binary.BigEndian.AppendUint64(nil, u.r.Uint64N(150))
		if u.r.IntN(2) == 0 {
			o.t.put(k, u.bytes())
		} else {
			o.t.del(k)
		}
	}
	if o != v.Obj || !found || o.id == 0 {
		v.Obj = o
		u.ks.set(key, v)
	}
	u.m[string(key)] = plain(v)
}

func TestKeyspaceEqualsModel(t *testing.T) {
	for seed := range uint64(4) {
		h := newHeap(seed)
		u := &mutator{r: rand.New(rand.NewPCG(seed, 3)), h: h, ks: newKeyspace(h), m: modelSpace{},
			keys: []int{50, 3000, 20_000}[seed%3]}
		for step := range 40_000 {
			u.step(t, (step/10_000)%2 == 0)
			if step%10_000 == 0 {
				requireSpace(t, u.m, u.ks)
			}
			if step%100 == 0 {
				u.requireNextDue(t)
			}
		}
		requireSpace(t, u.m, u.ks)
		for k := range u.m {
			require.True(t, u.ks.delete([]byte(k)))
		}
		u.ks.t.check(t)
		require.Equal(t, 1, u.ks.t.segments, "an empty table is one segment again")
		requireEmptyHeap(t, h, 1)
	}
}

func (u *mutator) requireNextDue(tb testing.TB) {
	var key string
	var at int64
	if u.keys > 3000 {
		return
	}
	for k, v := range u.m {
		if v.at != 0 && (at == 0 || v.at < at || v.at == at && k < key) {
			key, at = k, v.at
		}
	}
	k, gotAt, ok := u.ks.nextDue()
	require.Equal(tb, at != 0, ok)
	require.Equal(tb, at, gotAt)
	require.Equal(tb, key, string(k))
}

// requireEmptyHeap checks that nothing is left but so many segments.
func requireEmptyHeap(tb testing.TB, h *heap, segments int) {
	tb.Helper()
	for h.freeSome(1000) {
	}
	s := h.stats()
	require.Zero(tb, s.Retired)
	require.Zero(tb, s.Objects)
	require.Zero(tb, h.treeBytes)
	require.Equal(tb, int64(segments*segmentBytes), s.LiveBytes)
	require.LessOrEqual(tb, s.UsedBytes, int64((pagesKept+segments)*pageBytes))
}

func TestClearFreesInSlices(t *testing.T) {
	h := newHeap(9)
	ks := newKeyspace(h)
	for i := range 50_000 {
		ks.set(fmt.Appendf(nil, "k%d", i), Value{Type: TypeString, Bytes: []byte("v"), ExpireAt: int64(i % 2)})
	}
	big := newKeyspace(h)
	big.set([]byte("big"), Value{Type: TypeString, Bytes: make([]byte, 1<<20)})
	ks.clear()
	big.clear()
	require.Zero(t, ks.len()+ks.expires())
	_, ok := ks.get([]byte("k1"))
	require.False(t, ok)
	ks.set([]byte("k1"), Value{Type: TypeString, Bytes: []byte("new")})
	slices := 0
	for h.freeSome(1000) {
		slices++
	}
	require.Greater(t, slices, 40)
	v, ok := ks.get([]byte("k1"))
	require.True(t, ok)
	require.Equal(t, "new", string(v.Bytes))
	ks.delete([]byte("k1"))
	requireEmptyHeap(t, h, 1)
}

// A key that is there during a whole scan is seen exactly once, whatever happens
// in between, and two tables of different shape serve one scan alike.
func TestScanWhileTheTableGrowsAndShrinks(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 4))
		h := newHeap(77)
		ks := newKeyspace(h)
		const stay = 3000
		for i := range stay {
			ks.set(fmt.Appendf(nil, "stay%d", i), Value{Type: TypeString})
		}
		other := 0
		seen := map[string]int{}
		cursor := uint64(0)
		for {
			cursor = ks.scan(cursor, 1+r.IntN(50), func(key []byte, v Value) { seen[string(key)]++ })
			require.Less(t, cursor, uint64(1)<<53)
			if cursor == 0 {
				break
			}
			for range r.IntN(300) {
				if seed%2 == 0 {
					ks.set(fmt.Appendf(nil, "other%d", other), Value{Type: TypeString})
					other++
				} else {
					ks.delete(fmt.Appendf(nil, "stay%d", stay/10+r.IntN(stay)))
				}
			}
		}
		for i := range stay {
			k := fmt.Sprintf("stay%d", i)
			_, there := ks.get([]byte(k))
			if there {
				require.Equal(t, 1, seen[k])
			}
			require.LessOrEqual(t, seen[k], 1)
		}
	}
}

func TestScanAndAtDependOnContentsAlone(t *testing.T) {
	const n = 30_000
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
	grown := newKeyspace(newHeap(5))
	for i := range n {
		grown.set(key(i), Value{Type: TypeString})
	}
	shrunk := newKeyspace(newHeap(5))
	for i := 4 * n; i >= 0; i-- {
		shrunk.set(key(i), Value{Type: TypeString})
	}
	c := shrunk.h.openCut([]*keyspace{shrunk}) // no merges: more segments than grown
	for i := n; i <= 4*n; i++ {
		shrunk.delete(key(i))
	}
	require.NotEqual(t, grown.t.bits, shrunk.t.bits)
	var cursor uint64
	for {
		var a, b []string
		next := grown.scan(cursor, 7, func(k []byte, _ Value) { a = append(a, string(k)) })
		require.Equal(t, next, shrunk.scan(cursor, 7, func(k []byte, _ Value) { b = append(b, string(k)) }))
		require.Equal(t, a, b)
		if cursor = next; cursor == 0 {
			break
		}
	}
	r := rand.New(rand.NewPCG(1, 5))
	for range 2000 {
		p := r.Uint64()
		a, _, ok := grown.at(p)
		require.True(t, ok)
		b, _, _ := shrunk.at(p)
		require.Equal(t, string(a), string(b))
	}
	_, _, ok := newKeyspace(newHeap(5)).at(3)
	require.False(t, ok)
	c.close()
}

// A flood of keys with one and the same hash must neither blow up the directory nor
// lose a key.
func TestTableSurvivesEqualHashes(t *testing.T) {
	const seed, n = 42, 5000
	h := newHeap(seed)
	ks := newKeyspace(h)
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = keyWithHash(seed, 0xABCDEF0123456789, uint32(i))
		require.Equal(t, uint64(0xABCDEF0123456789), hash64(h, keys[i]))
		ks.set(keys[i], Value{Type: TypeString, Bytes: keys[i]})
	}
	require.LessOrEqual(t, len(ks.t.dir), 1<<12)
	ks.t.check(t)
	c := h.openCut([]*keyspace{ks})
	seen, pages := 0, 0
	for cursor := uint64(0); pages == 0 || cursor != 0; pages++ {
		cursor = ks.scan(cursor, 10, func([]byte, Value) { seen++ })
	}
	require.Equal(t, n, seen)
	r := rand.New(rand.NewPCG(1, 6))
	for _, i := range r.Perm(n) {
		v, ok := ks.get(keys[i])
		require.True(t, ok)
		require.Equal(t, keys[i], v.Bytes)
		require.True(t, ks.delete(keys[i]))
		require.False(t, ks.delete(keys[i]))
	}
	ks.t.check(t)
	require.NoError(t, c.each(0, func([]byte, Value) error { seen--; return nil }))
	require.Zero(t, seen)
	c.close()
}

// keyWithHash is the 12-byte key that ends in tail and has the given hash under
// seed: XXH64 of short inputs, run backwards.
func keyWithHash(seed, hash uint64, tail uint32) []byte {
	const (
		p1, p2, p3 uint64 = 11400714785074694791, 14029467366897019727, 1609587929392839161
		p4, p5     uint64 = 9650029242287828579, 2870177450012600261
	)
	inverse := func(odd uint64) uint64 { // modulo 2^64, by Newton
		x := odd
		for range 6 {
			x *= 2 - odd*x
		}
		return x
	}
	h := hash
	h ^= h >> 32
	h *= inverse(p3)
	h ^= h>>29 ^ h>>58
	h *= inverse(p2)
	h ^= h >> 33
	h = bits.RotateLeft64((h-p3)*inverse(p2), -23) ^ uint64(tail)*p1
	h = bits.RotateLeft64((h-p4)*inverse(p1), -27)
	k := h ^ (seed + p5 + 12)
	k = bits.RotateLeft64(k*inverse(p1), -31) * inverse(p2)
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, k), tail)
}

func TestGetAndSetDoNotAllocate(t *testing.T) {
	ks := newKeyspace(newHeap(1))
	for i := range 10_000 {
		ks.set(fmt.Appendf(nil, "key%06d", i), Value{Type: TypeString, Bytes: make([]byte, 64)})
	}
	key, val := []byte("key005000"), make([]byte, 64)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		v, _ := ks.get(key)
		sink = v.Bytes
		ks.set(key, Value{Type: TypeString, Bytes: val})
	}))
	fresh := []byte("fresh")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		ks.set(fresh, Value{Type: TypeString, Bytes: val})
		ks.delete(fresh)
	}))
	if n := testing.AllocsPerRun(100, func() { ks.scan(123456, 10, func([]byte, Value) {}) }); n > 2 {
		t.Errorf("scan allocates %v times", n)
	}
}

func TestHash64IsXXH64WithSeed(t *testing.T) {
	require.Equal(t, uint64(0xef46db3751d8e999), hash64(newHeap(0), nil)) // the reference's first vector
	require.NotEqual(t, hash64(newHeap(1), []byte("a")), hash64(newHeap(2), []byte("a")))
	h := newHeap(3)
	long := bytes.Repeat([]byte("x"), 100)
	require.Zero(t, testing.AllocsPerRun(100, func() { hash64(h, long) }))
}

func benchKeyspace(n int) (*keyspace, [][]byte) {
	ks := newKeyspace(newHeap(1))
	val := make([]byte, 64)
	for i := range n {
		ks.set(fmt.Appendf(nil, "key:%012d", i), Value{Type: TypeString, Bytes: val})
	}
	keys := make([][]byte, n) // in another order, but in the order of use in memory
	for i, k := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		keys[i] = fmt.Appendf(nil, "key:%012d", k)
	}
	runtime.GC()
	return ks, keys
}

func BenchmarkKeyspaceGet1M(b *testing.B) {
	ks, keys := benchKeyspace(1_000_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v, _ := ks.get(keys[i%len(keys)])
		sink = v.Bytes
	}
}

func BenchmarkKeyspaceSet1M(b *testing.B) {
	ks, keys := benchKeyspace(1_000_000)
	val := make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ks.set(keys[i%len(keys)], Value{Type: TypeString, Bytes: val})
	}
}

func BenchmarkKeyspaceInsert(b *testing.B) {
	ks := newKeyspace(newHeap(1))
	val := make([]byte, 64)
	var key [16]byte
	for i := range b.N {
		binary.BigEndian.PutUint64(key[8:], uint64(i))
		ks.set(key[:], Value{Type: TypeString, Bytes: val})
	}
}

// Random deletions leave every page nearly empty; compaction gives the memory back
// and loses nothing.
func TestCompactionReturnsMemory(t *testing.T) {
	h := newHeap(1)
	ks, other := newKeyspace(h), newKeyspace(h)
	r := rand.New(rand.NewPCG(1, 10))
	m := map[string]string{}
	for i := range 600_000 {
		key := fmt.Appendf(nil, "key%d", i)
		val := bytes.Repeat([]byte{byte(i)}, 60+r.IntN(100))
		if i%20 == 0 {
			m[string(key)] = string(val)
		}
		ks.set(key, Value{Type: TypeString, Bytes: val})
	}
	other.set([]byte("key20"), Value{Type: TypeString, Bytes: []byte("another database's")})
	for i := range 600_000 {
		if i%20 != 0 {
			ks.delete(fmt.Appendf(nil, "key%d", i))
		}
	}
	require.Greater(t, h.stats().UsedBytes, 5*h.stats().LiveBytes)
	for range 20 { // a call looks at some pages only
		for h.freeSome(1000) {
		}
	}
	s := h.stats()
	require.Less(t, s.UsedBytes, s.LiveBytes*5/4+2*compactSlack)
	ks.t.check(t)
	require.Equal(t, len(m), ks.len())
	for k, want := range m {
		v, ok := ks.get([]byte(k))
		require.True(t, ok)
		require.Equal(t, want, string(v.Bytes))
	}
	v, _ := other.get([]byte("key20"))
	require.Equal(t, "another database's", string(v.Bytes))
}
