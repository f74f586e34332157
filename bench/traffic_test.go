package main

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTrafficSendsWholePipelines counts at a server that answers a pipeline only when it
// has all of it: requests cut short would stand still.
func TestTrafficSendsWholePipelines(t *testing.T) {
	const depth = 16
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var sets, gets atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for n := 1; ; n++ {
					args, err := readReply(in) // a command is an array of strings
					if err != nil {
						return
					}
					if strings.HasPrefix(args, "GET") {
						gets.Add(1)
					} else {
						sets.Add(1)
					}
					if n%depth == 0 {
						_, _ = c.Write([]byte(strings.Repeat("+OK\r\n", depth)))
					}
				}
			}()
		}
	}()
	times, err := traffic{addr: l.Addr().String(), keys: 10, conns: 4, pipeline: depth, each: 1600}.run(nil)
	require.NoError(t, err)
	require.Len(t, times, 4*1600)
	require.EqualValues(t, 4*1600, sets.Load()+gets.Load())
	require.InDelta(t, 3200, gets.Load(), 400, "half of them")
}

// A moment in which everything stands still makes the p99 of a phase, not that of its median
// second; the seconds without answers count for nothing.
func TestMedianSecond(t *testing.T) {
	line := newTimeline()
	require.Zero(t, line.median())
	for second, longest := range []time.Duration{3, 0, 900, 1, 2, 4} {
		line.took = append(line.took, nil)
		for i := range 100 {
			if longest > 0 {
				line.took[second] = append(line.took[second], time.Duration(i/99)*longest*time.Millisecond)
			}
		}
	}
	require.Equal(t, 3*time.Millisecond, line.median())
	require.Contains(t, line.String(), ": 3 0 900 1 2 4")
	line.note(time.Microsecond)
	require.Contains(t, line.took[0], time.Microsecond)
}
