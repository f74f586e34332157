package resp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommandStats(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	for _, cmd := range [][]string{{"SET", "a", "x"}, {"INCR", "a"}, {"GET"}, {"MULTI"}, {"SET", "b", "1"}, {"INCR", "a"}, {"EXEC"}} {
		c.do(cmd...)
	}
	info := c.do("INFO", "commandstats", "errorstats")
	for _, want := range []string{`cmdstat_set:calls=2,`, `rejected_calls=0,failed_calls=2`, `cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1`, `cmdstat_exec:calls=1`, `errorstat_ERR:count=3`} {
		require.Contains(t, info, want)
	}
	require.Contains(t, c.do("INFO", "latencystats"), "latency_percentiles_usec_set:p50=")
	require.NotContains(t, c.do("INFO"), "cmdstat_")
	require.Contains(t, c.do("INFO", "everything"), "cmdstat_")
	require.Equal(t, "+OK", c.do("CONFIG", "RESETSTAT"))
	require.NotContains(t, c.do("INFO", "commandstats"), "cmdstat_set")
}
