package main

import (
	"bufio"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHeaviesAreCompleteRows(t *testing.T) {
	rows := heavies(1000)
	names := map[string]bool{}
	for _, h := range rows {
		require.False(t, names[h.name], "two rows %s", h.name)
		names[h.name] = true
		for _, key := range h.masters() {
			_, ok := fillingOf(key, 1000)
			require.True(t, ok, "%s needs %s, which nothing fills", h.name, key)
		}
	}
	require.Equal(t, control, rows[0].name)
	require.True(t, rows[len(rows)-1].alone, "what empties the server goes last")
}

func TestFillingHasEveryElementOnce(t *testing.T) {
	const n = 1203
	f, ok := fillingOf("big:numbers", n)
	require.True(t, ok)
	seen := map[string]bool{}
	for lo := 0; lo < n; lo += f.per {
		for _, number := range f.command(lo, min(lo+f.per, n))[2:] {
			seen[number] = true
		}
	}
	require.Len(t, seen, n)
}

func TestDiscardReplyReadsExactlyOne(t *testing.T) {
	big := "$100000\r\n" + strings.Repeat("v", 100_000) + "\r\n"
	for _, reply := range []string{"+OK\r\n", ":12\r\n", "$-1\r\n", "$0\r\n\r\n", "*-1\r\n", "*0\r\n",
		"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n", big} {
		r := bufio.NewReader(strings.NewReader(reply + "+next\r\n"))
		require.NoError(t, discardReply(r), reply)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "+next\r\n", line)
	}
	err := discardReply(bufio.NewReader(strings.NewReader("-ERR no\r\n")))
	require.True(t, isRefused(err))
	require.EqualError(t, err, "ERR no")
	require.False(t, isRefused(discardReply(bufio.NewReader(strings.NewReader("$5\r\nab")))))
}

func TestProbedWithinCountsWhatWasOpen(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	seen := probed{all: []asked{
		{at(0), 5 * time.Millisecond},    // answered before
		{at(9), 3 * time.Millisecond},    // open when it began
		{at(15), 90 * time.Millisecond},  // answered afterwards
		{at(20), 700 * time.Millisecond}, // asked afterwards
	}}
	require.Equal(t, latencies{3 * time.Millisecond, 90 * time.Millisecond}, seen.within(at(10), at(20)))
}

func TestVerdicts(t *testing.T) {
	result := func(ms ...float64) *stallResult {
		r := &stallResult{}
		for _, x := range ms {
			r.Samples = append(r.Samples, stallSample{GET: seen{Pause: x}})
		}
		return r
	}
	idle := result(9)
	for _, c := range []struct {
		redis, rkv *stallResult
		want       verdict
	}{
		{result(100, 90, 110), result(99, 500, 20), noWorse},
		{result(1), result(4.9), noWorse},
		{result(1), result(8.9), noise},
		{result(20), result(21), worse},
		{&stallResult{Refused: "ERR"}, result(1), refused},
		{result(1), &stallResult{Errors: 1}, refused},
	} {
		require.Equal(t, c.want, verdictOn(c.redis, c.rkv, idle, getSeen))
	}
}

func TestStallsEndWithTheirSum(t *testing.T) {
	peers := [2]string{"redis", "rkv"}
	rows := heavies(1000)
	results := map[resultKey]*stallResult{}
	for _, h := range rows {
		for i, p := range peers {
			pause := 10.0
			if i == 1 && strings.HasPrefix(h.name, "SORT") {
				pause = 30
			}
			results[resultKey{p, h.name}] = &stallResult{Samples: []stallSample{{GET: seen{Pause: pause}}}}
		}
	}
	var b strings.Builder
	printStalls(&b, results, peers, rows)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Contains(t, lines[len(lines)-1], "stalls: 51/53 commands")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "SORT numbers STORE") })
	require.Contains(t, lines[i], "10.0 / 30.0   3.00")
	require.Contains(t, lines[i], "stalls")
}
