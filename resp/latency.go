package resp

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// latencyMonitor is LATENCY: the last slow moments of each kind on this node. It is
// off (threshold 0) until latency-monitor-threshold is set.
type latencyMonitor struct {
	threshold atomic.Int64 // ms; 0: off

	mu     sync.Mutex
	events map[string]*latencyEvent
}

// latencyEvent keeps a moment per second, the worst of it.
type latencyEvent struct {
	samples []latencySample // oldest first
	max     int64
}

type latencySample struct{ at, ms int64 }

// latencyHistory is how many moments are kept of each kind.
const latencyHistory = 160

// command notes a command that took usec.
func (l *latencyMonitor) command(cmd *kv.Command, usec, now int64) {
	limit := l.threshold.Load()
	if limit == 0 || usec/1000 < limit {
		return
	}
	event := "command"
	if cmd.Flags&kv.FlagFast != 0 {
		event = "fast-command"
	}
	l.note(event, now/1000, usec/1000)
}

func (l *latencyMonitor) note(event string, at, ms int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events == nil {
		l.events = make(map[string]*latencyEvent)
	}
	e := l.events[event]
	if e == nil {
		e = &latencyEvent{}
		l.events[event] = e
	}
	e.max = max(e.max, ms)
	if n := len(e.samples); n > 0 && e.samples[n-1].at == at {
		e.samples[n-1].ms = max(e.samples[n-1].ms, ms)
		return
	}
	if len(e.samples) == latencyHistory {
		e.samples = append(e.samples[:0], e.samples[1:]...)
	}
	e.samples = append(e.samples, latencySample{at, ms})
}

// sorted returns the kinds by name; the caller holds the lock.
func (l *latencyMonitor) sorted() []string {
	names := make([]string, 0, len(l.events))
	for n := range l.events {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func latencyHandlers() map[string]handler {
	return map[string]handler{
		"latency|latest":    {run: latencyLatest},
		"latency|history":   {run: latencyHistoryOf},
		"latency|reset":     {run: latencyReset},
		"latency|graph":     {run: latencyGraph},
		"latency|doctor":    {run: latencyDoctor},
		"latency|histogram": {run: latencyHistogram},
		"latency|help":      help("latency"),
	}
}

func latencyLatest(s *session, _ [][]byte, out *kv.Reply) {
	l := &s.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	names := l.sorted()
	out.Array(len(names))
	for _, name := range names {
		e := l.events[name]
		last := e.samples[len(e.samples)-1]
		out.Array(4)
		out.BulkString(name)
		out.Int(last.at)
		out.Int(last.ms)
		out.Int(e.max)
	}
}

func latencyHistoryOf(s *session, args [][]byte, out *kv.Reply) {
	l := &s.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.events[string(args[2])]
	if e == nil {
		out.Array(0)
		return
	}
	out.Array(len(e.samples))
	for _, x := range e.samples {
		out.Array(2)
		out.Int(x.at)
		out.Int(x.ms)
	}
}

// latencyReset is LATENCY RESET [event ...].
func latencyReset(s *session, args [][]byte, out *kv.Reply) {
	l := &s.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(args) == 2 {
		out.Int(int64(len(l.events)))
		l.events = nil
		return
	}
	n := 0
	for _, name := range args[2:] {
		if _, ok := l.events[string(name)]; ok {
			delete(l.events, string(name))
			n++
		}
	}
	out.Int(int64(n))
}

// graphRows is the height of LATENCY GRAPH.
const graphRows = 4

func latencyGraph(s *session, args [][]byte, out *kv.Reply) {
	l := &s.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	name := string(args[2])
	e := l.events[name]
	if e == nil {
		out.Error("ERR No samples available for event '" + string(cut(args[2], 128)) + "'")
		return
	}
	lo, hi := e.samples[0].ms, e.samples[0].ms
	for _, x := range e.samples {
		lo, hi = min(lo, x.ms), max(hi, x.ms)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s - high %d ms, low %d ms (all time high %d ms)\n%s\n", name, hi, lo, e.max, strings.Repeat("-", 80))
	for row := graphRows - 1; row >= 0; row-- {
		for _, x := range e.samples {
			level := 0
			if hi > lo {
				level = int((x.ms - lo) * (graphRows - 1) / (hi - lo))
			}
			switch {
			case level == row:
				b.WriteByte('#')
			case level > row:
				b.WriteByte('|')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	for _, x := range e.samples {
		b.WriteString(ageLetter((s.now/1000 - x.at)))
	}
	b.WriteByte('\n')
	out.Verbatim("txt", []byte(b.String()))
}

// ageLetter is the unit of an age: a column has room for one letter.
func ageLetter(seconds int64) string {
	switch {
	case seconds < 60:
		return "s"
	case seconds < 3600:
		return "m"
	case seconds < 86400:
		return "h"
	}
	return "d"
}

func latencyDoctor(s *session, _ [][]byte, out *kv.Reply) {
	l := &s.srv.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	switch {
	case l.threshold.Load() == 0 && len(l.events) == 0:
		b.WriteString("Latency monitoring is disabled on this node. Enable it with " +
			"\"CONFIG SET latency-monitor-threshold <milliseconds>\".\n")
	case len(l.events) == 0:
		fmt.Fprintf(&b, "No command of this node took %d ms or longer since monitoring began.\n", l.threshold.Load())
	default:
		b.WriteString("Latency spikes on this node, worst first seen per kind:\n\n")
		for i, name := range l.sorted() {
			e := l.events[name]
			sum := int64(0)
			for _, x := range e.samples {
				sum += x.ms
			}
			fmt.Fprintf(&b, "%d. %s: %d latency spikes (average %dms, worst all time event %dms)\n",
				i+1, name, len(e.samples), sum/int64(len(e.samples)), e.max)
		}
		b.WriteString("\nSLOWLOG GET names the commands. A write's time includes its way through the log: " +
			"INFO raft and the disk's fsync time say where it went.\n")
	}
	out.Verbatim("txt", []byte(b.String()))
}

// latencyHistogram is LATENCY HISTOGRAM [command ...]: a container stands for its
// subcommands.
func latencyHistogram(s *session, args [][]byte, out *kv.Reply) {
	rows := s.srv.commandRows(s.tally)
	var list []*kv.Command
	take := func(cmd *kv.Command) {
		if rows[cmd.ID()].latency != nil {
			list = append(list, cmd)
		}
	}
	family := func(cmd *kv.Command) {
		take(cmd)
		for _, sub := range cmd.Sub {
			take(sub)
		}
	}
	if len(args) == 2 {
		for _, cmd := range allCommands() {
			family(cmd)
		}
	}
	for _, name := range args[2:] {
		if cmd := findNamed(name); cmd != nil {
			family(cmd)
		}
	}
	out.Map(len(list))
	for _, cmd := range list {
		row := &rows[cmd.ID()]
		out.BulkString(cmd.Name)
		out.Map(2)
		out.BulkString("calls")
		out.Int(int64(row.calls))
		out.BulkString("histogram_usec")
		var points [][2]uint64
		row.latency.cumulative(func(usec, calls uint64) { points = append(points, [2]uint64{usec, calls}) })
		out.Map(len(points))
		for _, p := range points {
			out.Int(int64(p[0]))
			out.Int(int64(p[1]))
		}
	}
}
