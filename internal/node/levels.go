package node

import (
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// levels is how the cluster goes over to newer semantics of apply (docs/adr/0021): each
// node says in its OPEN which level it knows, entries are written by the level of the
// replicated state, and the leader raises that when every member knows a newer one.
type levels struct {
	raising uint16 // what the entry that is being built raises the level to; 0: nothing
	asked   time.Time
}

// of is the level of the entry being built. The one that raises the level has the new one
// already, so that a node that does not know it stops there and not behind it.
func (v *levels) of(level uint16) uint16 { return max(level, v.raising) }

// leadLevel raises the level if that is due.
func (l *loop) leadLevel(now time.Time) {
	v := &l.levels
	level := knownByAll(l.core.Membership(), l.presence.rows, l.cfg.Level)
	if level <= l.gauges.level() || now.Sub(v.asked) < l.cfg.ResendTimeout {
		return
	}
	v.asked, v.raising = now, level
	l.log.Info("every member knows a newer apply level", "level", level)
	var c kv.Chunk
	c.AppendLevel(level)
	l.units = kv.AppendUnit(l.units, kv.UnitHeader{Ops: uint64(c.NumOps)}, c.Ops)
	l.closeUnit(now)
}

// knownByAll is the newest level that each member knows by its session; 0 if one has
// none, or only that of an earlier incarnation.
func knownByAll(m raftcore.Membership, rows []kv.Presence, own uint16) uint16 {
	level := own
	for _, list := range [][]raftcore.Member{m.Members, m.Outgoing} {
		for _, x := range list {
			known := uint16(0)
			for i := range rows {
				if rows[i].Node == x.Incarnation {
					known = rows[i].Level
				}
			}
			level = min(level, known)
		}
	}
	return level
}
