package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rkvdb/rkv/raftcore"
)

// call runs f on the loop, some time soon. It reports false if the node has stopped.
func (n *Node) call(f func(l *loop)) bool {
	return n.inbox.put(func(in *input) { in.calls = append(in.calls, f) })
}

// onLoop runs f on the loop and waits for it.
func (n *Node) onLoop(ctx context.Context, f func(l *loop)) error {
	done := make(chan struct{})
	if !n.call(func(l *loop) { f(l); close(done) }) {
		return errStopped
	}
	select {
	case <-done:
		return nil
	case <-n.stopped:
		return errStopped
	case <-ctx.Done():
		return replyError("TIMEOUT The node did not get to it in time")
	}
}

// condition is one step of a change: it moves the change on, as far as that is
// possible now, and reports whether it is done. It belongs to the loop.
type condition func(l *loop) (done bool, err error)

// await polls cond on the loop until it holds. Administration is rare and slow by
// nature; polling keeps the core free of callbacks.
func (n *Node) await(ctx context.Context, cond condition) error {
	for {
		var done bool
		var err error
		if lerr := n.onLoop(ctx, func(l *loop) { done, err = cond(l) }); lerr != nil {
			return lerr
		}
		if done || err != nil {
			return err
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			return replyError("TIMEOUT The change was started but did not finish in time; see RAFT STATUS")
		}
	}
}

// adding makes m a member as given and is done when that is committed.
func adding(m raftcore.Member) condition {
	started := false
	return func(l *loop) (bool, error) {
		cur := l.core.Membership()
		if has := findMember(cur, m.ID); has != nil && has.Incarnation == m.Incarnation && len(cur.Outgoing) == 0 {
			if l.core.Role() != raftcore.Leader {
				return true, nil
			}
			return !l.core.ChangeInProgress(), nil
		}
		if l.core.Role() != raftcore.Leader {
			return false, raftcore.ErrNotLeader
		}
		if started {
			return false, nil
		}
		err := l.core.AddLearner(m)
		if err == nil {
			started = true
		}
		if errors.Is(err, raftcore.ErrChangeInProgress) || errors.Is(err, raftcore.ErrNotReady) {
			err = nil // soon
		}
		return false, err
	}
}

func findMember(m raftcore.Membership, id raftcore.NodeID) *raftcore.Member {
	for i := range m.Members {
		if m.Members[i].ID == id {
			return &m.Members[i]
		}
	}
	return nil
}

func (n *Node) addLearner(ctx context.Context, c call) error {
	id, peerAddr := c.ID, c.Addr
	r, err := n.ask(ctx, peerAddr, call{Kind: callProbe, From: n.self()})
	if err != nil {
		return replyError(fmt.Sprintf("ERR no rkv node answers at %s (%v); start it with: rkv server --id %d --join %s ...",
			peerAddr, err, id, n.cfg.PeerAddr))
	}
	if r.Self.ID != id {
		return replyError(fmt.Sprintf("ERR the node at %s has id %d, not %d", peerAddr, r.Self.ID, id))
	}
	if r.Genesis != nil && r.Genesis.ClusterID() != n.identity.Genesis.ClusterID() {
		return replyError("ERR the node at " + peerAddr + " belongs to another cluster; give it an empty data directory and --join")
	}
	m := r.Self
	m.PeerAddr, m.Learner = peerAddr, true
	return n.asLeader(ctx, c, func(ctx context.Context) error { return n.await(ctx, adding(m)) })
}

