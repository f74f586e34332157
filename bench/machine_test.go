package main

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func ms(from, to int) span {
	at := func(n int) time.Time { return time.UnixMilli(int64(n)) }
	return span{at(from), at(to)}
}

func TestTheMachinesPartIsTakenAway(t *testing.T) {
	stalls := []span{ms(10, 20), ms(30, 35)}
	require.Equal(t, 25*time.Millisecond, ms(0, 40).without(stalls))
	require.Equal(t, 5*time.Millisecond, ms(15, 25).without(stalls))
	require.Zero(t, ms(12, 18).without(stalls))
	require.Equal(t, 8*time.Millisecond, ms(20, 28).without(stalls))
	require.Equal(t, 25*time.Millisecond, longestWithout([]span{ms(12, 18), ms(0, 40)}, stalls))
	require.Zero(t, longestWithout(nil, stalls))
}

func TestStallsOfAllProcessorsAreOneList(t *testing.T) {
	m := &machine{stop: make(chan struct{}), procs: runtime.GOMAXPROCS(0)}
	m.stalls = []span{ms(30, 35), ms(10, 20), ms(12, 15), ms(20, 22)}
	require.Equal(t, []span{ms(10, 22), ms(30, 35)}, m.end())
}
