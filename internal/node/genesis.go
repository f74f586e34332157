package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/rkvdb/rkv/raftcore"
)

// A call is the cold conversation of nodes that do not (yet) share a cluster.
type call struct {
	Kind string
	From raftcore.Member
	// Of administration that is passed on to the leader.
	ID        raftcore.NodeID
	Addr      string
	Forwarded bool
	// Of a node that repairs its log, see repair.go.
	Cluster string
	Anchor  uint64
	Offset  int
	// Words are what a client call is about.
	Words []string
}

type callReply struct {
	Self    raftcore.Member // incarnation and addresses of the one that answers
	Genesis *Genesis        // nil: it belongs to no cluster yet
	// Leader is where to ask again, if the callee could not decide a join.
	Leader string
	Done   bool // join: the member is in the configuration
	Error  string
	Entry  *entryReply
	// Members is who takes part today, as far as the callee knows.
	Members []raftcore.Member
	// Lease is what the callee's flags say a new cluster reads by.
	Lease raftcore.LeasePolicy
	// Value is the answer to a client call.
	Value int64
	// Named is the set of founders the callee, which belongs to no cluster, would found
	// one with; nil: it has not reached all of them yet (docs/adr/0018).
	Named *Genesis
}

const (
	callProbe    = "probe" // who are you
	callJoin     = "join"  // take me in as a learner
	callHere     = "here"  // a leader says where it is
	callAdd      = "add"
	callRemove   = "remove"
	callPromote  = "promote"
	callTransfer = "transfer"
	callReadMode = "read-mode"
	callPriority = "priority"
	// callAlive: a founder or member that does not answer in this time is asked again.
	callAlive = 2 * time.Second
	formRetry = 100 * time.Millisecond
	// adminTimeout bounds a change that another node asked for.
	adminTimeout = 10 * time.Second
)

// self is this node as a member.
func (n *Node) self() raftcore.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return raftcore.Member{
		ID: n.identity.Node, Incarnation: n.identity.Incarnation,
		PeerAddr: n.cfg.PeerAddr, ClientAddr: n.cfg.ClientAddr, Priority: n.cfg.Priority,
	}
}

// form makes the node part of a cluster, if its directory is not yet: by founding
// one alone, by founding one together with the others listed, or by joining.
func (n *Node) form(ctx context.Context) error {
	if n.identity.Genesis != nil {
		return n.checkAddress()
	}
	f := n.formation()
	lastWord := n.cfg.Now()
	for f.genesis == nil {
		if addr, c := f.next(); addr != "" {
			r, err := n.askSoon(ctx, addr, c)
			if err := f.answer(addr, r, err); err != nil {
				return err
			}
			continue
		}
		if now := n.cfg.Now(); now.Sub(lastWord) > 2*time.Second {
			lastWord = now
			n.log.Info("not part of a cluster yet", "waiting", f.String())
		}
		if err := sleep(ctx, formRetry); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return n.settle(f.genesis)
}

// settle writes down which cluster the directory belongs to, for ever.
func (n *Node) settle(g *Genesis) error {
	id := *n.identity
	id.Genesis = g
	if err := writeIdentity(n.cfg.FS, n.cfg.DataDir, &id); err != nil {
		return err
	}
	n.mu.Lock()
	n.identity = &id
	n.mu.Unlock()
	n.log.Info("belongs to a cluster", "cluster", fmt.Sprintf("%x", g.ClusterID()), "founders", len(g.Members))
	return nil
}

// checkAddress keeps a founder from coming back under an address its peers do not
// dial: the cluster would run without it and nobody would know why.
func (n *Node) checkAddress() error {
	m := n.identity.Genesis.member(n.identity.Node, n.identity.Incarnation)
	if m == nil || m.PeerAddr == n.cfg.PeerAddr || len(n.identity.Genesis.Members) == 1 {
		return nil
	}
	return fmt.Errorf("node %d is known to its cluster as %s but was started with the peer address %s; "+
		"start it with --peer-addr %s, or remove it from the cluster and let it join again with an empty directory",
		m.ID, m.PeerAddr, n.cfg.PeerAddr, m.PeerAddr)
}

// askSoon is ask for callers that try again.
func (n *Node) askSoon(ctx context.Context, addr string, c call) (*callReply, error) {
	ctx, cancel := context.WithTimeout(ctx, callAlive)
	defer cancel()
	return n.ask(ctx, addr, c)
}

func (n *Node) ask(ctx context.Context, addr string, c call) (*callReply, error) {
	var req []byte
	if err := codec.NewEncoderBytes(&req, msgpackHandle).Encode(&c); err != nil {
		return nil, err
	}
	raw, err := n.peers.Call(ctx, addr, req)
	if err != nil {
		return nil, err
	}
	r := &callReply{}
	if err := codec.NewDecoderBytes(raw, msgpackHandle).Decode(r); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", addr, err)
	}
	return r, nil
}

// introduction is what this node says of itself to whoever asks.
func (n *Node) introduction() callReply {
	r := callReply{Self: n.self(), Members: n.Status().Membership.Members, Lease: n.cfg.leasePolicy(n.cfg.ReadMode)}
	n.mu.Lock()
	defer n.mu.Unlock()
	r.Genesis, r.Named = n.identity.Genesis, n.named
	return r
}

// HandleCall implements transport.Handler.
func (n *Node) HandleCall(req []byte) ([]byte, error) {
	var c call
	if err := codec.NewDecoderBytes(req, msgpackHandle).Decode(&c); err != nil {
		return nil, fmt.Errorf("malformed call: %w", err)
	}
	r := n.introduction()
	switch c.Kind {
	case callProbe:
	case callHere:
		n.introducedBy(c)
	case callJoin:
		n.answerJoin(c.From, &r)
	case callClient:
		n.answerClientCall(c, &r)
	case callEntry:
		r.Entry = n.answerEntry(c)
	case callSnapshot:
		r.Entry = n.answerSnapshot(c)
	default:
		ctx, cancel := context.WithTimeout(n.ctx, adminTimeout)
		defer cancel()
		if err := n.answerAdmin(ctx, c); err != nil {
			r.Error = err.Error()
		}
	}
	var raw []byte
	err := codec.NewEncoderBytes(&raw, msgpackHandle).Encode(&r)
	return raw, err
}

// answerJoin adds the caller as a learner if this node leads, and says whom to ask
// if not.
func (n *Node) answerJoin(m raftcore.Member, r *callReply) {
	m.Learner = true
	if r.Error = n.joinError(m); r.Error != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callAlive)
	defer cancel()
	n.joined(r, n.await(ctx, adding(m)))
}

// joinError says why m cannot be taken in, "" if nothing is against it.
func (n *Node) joinError(m raftcore.Member) string {
	switch {
	case !n.running.Load():
		return "this node does not belong to a cluster yet"
	case m.ID == 0 || m.PeerAddr == "":
		return "a joining node needs an id and a peer address"
	}
	return ""
}

// joined puts the outcome of a join into its reply.
func (n *Node) joined(r *callReply, err error) {
	switch {
	case err == nil:
		r.Done = true
	case errors.Is(err, raftcore.ErrNotLeader):
		r.Leader = n.leaderPeerAddr()
	default:
		r.Error = err.Error()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
