package kv

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a table was told to expect, it is the table that random insertion makes:
// the same keys in the same order, every invariant, and ready for cuts and changes.
func TestReservedTableIsAnyTable(t *testing.T) {
	for name, c := range map[string]struct {
		keys, told int
		shuffle    bool
	}{
		"as told":           {100_000, 100_000, false},
		"full segments":     {reservedFill << 6, reservedFill << 6, false},
		"more than told":    {60_000, 10_000, false},
		"fewer than told":   {3_000, 500_000, false},
		"one":               {1, 500_000, false},
		"none":              {0, 500_000, false},
		"told of none":      {5_000, 0, false},
		"not in hash order": {100_000, 100_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			grown := newKeyspace(newHeap(7))
			for i := range c.keys {
				grown.set(benchKey(i), Value{Type: TypeString, Bytes: benchKey(i + 1), ExpireAt: int64(i % 5 * (i % 7))})
			}
			var order [][]byte
			grown.each(func(key []byte, _ Value) bool { order = append(order, append([]byte(nil), key...)); return true })
			if c.shuffle {
				rand.New(rand.NewPCG(1, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			}
			ks := newKeyspace(newHeap(7))
			ks.t.reserve(uint64(c.told))
			var due []dueKey
			for _, key := range order {
				v, _ := grown.get(key)
				hash := hash64(ks.h, key)
				require.False(t, ks.has(hash, key))
				due = ks.addNew(hash, key, v, due)
				require.True(t, ks.has(hash, key))
			}
			ks.t.seal()
			ks.indexDue(due)
			ks.due.check(t)
			require.Equal(t, grown.expires(), ks.expires())
			for i := range ks.expires() {
				a, _ := grown.due.at(i)
				b, _ := ks.due.at(i)
				require.Equal(t, a, b)
			}
			ks.t.check(t)
			requireSameOrder(t, grown, ks)
			for s := range ks.t.dir {
				require.True(t, ks.t.dir[s] == nil || ks.t.dir[s].next == nil, "a chain, with uniform hashes")
			}
			cut := ks.h.openCut([]*keyspace{ks})
			for i := range c.keys {
				if i%3 == 0 {
					require.True(t, ks.delete(benchKey(i)))
				}
				ks.set(benchKey(-1-i), Value{Type: TypeString, Bytes: []byte("new")})
			}
			require.Equal(t, c.keys, cut.len(0))
			cut.close()
			ks.t.check(t)
			for i := range c.keys {
				ks.delete(benchKey(i))
				ks.delete(benchKey(-1 - i))
			}
			ks.t.check(t)
			require.Zero(t, ks.len())
		})
	}
}

func requireSameOrder(t *testing.T, a, b *keyspace) {
	var x, y []string
	a.each(func(key []byte, v Value) bool { x = append(x, string(key)+string(v.Bytes)); return true })
	b.each(func(key []byte, v Value) bool { y = append(y, string(key)+string(v.Bytes)); return true })
	require.Equal(t, x, y)
}

func benchKey(i int) []byte { return binary.BigEndian.AppendUint64([]byte("key"), uint64(i)) }

// A key that comes twice is found out, whether the file is in hash order or not.
func TestLoaderRefusesARepeatedKey(t *testing.T) {
	from := newTestNode(t)
	cut := from.s.OpenCut()
	defer cut.Close()
	l := New(Options{}).NewLoader()
	prepare, stop := l.Hurry()
	go prepare()
	defer stop()
	require.NoError(t, l.SetState(cut.State()))
	v := Value{Type: TypeString, Bytes: []byte("v")}
	for i := range 1000 {
		require.NoError(t, l.Add(i%2, benchKey(i), v))
		require.ErrorIs(t, l.Add(i%2, benchKey(i), v), ErrRDB)
		require.ErrorIs(t, l.Add(i%2, benchKey(i/2&^1+i%2), v), ErrRDB)
	}
}
