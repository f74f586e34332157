package raftcore

import (
	"fmt"
	"slices"

	"github.com/rkvdb/rkv/raftcore/progress"
)

// keepUpDistance is how many entries a member may lag behind the commit index and
// still count as caught up: a moment's worth under load, far less than what a new
// voter would make others wait for.
const keepUpDistance = 1024

// ProposeMembership changes the cluster to target, in one step to any set whose
// new voters are learners that keep up, by joint consensus (thesis 4.3): an entry with both configurations, and, once that
// is committed, one with target alone, which the core appends itself (a new leader
// finishes what an old one began, R23). If the voters stay the same, there is
// only one set of quorums and the one entry suffices.
//
// It returns once the first entry is appended. The outcome shows in Membership:
// it is done when Outgoing is empty and nothing uncommitted changes it back.
func (c *Core) ProposeMembership(target []Member) error {
	if err := c.mayChange(); err != nil {
		return err
	}
	now := c.configs.newest()
	next := Membership{Members: sortMembers(target), Lease: now.Lease}
	if err := next.check(); err != nil {
		return err
	}
	if err := c.checkNewVoters(&now, &next); err != nil {
		return err
	}
	if slices.Equal(now.Members, next.Members) {
		return nil
	}
	if !slices.Equal(c.quorums.Incoming, next.quorums().Incoming) {
		next.Outgoing = now.Voters()
	}
	c.appendConfig(next)
	return nil
}

// mayChange says why no change of the configuration can begin now.
func (c *Core) mayChange() error {
	switch {
	case c.role != Leader:
		return ErrNotLeader
	case c.transfer.active():
		return ErrTransferring
	case !c.ownTermCommitted():
		return ErrNotReady // an older leader's change may still be about (R18)
	case c.changeInFlight():
		return ErrChangeInProgress
	}
	return nil
}

// checkNewVoters: whoever gets a vote has been a learner, under this incarnation,
// long enough to keep up and to have the membership in its own log. A directory
// that is empty does not vote (R26), so a change that counts on one could leave
// the cluster without a quorum for ever if its leader died at that moment.
func (c *Core) checkNewVoters(now, next *Membership) error {
	for _, member := range next.Members {
		old, known := now.Find(member.ID)
		switch p := c.peer(member.ID); {
		case member.Learner || known && !old.Learner && old.identity() == member.identity():
		case !known || old.identity() != member.identity():
			return fmt.Errorf("%w: member %d has to begin as a learner", ErrInvalidMembership, member.ID)
		case p != nil && (!c.keepsUp(p) || p.Match < c.configs.newestIndex()):
			return fmt.Errorf("%w: learner %d", ErrNotCaughtUp, member.ID)
		}
	}
	return nil
}

// AddLearner adds m without a vote; it is a no-op if m is a learner already. A voter under
// the same number with another incarnation is replaced, once it has not been heard for an
// election timeout.
func (c *Core) AddLearner(m Member) error {
	m.Learner = true
	now := c.configs.newest()
	old, known := now.Find(m.ID)
	switch p := c.peer(m.ID); {
	case !known || old.Learner:
	case old.Incarnation == m.Incarnation:
		return fmt.Errorf("%w: member %d is a voter already", ErrInvalidMembership, m.ID)
	case m.ID == c.id || p != nil && p.heard && c.active(p):
		return fmt.Errorf("%w: member %d is alive, in another directory", ErrInvalidMembership, m.ID)
	}
	return c.ProposeMembership(append(without(now.Members, m.ID), m))
}

// Promote makes a learner that has caught up a voter.
func (c *Core) Promote(id NodeID) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	now := c.configs.newest()
	member, known := now.Find(id)
	if !known {
		return ErrUnknownMember
	}
	member.Learner = false
	return c.ProposeMembership(append(without(now.Members, id), member))
}

// SetPriority makes a member more or less welcome as leader. The present leader hands
// over to a healthy voter of higher priority than its own.
func (c *Core) SetPriority(id NodeID, priority int32) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	now := c.configs.newest()
	member, known := now.Find(id)
	if !known {
		return ErrUnknownMember
	}
	member.Priority = priority
	return c.ProposeMembership(append(without(now.Members, id), member))
}

