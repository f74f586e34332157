package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPeersTakePartInWhatTheyKnow(t *testing.T) {
	o := options{port: 17379}
	took := func(p peer) (names []string) {
		for _, c := range grid(false) {
			if p.takesPart(c) {
				names = append(names, c.Name)
			}
		}
		return names
	}
	require.Len(t, took(redisAlways(o, "")), len(grid(false)))
	require.Equal(t, []string{"get c=50 P=1", "get c=50 P=16", "get c=1 P=1", "get c=256 P=1", "get c=1000 P=1", "get c=50 P=64"}, took(rkvLease(o, "")))
	require.NotContains(t, took(uhaha(o, "", "")), "mset c=50 P=1")
	require.NotContains(t, took(uhaha(o, "", "")), "mix c=50 P=1")
	require.Contains(t, took(uhaha(o, "", "")), "set c=50 P=1 d=1024")
}

func TestPeersThatCannotBeMeasuredAreRefused(t *testing.T) {
	t.Setenv("RKV_BENCH_UHAHA", "/does/not/exist")
	_, err := otherPeers(options{}, "")
	require.ErrorContains(t, err, "RKV_BENCH_UHAHA: stat /does/not/exist")
	t.Setenv("RKV_BENCH_UHAHA", "")
	t.Setenv("RKV_BENCH_ETCD", "etcd")
	_, err = otherPeers(options{}, "")
	require.ErrorContains(t, err, "does not speak the Redis protocol")
}
