package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// fault is one way to break a cluster. do breaks, waits, and mends what it broke; an error
// is a failure of the cluster to come back, or of the harness.
type fault struct {
	name  string
	needs need
	do    func(r *round, rng *rand.Rand) error
}

// need is what a fault needs of the machine.
type need int

const (
	needsNothing need = iota
	needsCuts
	needsDisks
)

// faults is the list that a round draws from.
var faults = []fault{
	{"kill-leader", needsNothing, func(r *round, rng *rand.Rand) error { return r.killFor(rng, r.c.awaitLeader(startLimit), true) }},
	{"kill-any", needsNothing, func(r *round, rng *rand.Rand) error { return r.killFor(rng, pick(rng, r.c.members()), false) }},
	{"kill-all", needsNothing, killAll},
	{"pause-leader", needsNothing, func(r *round, rng *rand.Rand) error { return r.pauseFor(rng, r.c.awaitLeader(startLimit)) }},
	{"pause-any", needsNothing, func(r *round, rng *rand.Rand) error { return r.pauseFor(rng, pick(rng, r.c.members())) }},
	{"stop", needsNothing, func(r *round, rng *rand.Rand) error { return r.stopFor(pick(rng, r.c.members())) }},
	{"rolling-restart", needsNothing, rollingRestart},
	{"transfer", needsNothing, transfer},
	{"members", needsNothing, replaceMember},
	{"isolate-leader", needsCuts, func(r *round, rng *rand.Rand) error {
		return r.isolateFor(rng, r.c.awaitLeader(startLimit), true, true)
	}},
	{"deafen", needsCuts, func(r *round, rng *rand.Rand) error { return r.isolateFor(rng, leaderOrAny(r, rng), true, false) }},
	{"mute", needsCuts, func(r *round, rng *rand.Rand) error { return r.isolateFor(rng, leaderOrAny(r, rng), false, true) }},
	{"halves", needsCuts, halves},
	{"ring", needsCuts, ring},
	{"power-cut-one", needsDisks, func(r *round, rng *rand.Rand) error { return r.powerCut(rng, leaderOrAny(r, rng)) }},
	{"power-cut-all", needsDisks, func(r *round, rng *rand.Rand) error { return r.powerCut(rng, r.c.members()...) }},
	{"slow-disk", needsDisks, func(r *round, rng *rand.Rand) error { return r.stallFor(rng, leaderOrAny(r, rng)) }},
	{"full-disk", needsDisks, fullDisk},
}

// usable splits the list into what this machine can do and what it cannot.
func usable(only []string, cuts, disks bool) (can []fault, cannot []string) {
	for _, f := range faults {
		if len(only) > 0 && !contains(only, f.name) {
			continue
		}
		if f.needs == needsCuts && !cuts || f.needs == needsDisks && !disks {
			cannot = append(cannot, f.name)
		} else {
			can = append(can, f)
		}
	}
	return can, cannot
}

func contains(list []string, name string) bool {
	for _, s := range list {
		if strings.TrimSpace(s) == name {
			return true
		}
	}
	return false
}

func leaderOrAny(r *round, rng *rand.Rand) *Node {
	if rng.IntN(3) > 0 {
		if lead := r.c.awaitLeader(startLimit); lead != nil {
			return lead
		}
	}
	return pick(rng, r.c.members())
}

// hold is how long a fault lasts: mostly around an election, sometimes long beyond.
func hold(rng *rand.Rand) time.Duration {
	d := 100*time.Millisecond + time.Duration(rng.Int64N(int64(1500*time.Millisecond)))
	if rng.IntN(4) == 0 {
		d *= 3
	}
	return d
}

var errNoLeader = fmt.Errorf("nobody leads after %v though all is healed", startLimit)

func (r *round) killFor(rng *rand.Rand, n *Node, leader bool) error {
	if n == nil {
		return errNoLeader
	}
	over := n.trouble("killed")
	at := time.Now()
	n.kill()
	r.wait(hold(rng))
	if leader {
		// The gap belongs to this kill alone: the node stays away until writes flow.
		r.wait(time.Until(at.Add(gapWindow)))
		r.gaps.add(n, at)
	}
	return r.c.restart(n, over)
}

func killAll(r *round, rng *rand.Rand) error {
	var again []func() error
	for _, n := range r.c.members() {
		over := n.trouble("killed with all")
		n.signal(syscall.SIGKILL)
		again = append(again, func() error {
			n.end(time.Minute)
			return n.start(r.c.binary)
		}, func() error { over(); return nil })
	}
	r.wait(hold(rng) / 4)
	return r.startAll(again)
}

// startAll takes pairs: how to start, and what to do when all serve again.
func (r *round) startAll(pairs []func() error) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := pairs[i](); err != nil {
			return err
		}
	}
	if err := r.c.awaitReady(r.c.members(), startLimit); err != nil {
		return err
	}
	for i := 1; i < len(pairs); i += 2 {
		_ = pairs[i]()
	}
	return nil
}

func (r *round) pauseFor(rng *rand.Rand, n *Node) error {
	if n == nil {
		return errNoLeader
	}
	over := n.trouble("paused")
	n.signal(syscall.SIGSTOP)
	r.wait(hold(rng))
	n.signal(syscall.SIGCONT)
	err := r.c.awaitReady([]*Node{n}, startLimit)
	over()
	return err
}

// stopLimit is how long a node may take from SIGTERM to its end.
const stopLimit = 20 * time.Second

func (r *round) stopFor(n *Node) error {
	over := n.trouble("stopped")
	n.signal(syscall.SIGTERM)
	if !n.end(stopLimit) {
		return fmt.Errorf("%v did not stop within %v of SIGTERM", n, stopLimit)
	}
	return r.c.restart(n, over)
}

