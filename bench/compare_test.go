package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// report is redis-benchmark 7.0.15's, shortened, of a test that needs another one before it.
const report = ` LPUSH (needed to benchmark LRANGE): rps=0.0 (overall: -nan) avg_msec=-nan (overall: -nan)
====== LPUSH (needed to benchmark LRANGE) ======
  200 requests completed in 0.02 seconds

Latency by percentile distribution:
0.000% <= 9.063 milliseconds (cumulative count 1)
100.000% <= 9.327 milliseconds (cumulative count 200)

Cumulative distribution of latencies:
100.000% <= 9.407 milliseconds (cumulative count 200)

Summary:
  throughput summary: 8333.33 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        9.171     9.056     9.151     9.135     9.311     9.327

` + "\r LRANGE_100 (first 100 elements): rps=46127.0 (overall: 45944.7) avg_msec=0.575 (overall: 0.575)\r" +
	`====== LRANGE_100 (first 100 elements) ======
  20000 requests completed in 0.36 seconds
  10 parallel clients

Latency by percentile distribution:
0.000% <= 0.063 milliseconds (cumulative count 12)
50.000% <= 0.351 milliseconds (cumulative count 10008)
99.805% <= 3.951 milliseconds (cumulative count 19964)
99.902% <= 4.191 milliseconds (cumulative count 19984)
99.951% <= 4.231 milliseconds (cumulative count 19992)
100.000% <= 4.327 milliseconds (cumulative count 20000)

Cumulative distribution of latencies:
99.900% <= 4.103 milliseconds (cumulative count 19980)
100.000% <= 5.103 milliseconds (cumulative count 20000)

Summary:
  throughput summary: 56179.77 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        0.471     0.056     0.351     1.135     2.711     4.327

`

func TestParseReadsTheLastReport(t *testing.T) {
	var s sample
	require.NoError(t, s.parse(report))
	require.Equal(t, sample{RPS: 56179.77, P50: 0.351, P99: 2.711, P999: 4.191}, s)
}

func TestParseOfAnythingElseFails(t *testing.T) {
	for _, text := range []string{"", "Error from server: ERR unknown command", report[:len(report)/2+400]} {
		var s sample
		require.Error(t, s.parse(text), text)
	}
}

func TestChargeSharesAmongRequests(t *testing.T) {
	r := &running{log: logOf("", "", "")}
	before := spent{cpu: time.Second, written: 4096, log: logCounters{syncs: 10, entries: 100}}
	after := spent{cpu: 3 * time.Second, written: 4096 + 1<<20, log: logCounters{syncs: 30, entries: 150}}
	var s sample
	require.NoError(t, s.charge(r, cell{Ops: 1 << 20, Writes: 0.5}, before, after, 2*time.Second))
	require.Equal(t, sample{CPU: 2e6 / (1 << 20), Written: 1, Syncs: 10, Batch: 0.5 * (1 << 20) / 50}, s)
	require.ErrorContains(t, s.charge(r, cell{Ops: 1, Writes: 1}, before, before, time.Second), "not durable")
	require.NoError(t, s.charge(r, cell{Ops: 1}, before, before, time.Second), "reads need no sync")
}
