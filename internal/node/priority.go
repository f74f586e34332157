package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/rkvdb/rkv/raftcore"
)

// SetPriority makes a member more or less welcome as leader. A leader hands over to a
// healthy voter of higher priority, so the nodes of a preferred zone get the higher
// numbers and lead again soon after they are back. Like all administration it works on
// any node, is idempotent, and blocks until it is committed.
func (n *Node) SetPriority(ctx context.Context, id uint64, priority int32) error {
	return n.setPriority(ctx, call{Kind: callPriority, ID: raftcore.NodeID(id), Offset: int(priority)})
}

func (n *Node) setPriority(ctx context.Context, c call) error {
	if c.Offset < -MaxPriority || c.Offset > MaxPriority {
		return replyError(fmt.Sprintf("ERR the priority must be between %d and %d", -MaxPriority, MaxPriority))
	}
	return n.asLeader(ctx, c, func(ctx context.Context) error { return n.await(ctx, ranking(c.ID, int32(c.Offset))) })
}

// MaxPriority bounds priorities; a few levels are all anybody needs.
const MaxPriority = 1000

// ranking is done when the priority is committed.
func ranking(id raftcore.NodeID, priority int32) condition {
	return func(l *loop) (bool, error) {
		m := findMember(l.core.Membership(), id)
		switch {
		case m == nil:
			return false, fmt.Errorf("no member has the id %d", id)
		case m.Priority == priority && !l.core.ChangeInProgress():
			return true, nil // here at least; if it is a follower's view, it is committed
		case l.core.Role() != raftcore.Leader:
			return false, raftcore.ErrNotLeader
		case m.Priority == priority:
			return false, nil
		}
		err := l.core.SetPriority(id, priority)
		if errors.Is(err, raftcore.ErrNotReady) || errors.Is(err, raftcore.ErrTransferring) || errors.Is(err, raftcore.ErrChangeInProgress) {
			err = nil // soon
		}
		return false, err
	}
}