// stopLeader is killFor of a leader, with SIGTERM: what clients of the others notice of a hand-over.
func (r *round) stopLeader(rng *rand.Rand, n *Node) error {
	if n == nil {
		return errNoLeader
	}
	over := n.trouble("stopped")
	at := time.Now()
	n.signal(syscall.SIGTERM)
	if !n.end(stopLimit) {
		return fmt.Errorf("%v did not stop within %v of SIGTERM", n, stopLimit)
	}
	r.wait(hold(rng))
	r.wait(time.Until(at.Add(gapWindow)))
	r.gaps.add(n, at)
	return r.c.restart(n, over)
}

func rollingRestart(r *round, _ *rand.Rand) error {
	for _, n := range r.c.members() {
		if err := r.stopFor(n); err != nil {
			return err
		}
	}
	return nil
}

// transfer may be refused; what counts is that clients do not notice.
func transfer(r *round, rng *rand.Rand) error {
	lead := r.c.awaitLeader(startLimit)
	if lead == nil {
		return errNoLeader
	}
	if to := pick(rng, r.c.members()); to != lead {
		_, _ = lead.ask(10*time.Second, "RAFT", "TRANSFER", to.ID)
	}
	return nil
}

// replaceMember adds a node with an empty disk and removes one of the others.
func replaceMember(r *round, rng *rand.Rand) error {
	old := leaderOrAny(r, rng)
	added, err := r.c.grow(startLimit)
	if err != nil {
		return err
	}
	r.probe(added)
	return r.c.shrink(old, startLimit)
}

// isolateFor cuts what a node hears, or says, or both.
func (r *round) isolateFor(rng *rand.Rand, n *Node, deaf, dumb bool) error {
	if n == nil {
		return errNoLeader
	}
	over := n.trouble("isolated")
	for _, m := range r.c.members() {
		if m == n {
			continue
		}
		if deaf {
			if err := r.c.net.cut(m.ID, n.ID); err != nil {
				return err
			}
		}
		if dumb {
			if err := r.c.net.cut(n.ID, m.ID); err != nil {
				return err
			}
		}
	}
	return r.mendAfter(hold(rng), over)
}

// mendAfter ends a partition and the spells of those it cut off.
func (r *round) mendAfter(d time.Duration, over ...func()) error {
	r.wait(d)
	if err := r.c.net.reset(); err != nil {
		return err
	}
	err := r.c.awaitReady(r.c.members(), startLimit)
	for _, f := range over {
		f()
	}
	return err
}

// halves cuts a minority off, in both directions.
func halves(r *round, rng *rand.Rand) error {
	nodes := r.c.members()
	rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	minority := (len(nodes) - 1) / 2
	var over []func()
	for _, a := range nodes[:minority] {
		over = append(over, a.trouble("in the minority"))
		for _, b := range nodes[minority:] {
			if err := r.cutBoth(a, b); err != nil {
				return err
			}
		}
	}
	return r.mendAfter(hold(rng), over...)
}

// ring leaves each node only its two neighbours; of three nodes it cuts one way.
func ring(r *round, rng *rand.Rand) error {
	nodes := r.c.members()
	rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	var over []func()
	for _, n := range nodes {
		over = append(over, n.trouble("in a ring"))
	}
	size := len(nodes)
	for i := range size {
		for j := i + 1; j < size; j++ {
			apart := min(j-i, size-j+i)
			if size > 3 && apart > 1 || size <= 3 && i == 0 && j == 1 {
				if err := r.cutBoth(nodes[i], nodes[j]); err != nil {
					return err
				}
			}
		}
	}
	return r.mendAfter(hold(rng), over...)
}

func (r *round) cutBoth(a, b *Node) error {
	if err := r.c.net.cut(a.ID, b.ID); err != nil {
		return err
	}
	return r.c.net.cut(b.ID, a.ID)
}

// powerCut takes the power from nodes: their processes, and all that was not synced.
func (r *round) powerCut(rng *rand.Rand, nodes ...*Node) error {
	var again []func() error
	for _, n := range nodes {
		over := n.trouble("power cut")
		n.mu.Lock()
		n.doomed = true // the disk goes first, and the process may notice
		n.mu.Unlock()
		if err := n.disk.cutPower(); err != nil {
			return err
		}
		n.signal(syscall.SIGKILL)
		again = append(again, func() error {
			n.end(time.Minute)
			if err := n.disk.repower(); err != nil {
				return err
			}
			return n.start(r.c.binary)
		}, func() error { over(); return nil })
	}
	r.wait(hold(rng) / 4)
	return r.startAll(again)
}

// stallFor holds every write of a node's disk up.
func (r *round) stallFor(rng *rand.Rand, n *Node) error {
	over := n.trouble("slow disk")
	for range 1 + rng.IntN(4) {
		if err := n.disk.freeze(); err != nil {
			return err
		}
		r.wait(hold(rng) / 2)
		n.disk.thaw()
		r.wait(20 * time.Millisecond)
	}
	err := r.c.awaitReady([]*Node{n}, startLimit)
	over()
	return err
}

// fullDisk leaves a node no space for some seconds. It must go on by itself when there
// is space again, whatever met the full disk.
func fullDisk(r *round, rng *rand.Rand) error {
	n := leaderOrAny(r, rng)
	over := n.trouble("full disk")
	if err := n.disk.fill(); err != nil {
		return err
	}
	r.wait(2 * hold(rng))
	if err := n.disk.drain(); err != nil {
		return err
	}
	err := r.c.awaitReady([]*Node{n}, startLimit)
	over()
	return err
}
