package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/rkvdb/rkv/raftcore"
)

// formation decides, one answer at a time, how a node becomes part of a cluster
// (docs/adr/0018).
//
//	for f.genesis == nil {
//		ask f.next() and hand f.answer the reply; when there is nobody to ask, rest
//	}
//
// A founder gathers who the others are, names that set as the cluster's, and settles
// on it when each of the others was heard naming the same set since. A founder that
// already settled hands its genesis over, which must contain this very incarnation; if
// it does not, our directory was emptied since, and we join as a learner instead. A
// joining node asks members of the cluster until one of them took it in.
type formation struct {
	n       *Node
	genesis *Genesis // set when done

	// Founding.
	founders []raftcore.NodeID // of the configuration, sorted
	members  map[raftcore.NodeID]raftcore.Member
	// agreed are the founders heard naming the set this node names (Node.named).
	agreed map[raftcore.NodeID]bool
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
	switch {
	case len(f.join) > 0:
		return fmt.Sprintf("joining through %v (last answer: %v)", f.join, f.last)
	case len(f.members) < len(f.founders):
		return fmt.Sprintf("founding: reached %d of %d founders", len(f.members), len(f.founders))
	}
	return fmt.Sprintf("founding: %d of %d founders agree who they are", 1+len(f.agreed), len(f.founders))
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
		if id != f.n.identity.Node {
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
		f.goBack()
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
		f.n.name(nil)
	case r.Lease != f.n.cfg.leasePolicy(f.n.cfg.ReadMode):
		return fmt.Errorf("node %d was started with another --read-mode or --election-timeout than this one; "+
			"all founders of a cluster with leases need the same", id)
	case r.Named != nil && !f.sameFounders(r.Named):
		return fmt.Errorf("node %d was started with another initial cluster than this one: %v there, %v here",
			id, addressesOf(r.Named), f.n.cfg.Initial)
	default:
		f.heard(id, r)
	}
	return nil
}

// heard takes the answer of a founder that belongs to no cluster either.
func (f *formation) heard(id raftcore.NodeID, r *callReply) {
	f.members[id] = r.Self
	if len(f.members) < len(f.founders) {
		return
	}
	set := f.n.genesisOf(f.members)
	if !set.equal(f.n.named) {
		// Whoever was counted agreed to something else.
		f.n.name(set)
		f.agreed = map[raftcore.NodeID]bool{}
		f.queue = f.round()
		return
	}
	// There is one question at a time, so this one was asked after the set was named:
	// what somebody said before would prove nothing (docs/adr/0018).
	if set.equal(r.Named) {
		f.agreed[id] = true
	} else {
		delete(f.agreed, id)
	}
	if len(f.agreed) == len(f.founders)-1 {
		f.genesis = f.n.named
	}
}

func (f *formation) answerJoin(addr string, r *callReply) {
	switch {
	case r.Done && r.Genesis != nil:
		f.genesis = r.Genesis
	case r.Genesis == nil:
		f.last = errors.New(r.Error)
		f.goBack()
	case r.Error != "":
		f.last = errors.New(r.Error)
	case r.Leader != "" && r.Leader != addr:
		f.queue = append(f.queue, r.Leader)
	}
}

// goBack makes a founder that wanted to join ask all founders again: the member it
// asked is gone, or was emptied like itself.
func (f *formation) goBack() {
	if len(f.founders) > 0 {
		f.join = nil
	}
}

// sameFounders reports whether a set that another founder names has the founders and
// the addresses that this node was given.
func (f *formation) sameFounders(g *Genesis) bool {
	return maps.Equal(addressesOf(g), f.n.cfg.Initial)
}

func addressesOf(g *Genesis) map[raftcore.NodeID]string {
	addrs := map[raftcore.NodeID]string{}
	for _, m := range g.Members {
		addrs[m.ID] = m.PeerAddr
	}
	return addrs
}

// name sets what this node answers when it is asked whom it would found a cluster
// with; nil: nobody yet, or not any more.
func (n *Node) name(g *Genesis) {
	n.mu.Lock()
	n.named = g
	n.mu.Unlock()
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

// equal compares all of two sets; nil is equal to nothing.
func (g *Genesis) equal(o *Genesis) bool {
	return g != nil && o != nil && g.Lease == o.Lease && slices.Equal(g.Members, o.Members)
}
