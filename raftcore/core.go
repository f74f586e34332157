package raftcore

// Core is one node's share of the protocol.
type Core struct{ cfg Config }

// New returns a follower with the recovered state.
func New(cfg Config) (*Core, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Core{cfg: cfg}, nil
}
func (c *Core) Step(m Message)                                     {}
func (c *Core) Tick()                                              {}
func (c *Core) Propose(typ EntryType, body []byte) (uint64, error) { return 0, ErrNotLeader }
func (c *Core) ProposeMembership(target []Member) error            { return ErrNotLeader }
func (c *Core) AddLearner(m Member) error                          { return ErrNotLeader }
func (c *Core) Promote(id NodeID) error                            { return ErrNotLeader }
func (c *Core) Remove(id NodeID) error                             { return ErrNotLeader }
func (c *Core) TransferLeadership(to NodeID) error                 { return ErrNotLeader }
func (c *Core) ReadIndex(id uint64)                                {}
func (c *Core) Saved(id uint64)                                    {}
func (c *Core) Applied(index uint64)                               {}
func (c *Core) Fetched(f Fetch, entries []Entry, err error)        {}
func (c *Core) Compacted(index uint64)                             {}
func (c *Core) SnapshotTaken(meta SnapshotMeta)                    {}
func (c *Core) Restored(meta SnapshotMeta)                         {}
func (c *Core) SnapshotSent(to NodeID, index uint64, ok bool)      {}
func (c *Core) SetCampaignAllowed(allowed bool, cause string)      {}
func (c *Core) HasReady() bool                                     { return false }
func (c *Core) Ready() Ready                                       { return Ready{} }
func (c *Core) Status() Status                                     { return Status{} }
func (c *Core) Membership() Membership                             { return Membership{} }
func (c *Core) MembershipAt(index uint64) Membership               { return Membership{} }
func (c *Core) Role() Role                                         { return Follower }
func (c *Core) Term() uint64                                       { return 0 }
func (c *Core) Leader() NodeID                                     { return 0 }
func (c *Core) LastIndex() uint64                                  { return 0 }
func (c *Core) Commit() uint64                                     { return 0 }
