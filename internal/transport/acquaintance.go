package transport

import "github.com/rkvdb/rkv/raftcore"

// Acquaintance is what a peer showed in a handshake beside the secret: that it is the
// data directory that was met before, and not an older copy of it (docs/adr/0015).
//
// Each start of a directory draws a number, its life, and the directory keeps those
// of its past. A peer is asked for the life it had at the boot it was last met with:
// a copy that was taken before and went on by itself has another one there.
type Acquaintance struct {
	Node        raftcore.NodeID
	Incarnation uint64
	Boot, Life  uint64
	// AskedBoot is the boot it was asked about, 0 if none; LifeThen is its answer, 0 if
	// it does not know.
	AskedBoot, LifeThen uint64
}

// Acquaintances is the memory of who spoke for raft identities. It outlives the
// process. Its methods are called by connections' goroutines.
type Acquaintances interface {
	// Newest is the newest boot met of a raft identity, 0 if none was. With
	// incarnation 0 it is about the incarnation of the node that was met last.
	Newest(node raftcore.NodeID, incarnation uint64) (of, boot uint64)
	// Meet judges a peer that proved the secret. After ReasonNone it is remembered
	// durably, if the disk allows: nothing is heard from a peer that could be
	// forgotten. It may block for the disk.
	Meet(a Acquaintance) Reason
}

// noAcquaintances remembers nobody: holders still does while the process lives.
type noAcquaintances struct{}

func (noAcquaintances) Newest(raftcore.NodeID, uint64) (of, boot uint64) { return 0, 0 }
func (noAcquaintances) Meet(Acquaintance) Reason                         { return ReasonNone }

// past is what one side of a handshake brings with it beside its identity.
type past struct {
	secret []byte
	known  Acquaintances
	lifeAt func(boot uint64) uint64
}

// lifeOf answers a question about this directory.
func (p *past) lifeOf(boot uint64) uint64 {
	if boot == 0 {
		return 0
	}
	return p.lifeAt(boot)
}

func (p *party) acquaintance(asked, then uint64) Acquaintance {
	return Acquaintance{p.Node, p.Incarnation, p.Boot, p.life(), asked, then}
}
