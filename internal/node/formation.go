package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/rkvdb/rkv/raftcore"
)

// formation decides, one answer at a time, how a node becomes part of a cluster.
//
//	for f.genesis == nil {
//		ask f.next() and hand f.answer the reply; when there is nobody to ask, rest
//	}
//
// A founder waits until every founder was reached once and found empty; all of them
// then derive the same genesis. A founder that already settled hands its genesis
// over, which must contain this very incarnation; if it does not, our directory was
// emptied since, and we join as a learner instead. A joining node asks members of
// the cluster until one of them took it in.
type formation struct {
	n       *Node
	genesis *Genesis // set when done

	// Founding.
	founders []raftcore.NodeID // of the configuration, sorted
	members  map[raftcore.NodeID]raftcore.Member
	// Joining, if join is not empty.
	join []string

	// The round of questions under way.
	queue []string
	hops  int
	fresh bool // the round has begun
	last  error
}

// maxJoinHops bounds how often a joining node is sent on within one round.
const maxJoinHops = 16

func (n *Node) formation() *formation {
	f := &formation{n: n}
	switch {
	case len(n.cfg.Join) > 0:
		f.join = n.cfg.Join
	case len(n.cfg.Initial) > 1:
		f.founders = slices.Sorted(maps.Keys(n.cfg.Initial))
		f.members = map[raftcore.NodeID]raftcore.Member{n.identity.Node: n.self()}
	default:
		f.genesis = &Genesis{Members: []raftcore.Member{n.self()}, Lease: n.cfg.leasePolicy(n.cfg.ReadMode)}
	}
	return f
}

// String says what it waits for.
func (f *formation) String() string {
	if len(f.join) > 0 {
		return fmt.Sprintf("joining through %v (last answer: %v)", f.join, f.last)
	}
	return fmt.Sprintf("founding: reached %d of %d founders", len(f.members), len(f.founders))
}

// next is whom to ask what. An empty address ends the round: the caller rests before
// it calls again.
func (f *formation) next() (addr string, c call) {
	if !f.fresh {
		f.fresh, f.hops = true, 0
		f.queue = f.round()
	}
	if len(f.queue) == 0 || f.hops >= maxJoinHops {
		f.fresh = false
		return "", c
	}
	addr, f.queue = f.queue[0], f.queue[1:]
	f.hops++
	c = call{Kind: callProbe, From: f.n.self()}
	if len(f.join) > 0 {
		c.Kind = callJoin
	}
	return addr, c
}

// round lists whom to ask in this round.
func (f *formation) round() []string {
	if len(f.join) > 0 {
		return slices.Clone(f.join)
	}
	var addrs []string
	for _, id := range f.founders {
		if _, ok := f.members[id]; !ok {
			addrs = append(addrs, f.n.cfg.Initial[id])
		}
	}
	return addrs
}

// answer takes what the node at addr replied, or that it did not. An error ends the
// attempt for good: the configuration is wrong.
func (f *formation) answer(addr string, r *callReply, err error) error {
	if r != nil {
		f.n.learn(r)
	}
	switch {
	case err != nil:
		f.last = err
	case len(f.join) > 0:
		f.answerJoin(addr, r)
	default:
		return f.answerProbe(addr, r)
	}
	return nil
}

func (f *formation) answerProbe(addr string, r *callReply) error {
	id := raftcore.NodeID(0)
	for _, founder := range f.founders {
		if f.n.cfg.Initial[founder] == addr {
			id = founder
		}
	}
	me := f.n.identity
	switch {
	case r.Self.ID != id:
		return fmt.Errorf("the initial cluster lists node %d at %s, but node %d answers there", id, addr, r.Self.ID)
	case r.Genesis != nil && r.Genesis.member(me.Node, me.Incarnation) != nil:
		f.genesis = r.Genesis
	case r.Genesis != nil:
		f.n.log.Info("the cluster exists already; joining it as a learner", "member", addr)
		f.join, f.queue = []string{addr}, []string{addr}
	case r.Lease != f.n.cfg.leasePolicy(f.n.cfg.ReadMode):
		return fmt.Errorf("node %d was started with another --read-mode or --election-timeout than this one; "+
			"all founders of a cluster with leases need the same", id)
	default:
		f.members[id] = r.Self
	}
	if f.genesis == nil && len(f.join) == 0 && len(f.members) == len(f.founders) {
		f.genesis = f.n.genesisOf(f.members)
	}
	return nil
}

func (f *formation) answerJoin(addr string, r *callReply) {
	switch {
	case r.Done && r.Genesis != nil:
		f.genesis = r.Genesis
	case r.Error != "":
		f.last = errors.New(r.Error)
	case r.Leader != "" && r.Leader != addr:
		f.queue = append(f.queue, r.Leader)
	}
}

func (n *Node) genesisOf(members map[raftcore.NodeID]raftcore.Member) *Genesis {
	g := &Genesis{Lease: n.cfg.leasePolicy(n.cfg.ReadMode)}
	for id, m := range members {
		m.PeerAddr = n.cfg.Initial[id] // one spelling on all nodes
		g.Members = append(g.Members, m)
	}
	sort.Slice(g.Members, func(i, j int) bool { return g.Members[i].ID < g.Members[j].ID })
	return g
}
