package kv

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// RANDOMKEY gives every key of a small database its share, whatever the seed of the
// hash: a hundred tries of Redis's suite must see both of two keys.
func TestRandomKeyIsEven(t *testing.T) {
	for seed := range uint64(50) {
		s := New(Options{HashSeed: seed})
		ks := s.dbs[0]
		c := Ctx{store: s, logged: true}
		c.selectDB(0)
		for i := range 3 {
			c.put([]byte("k"+strconv.Itoa(i)), Value{Type: TypeString, Enc: EncRaw, Bytes: []byte("v")})
		}
		seen := map[string]int{}
		dice := newRNG(seed, 0, 0)
		for range 300 {
			key, _, ok := ks.random(&dice)
			require.True(t, ok)
			seen[string(key)]++
		}
		for i := range 3 {
			require.Greater(t, seen["k"+strconv.Itoa(i)], 50)
		}
	}
}

// ... and of a large one: chi-squared over all keys stays within five deviations of
// what equal chances give.
func TestRandomKeyIsEvenAmongMany(t *testing.T) {
	for _, n := range []int{33, 63, 64, 1000, 5000} {
		s := New(Options{HashSeed: uint64(n)})
		ks := s.dbs[0]
		for i := range n {
			ks.set([]byte("k"+strconv.Itoa(i)), Value{Type: TypeString, Bytes: []byte("v")})
		}
		const each = 40
		seen := map[string]int{}
		dice := newRNG(uint64(n), 0, 0)
		for range each * n {
			key, _, ok := ks.random(&dice)
			require.True(t, ok)
			seen[string(key)]++
		}
		sum := float64(n-len(seen)) * each
		for _, k := range seen {
			d := float64(k - each)
			sum += d * d / each
		}
		free := float64(n - 1)
		require.InDelta(t, free, sum, 5*math.Sqrt(2*free), "%d keys", n)
	}
}

// The choice follows from keys and seed, not from how the table came to be.
func TestRandomKeyForgetsTheTablesPast(t *testing.T) {
	build := func(detour int) *keyspace {
		ks := New(Options{HashSeed: 7}).dbs[0]
		for i := range detour {
			ks.set([]byte("gone"+strconv.Itoa(i)), Value{Type: TypeString})
		}
		for i := range 3000 {
			ks.set([]byte("k"+strconv.Itoa(i)), Value{Type: TypeString})
		}
		for i := range detour {
			ks.delete([]byte("gone" + strconv.Itoa(i)))
		}
		return ks
	}
	a, b := build(0), build(50000)
	da, db := newRNG(1, 0, 0), newRNG(1, 0, 0)
	for range 2000 {
		x, _, _ := a.random(&da)
		y, _, _ := b.random(&db)
		require.Equal(t, string(x), string(y))
	}
}