// asLeader runs a change here if this node leads, and asks the leader to run it if
// not: administration works on any node.
func (n *Node) asLeader(ctx context.Context, c call, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err := f(ctx)
	if errors.Is(err, raftcore.ErrNotLeader) {
		leader := n.leaderPeerAddr()
		if c.Forwarded || leader == "" || leader == n.cfg.PeerAddr {
			return replyError("ERR not the leader; ask " + n.leaderHint())
		}
		c.Forwarded, c.From = true, n.self()
		r, aerr := n.ask(ctx, leader, c)
		switch {
		case aerr != nil:
			return replyError("ERR the leader did not answer: " + aerr.Error())
		case r.Error != "":
			return replyError(r.Error)
		}
		return nil
	}
	var re replyError
	if err == nil || errors.As(err, &re) {
		return err
	}
	return replyError("ERR " + strings.TrimPrefix(err.Error(), "raft: "))
}

// answerAdmin runs a change another node was asked for.
func (n *Node) answerAdmin(ctx context.Context, c call) error {
	switch c.Kind {
	case callAdd:
		return n.addLearner(ctx, c)
	case callRemove:
		return n.remove(ctx, c)
	case callPromote:
		return n.promote(ctx, c)
	case callTransfer:
		return n.transfer(ctx, c)
	case callReadMode:
		return n.setReadMode(ctx, c)
	case callPriority:
		return n.setPriority(ctx, c)
	}
	return replyError("ERR unknown call " + c.Kind)
}

// AddLearner probes the node at peerAddr and takes it in. Like all administration
// it works on any node, is idempotent, and blocks until it is committed.
func (n *Node) AddLearner(ctx context.Context, id uint64, peerAddr string) error {
	return n.addLearner(ctx, call{Kind: callAdd, ID: raftcore.NodeID(id), Addr: peerAddr})
}

// Remove takes a member out of the cluster.
func (n *Node) Remove(ctx context.Context, id uint64) error {
	return n.remove(ctx, call{Kind: callRemove, ID: raftcore.NodeID(id)})
}

// Promote makes a learner a voter.
func (n *Node) Promote(ctx context.Context, id uint64) error {
	return n.promote(ctx, call{Kind: callPromote, ID: raftcore.NodeID(id)})
}

// Transfer hands leadership to a voter (0: the best one) and returns when it leads.
func (n *Node) Transfer(ctx context.Context, to uint64) error {
	return n.transfer(ctx, call{Kind: callTransfer, ID: raftcore.NodeID(to)})
}

func (n *Node) leaderHint() string {
	s := n.Status()
	if s.Leader == 0 {
		return "again when there is one"
	}
	if m := findMember(s.Membership, s.Leader); m != nil {
		return fmt.Sprintf("node %d at %s", m.ID, m.ClientAddr)
	}
	return fmt.Sprintf("node %d", s.Leader)
}

func (n *Node) leaderPeerAddr() string {
	s := n.Status()
	if m := findMember(s.Membership, s.Leader); m != nil {
		return m.PeerAddr
	}
	return ""
}

func (n *Node) remove(ctx context.Context, c call) error {
	removal := removing(c.ID)
	return n.asLeader(ctx, c, func(ctx context.Context) error { return n.await(ctx, removal) })
}

func removing(id raftcore.NodeID) condition {
	started := false
	return func(l *loop) (bool, error) {
		cur := l.core.Membership()
		if findMember(cur, id) == nil {
			if !started {
				return false, fmt.Errorf("no member has the id %d", id)
			}
			return len(cur.Outgoing) == 0 && !l.core.ChangeInProgress(), nil
		}
		if l.core.Role() != raftcore.Leader {
			return false, raftcore.ErrNotLeader
		}
		if started {
			return false, nil
		}
		err := l.core.Remove(id)
		if errors.Is(err, raftcore.ErrNotReady) {
			return false, nil // a new leader, in a moment
		}
		started = true
		return false, err
	}
}

func (n *Node) promote(ctx context.Context, c call) error {
	promotion := promoting(c.ID)
	return n.asLeader(ctx, c, func(ctx context.Context) error { return n.await(ctx, promotion) })
}

