package main

import (
	"fmt"
	"time"
)

// mixCell is half SET and half GET on the same connections, which redis-benchmark cannot
// do: two of it at once are no mix, for the one with the GETs is through long before the
// other. So the client is this process (traffic, without a rate: each connection sends
// when it was answered), and takes more of the machine than redis-benchmark: what a mix
// reaches is compared with other servers' mixes, not with cells of SETs and GETs alone.
func mixCell(clients, pipeline, ops int) cell {
	return cell{
		Name: fmt.Sprintf("mix c=%d P=%d", clients, pipeline), Ops: ops, Clients: clients, Writes: 0.5, mixed: pipeline,
		before: fillOnce,
	}
}

// mix loads with a cell of mixed traffic and returns how many commands that were, in whole
// pipelines.
func (s *sample) mix(addr string, c cell) (ops int, err error) {
	l := traffic{addr: addr, keys: benchKeys, conns: c.Clients, pipeline: c.mixed, each: c.Ops / c.Clients}
	started := time.Now()
	times, err := l.run(nil)
	if err != nil {
		return 0, err
	}
	ms := func(part float64) float64 { return times.at(part).Seconds() * 1e3 }
	s.RPS = float64(len(times)) / time.Since(started).Seconds()
	s.P50, s.P99, s.P999 = ms(0.5), ms(0.99), ms(0.999)
	return len(times), nil
}