// Remove takes a member out. The last voter cannot be removed; a leader that
// removes itself hands over once the change is committed (thesis 4.2.2).
func (c *Core) Remove(id NodeID) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	now := c.configs.newest()
	if _, known := now.Find(id); !known {
		return ErrUnknownMember
	}
	return c.ProposeMembership(without(now.Members, id))
}

func without(members []Member, id NodeID) []Member {
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.ID == id })
}

// changeInFlight: until the final configuration is committed, a second change
// could meet a quorum that has not heard of the first (thesis 4.3).
func (c *Core) changeInFlight() bool {
	config := c.configs.newest()
	return config.Joint() || c.configs.newestIndex() > c.log.commit
}

// appendConfig appends a configuration, in force from here on.
func (c *Core) appendConfig(config Membership) {
	c.appendOwn(EntryConfig, EncodeMembership(config))
	c.configs.appended(&c.log.window[len(c.log.window)-1])
	c.membershipMayHaveChanged()
}

// membershipMayHaveChanged puts the newest configuration in force.
func (c *Core) membershipMayHaveChanged() {
	if !c.configs.changed {
		return
	}
	c.configs.changed = false
	config := c.configs.newest()
	c.quorums = config.quorums()
	out := config.clone()
	c.out.MembershipChanged = &out
	if c.role == Leader {
		c.syncPeers()
		c.recheckTransfer()
		c.renewLease() // none until this configuration is committed
	}
}

// syncPeers gives every member of the configuration a record, and keeps the
// records of those who stay under the same identity.
func (c *Core) syncPeers() {
	config := c.configs.newest()
	old := c.peers
	c.peers = nil
	for _, half := range [...][]Member{config.Members, config.Outgoing} {
		for _, member := range half {
			if member.ID == c.id || c.peer(member.ID) != nil {
				continue
			}
			i := slices.IndexFunc(old, func(p *peer) bool { return p.member.identity() == member.identity() })
			if i < 0 {
				c.peers = append(c.peers, c.newPeer(member))
				continue
			}
			old[i].member = member
			c.peers = append(c.peers, old[i])
		}
	}
	slices.SortFunc(c.peers, func(a, b *peer) int {
		if a.member.ID < b.member.ID {
			return -1
		}
		return 1
	})
	c.dirty = true
}

func (c *Core) newPeer(member Member) *peer {
	return &peer{
		member: member,
		// Probing starts at the end of the log; contact is presumed for one
		// election timeout, or a new leader would step down at once.
		Progress:    progress.New(c.log.last+1, c.cfg.MaxInflightMessages, c.cfg.MaxInflightBytes),
		lastContact: c.now,
	}
}

// membershipCommitted continues what a committed configuration calls for.
func (c *Core) membershipCommitted() {
	if c.configs.newestIndex() > c.log.commit {
		return
	}
	config := c.configs.newest()
	switch {
	case config.Joint():
		c.appendConfig(Membership{Members: config.Members, Lease: config.Lease})
	case !c.quorums.Contains(c.self()) && !c.transfer.stepDown:
		c.abdicate("no longer a voter")
	}
}

// keepsUp reports whether p lacks little of what is committed.
func (c *Core) keepsUp(p *peer) bool {
	return p.State == progress.Replicate && p.Match+keepUpDistance >= c.log.commit
}

// hears reports whether p answered one of the last heartbeats.
func (c *Core) hears(p *peer) bool { return p.lastContact+uint64(2*c.cfg.HeartbeatTicks) >= c.now }

// promoteLearners makes voters of the learners that kept up for an election
// timeout (Config.AutoPromote), the last rounds of thesis 4.2.1, and that are there
// now: one that died since its last answer would take part in every quorum and help
// in none.
func (c *Core) promoteLearners() {
	if !c.cfg.AutoPromote {
		return
	}
	members := slices.Clone(c.configs.newest().Members)
	ready := false
	for i := range members {
		p := c.peer(members[i].ID)
		if p == nil || !members[i].Learner {
			continue
		}
		if c.active(p) && c.keepsUp(p) {
			p.caughtUp++
		} else {
			p.caughtUp = 0
		}
		if p.caughtUp >= uint64(c.cfg.ElectionTicks) && c.hears(p) {
			members[i].Learner = false
			ready = true
		}
	}
	if ready && !c.changeInFlight() {
		// A refusal only means not now; the learners keep their standing.
		_ = c.ProposeMembership(members)
	}
}
