package sim

import "github.com/rkvdb/rkv/raftcore"

// covered: what a node's log no longer has is in its newest snapshot, whose index never
// goes back while the process lives, whatever else is installed or taken meanwhile
// (I17, R32).
func (j *judge) covered(p *proc, st *raftcore.Status) {
	w, s := j.w, &p.seen
	w.checked(17)
	if st.SnapshotIndex < s.snapshot {
		w.fail("I17", "node %d: its newest snapshot was at %d, now it is at %d", p.m.id, s.snapshot, st.SnapshotIndex)
	}
	if st.FirstIndex > st.SnapshotIndex+1 {
		w.fail("I17", "node %d: its log begins at %d, its newest snapshot is at %d", p.m.id, st.FirstIndex, st.SnapshotIndex)
	}
	s.snapshot = st.SnapshotIndex
}
