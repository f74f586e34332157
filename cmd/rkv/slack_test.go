package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStartedNextFollowsTheOrderOfNumbers(t *testing.T) {
	require.Equal(t, 11, startedNext(10, []int{14, 11, 10, 12}))
	require.Equal(t, 3, startedNext(32767, []int{7, 32767, 3}), "numbers begin again")
	require.Zero(t, startedNext(10, []int{10}))
	require.Zero(t, startedNext(10, []int{11, 12}))
}

// The monitor thread of a server sleeps long, the others do not: theirs are the node's
// timers.
func TestTheMonitorThreadSleepsLong(t *testing.T) {
	pid := startCluster(t, 1).nodes[0].cmd.Process.Pid
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	require.NoError(t, err)
	slack := map[int]string{}
	var tids []int
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		b, err := os.ReadFile("/proc/" + e.Name() + "/timerslack_ns")
		if os.IsNotExist(err) {
			continue // it ended
		}
		require.NoError(t, err)
		slack[tid], tids = strings.TrimSpace(string(b)), append(tids, tid)
	}
	monitor := startedNext(pid, tids)
	require.NotZero(t, monitor)
	if slack[monitor] == strconv.Itoa(timerSlack) && !maySetOthersSlack(t) {
		t.Skip("ANOTHER THREAD'S SLACK NEEDS CAP_SYS_NICE: nothing was checked")
	}
	require.Equal(t, strconv.Itoa(monitorSlack), slack[monitor])
	require.Equal(t, strconv.Itoa(timerSlack), slack[pid])
}

// maySetOthersSlack reports whether this process has CAP_SYS_NICE, which the node inherits.
func maySetOthersSlack(t *testing.T) bool {
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(b), "CapEff:")
	require.True(t, found)
	caps, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	require.NoError(t, err)
	return caps&(1<<unix.CAP_SYS_NICE) != 0
}