func promoting(id raftcore.NodeID) condition {
	started := false
	return func(l *loop) (bool, error) {
		cur := l.core.Membership()
		m := findMember(cur, id)
		switch {
		case m == nil:
			return false, fmt.Errorf("no member has the id %d", id)
		case !m.Learner:
			return len(cur.Outgoing) == 0 && !l.core.ChangeInProgress(), nil
		case l.core.Role() != raftcore.Leader:
			return false, raftcore.ErrNotLeader
		case started:
			return false, nil
		}
		err := l.core.Promote(id)
		if errors.Is(err, raftcore.ErrNotReady) {
			return false, nil // a new leader, in a moment
		}
		started = true
		return false, err
	}
}

func (n *Node) transfer(ctx context.Context, c call) error {
	return n.asLeader(ctx, c, func(ctx context.Context) error { return n.await(ctx, n.transferring(c.ID)) })
}

// transferring hands leadership over and is done when the target (0: anybody else)
// leads.
func (n *Node) transferring(target raftcore.NodeID) condition {
	started := false
	from := raftcore.NodeID(0)
	var deadline time.Time
	return func(l *loop) (bool, error) {
		leader, now := l.core.Leader(), n.cfg.Now()
		if !started {
			started = true
			from, deadline = leader, now.Add(2*n.cfg.ElectionTimeout)
			if leader == target && target != 0 {
				return true, nil
			}
			return false, l.core.TransferLeadership(target)
		}
		if leader != 0 && (leader == target || target == 0 && leader != from) {
			return true, nil
		}
		if now.Before(deadline) || now.Equal(deadline) {
			return false, nil
		}
		if l.core.Role() != raftcore.Leader {
			return false, errors.New("leadership was given up but nobody took it yet")
		}
		return false, errors.New("the transfer was not completed in time; this node leads on")
	}
}

// replicaWait is one WAIT.
type replicaWait struct {
	index uint64
	n     int
	done  func(int)
}

// WaitReplicas calls done with the number of nodes, beside the leader, whose log
// holds index durably: as soon as there are n, or when ctx ends.
func (n *Node) WaitReplicas(ctx context.Context, index uint64, want int, done func(int)) {
	w := &replicaWait{index, want, done}
	if !n.call(func(l *loop) { l.addWait(w) }) {
		done(0)
		return
	}
	context.AfterFunc(ctx, func() { n.call(func(l *loop) { l.endWait(w) }) })
}

// addWait has everybody sent at once what is waited for, also those a quorum can do
// without, unless there are as many copies already.
func (l *loop) addWait(w *replicaWait) {
	l.waits = append(l.waits, w)
	if replicasAt(l.core.Status().Matches, w.index) >= w.n {
		return
	}
	for _, m := range l.core.Membership().Voters() {
		l.core.Awaits(m.ID, w.index)
	}
}

func (l *loop) checkWaits() {
	if len(l.waits) == 0 {
		return
	}
	matches := l.core.Status().Matches
	kept := l.waits[:0]
	for _, w := range l.waits {
		if c := replicasAt(matches, w.index); c >= w.n {
			w.done(c)
			continue
		}
		kept = append(kept, w)
	}
	clear(l.waits[len(kept):])
	l.waits = kept
}

func (l *loop) endWait(w *replicaWait) {
	for i := range l.waits {
		if l.waits[i] == w {
			l.waits = append(l.waits[:i], l.waits[i+1:]...)
			w.done(replicasAt(l.core.Status().Matches, w.index))
			return
		}
	}
}

// replicasAt counts voters that hold index durably, one of them being the leader.
func replicasAt(matches []uint64, index uint64) int {
	n := 0
	for _, m := range matches {
		if m >= index {
			n++
		}
	}
	return max(n-1, 0)
}

func describeMembers(m raftcore.Membership) string {
	var b strings.Builder
	for i, x := range m.Members {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d=%s", x.ID, x.PeerAddr)
		if x.Learner {
			b.WriteString("(learner)")
		}
	}
	if len(m.Outgoing) > 0 {
		b.WriteString(" (joint)")
	}
	return b.String()
}
