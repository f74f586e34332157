package node

import (
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// memoryLimit is the leader's hand on maxmemory (kv/evict.go).
type memoryLimit struct {
	ops kv.Chunk // scratch
	// The last eviction proposed, its term and index: until it was applied here nobody
	// knows what is left to evict.
	term, index uint64
	// short: what comes now is refused room (kv.EntryOOM).
	short bool
}

// limitMemory puts an eviction in front of the units of the entry being built, if
// memory is over its limit, or marks the entry when there is nothing to evict. Without
// a limit it is one atomic load.
func (l *loop) limitMemory(now time.Time) {
	over, evicts := l.store.OverMemory()
	m := &l.memory
	if m.short = over > 0 && !evicts; over == 0 || m.short {
		return
	}
	if m.term == l.core.Term() && l.gauges.applied() < m.index {
		return
	}
	m.ops.Reset()
	if !l.store.Evict(&m.ops, over+int64(len(l.units)), l.cfg.Wall(now), l.dice.next()) {
		m.short = true
		return
	}
	l.units = kv.AppendUnit(l.units, kv.UnitHeader{Ops: uint64(m.ops.NumOps)}, m.ops.Ops)
	l.unitCount++
	m.term, m.index = l.core.Term(), l.core.LastIndex()+1
}

// limitIdleMemory evicts when no client causes entries: the limit was lowered.
func (l *loop) limitIdleMemory(now time.Time) {
	if l.core.Role() == raftcore.Leader && l.unitCount == 0 {
		l.limitMemory(now)
		l.propose(now)
	}
}
