package kv

import (
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
			key, _, ok := ks.random(dice.next())
			require.True(t, ok)
			seen[string(key)]++
		}
		for i := range 3 {
			require.Greater(t, seen["k"+strconv.Itoa(i)], 50)
		}
	}
}
