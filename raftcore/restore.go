package raftcore

// SnapshotWanted reports whether a snapshot offered by a leader would be used: a
// driver may ask before it receives the bytes.
func (c *Core) SnapshotWanted(meta SnapshotMeta) bool {
	return meta.Index > c.log.commit && !c.log.matches(meta.Index, meta.Term)
}

// handleSnapshot decides about a snapshot that has arrived and been verified.
func (c *Core) handleSnapshot(m *Message) {
	meta := *m.Snapshot
	switch {
	case c.role == Leader: // has all that is committed
	case c.restore != nil:
		// One at a time (R33); the newest waits.
		if meta.Index > c.restore.meta.Index && (c.restoreNext == nil || meta.Index > c.restoreNext.meta.Index) {
			c.restoreNext = &restoring{meta, m.From}
		}
	case meta.Index <= c.log.commit:
		// Older than what is here: installing it would undo committed entries
		// (R30). The answer says how far this log really goes.
		c.answerSnapshot(m.From)
	case c.log.matches(meta.Index, meta.Term):
		// The log has it all; only the news that it is committed was missing.
		c.verified = max(c.verified, meta.Index)
		c.log.commit = meta.Index
		c.answerSnapshot(m.From)
	default:
		c.beginRestore(&restoring{meta, m.From})
	}
}

func (c *Core) beginRestore(r *restoring) {
	c.restore = r
	if c.role != Follower {
		c.becomeFollower(c.term, 0, "installing a snapshot")
	}
	c.fetched, c.fetchingApply = nil, 0
	meta := SnapshotMeta{r.meta.Index, r.meta.Term, r.meta.Membership.clone()}
	c.out.Restore = &meta
}

// Restored reports that the snapshot of Ready.Restore is durable and loaded, and
// that the log on disk has been dropped and goes on at meta.Index+1.
func (c *Core) Restored(meta SnapshotMeta) {
	r := c.restore
	if r == nil || r.meta.Index != meta.Index {
		return
	}
	c.restore = nil
	c.log.reset(r.meta)
	c.snapshot = r.meta
	c.liftSuspicion()
	c.configs.reset(r.meta)
	c.membershipMayHaveChanged()
	c.verified = r.meta.Index // the log is nothing else
	c.fetched, c.fetchingApply, c.applyFetchAfter = nil, 0, 0
	c.answerSnapshot(r.from)
	if next := c.restoreNext; next != nil {
		c.restoreNext = nil
		if next.meta.Index > c.log.commit {
			c.beginRestore(next)
		}
	}
}

// answerSnapshot tells how far this log matches: the leader of today, if one is
// known, else whoever sent the snapshot.
func (c *Core) answerSnapshot(from NodeID) {
	if c.leader != 0 && c.leader != c.id {
		from = c.leader
	}
	c.send(Message{Type: MsgSnapshotResp, To: from, Index: c.durableMatch(), Round: c.roundSeen})
}
