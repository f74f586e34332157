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

// What scripts call counts, errors once: whether the script swallows them, replies them
// or ends by them.
func TestErrorsOfScriptsCountOnce(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "s", "text"))
	for _, tc := range []struct {
		script []string
		want   []string
	}{
		{
			[]string{"EVAL", "redis.pcall('LPUSH', 's', 'x') return 1", "0"},
			[]string{"errorstat_WRONGTYPE:count=1", "cmdstat_lpush:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1", "total_error_replies:1"},
		},
		{
			[]string{"EVAL", "return redis.pcall('LPUSH', 's', 'x')", "0"},
			[]string{"errorstat_WRONGTYPE:count=1", "total_error_replies:1"},
		},
		{
			[]string{"EVAL", "return redis.call('LPUSH', 's', 'x')", "0"},
			[]string{"errorstat_WRONGTYPE:count=1", "total_error_replies:1"},
		},
		{
			[]string{"EVAL_RO", "redis.pcall('SET', 's', 'x') return 1", "0"},
			[]string{"errorstat_ERR:count=1", "cmdstat_set:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0", "total_error_replies:1"},
		},
		{
			[]string{"EVAL", "return redis.error_reply('MINE own')", "0"},
			[]string{"errorstat_MINE:count=1", "total_error_replies:1"},
		},
	} {
		require.Equal(t, "+OK", c.do("CONFIG", "RESETSTAT"))
		c.do(tc.script...)
		info := c.do("INFO", "commandstats", "errorstats", "stats")
		for _, want := range tc.want {
			require.Contains(t, info, want, tc.script[1])
		}
	}
}
