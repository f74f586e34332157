package chaos

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// gapWindow is how long after a kill the longest gap is looked for; nothing else happens
// in it. Well beyond the 2.5 election timeouts that are promised.
const gapWindow = 3 * time.Second

// gaps measures how long clients of surviving nodes wait for an acknowledged write when
// the leader is killed: one prober a node writes without rest and notes each reply.
type gaps struct {
	mu    sync.Mutex
	acks  map[*Node][]time.Time
	kills int
	found []time.Duration
}

// probe starts a writer that stays on the node for as long as it is a member.
func (r *round) probe(n *Node) {
	s := r.newSession(nil, 2000+n.ID, n)
	r.clients.Add(1)
	go func() {
		defer r.clients.Done()
		defer s.close()
		r.write(n, s)
	}()
}

func (r *round) write(n *Node, s *session) {
	key := fmt.Sprint("probe:", n.ID)
	for r.c.isMember(n) {
		if !s.connect() {
			return
		}
		r.began.Add(1)
		start := time.Now()
		err := s.conn.Do(context.Background(), "SET", key, "x").Err()
		if err == nil {
			r.gaps.ack(n)
		} else {
			r.clientError(n, start, "probe: "+err.Error())
			if broken(err) {
				s.close()
			}
		}
		s.pause(2 * time.Millisecond)
		if r.workCtx.Err() != nil {
			return
		}
	}
}

func (c *Cluster) isMember(n *Node) bool { return slices.Contains(c.members(), n) }

func (g *gaps) ack(n *Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.acks == nil {
		g.acks = map[*Node][]time.Time{}
	}
	list := append(g.acks[n], time.Now())
	if len(list) > 20000 {
		list = slices.Clone(list[10000:])
	}
	g.acks[n] = list
}

// add looks for the longest time without a reply at any other node from the kill to now.
// Every prober had a reply shortly before the kill, or the node does not count.
func (g *gaps) add(dead *Node, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kills++
	now := time.Now()
	worst := time.Duration(0)
	for n, acks := range g.acks {
		if n == dead || len(acks) == 0 || n.troubled(at, now) {
			continue
		}
		i, _ := slices.BinarySearchFunc(acks, at, func(t, at time.Time) int { return t.Compare(at) })
		last := at
		if i > 0 && at.Sub(acks[i-1]) < time.Second {
			last = acks[i-1]
		}
		for _, t := range append(slices.Clone(acks[i:]), now) {
			worst = max(worst, t.Sub(last))
			last = t
		}
	}
	if worst > 0 {
		g.found = append(g.found, worst)
	}
}

// percentile is of the nearest rank; 0 without measurements.
func percentile(list []time.Duration, p float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return sorted[max(0, int(math.Ceil(p*float64(len(sorted))))-1)]
}
