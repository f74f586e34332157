package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// judge checks the invariants of RELIABILITY 7.3 while a run goes on. It keeps its
// own books: what each disk holds by what was reported durable, and what was
// committed by what was handed to a state machine.
type judge struct {
	w *world

	ops     []*op
	genesis uint64 // the hash seed of keys

	configEntries map[entryID]bool             // which entries are configurations
	leaders       map[uint64]tenantID          // by term, for ever (I1)
	votes         map[ballotID]raftcore.NodeID // by identity and term, for ever (I2)
	entries       map[entryID]entryMark        // by index and term, for ever (I4)
	ledger        []committed                  // entry i+1, for ever (I7)
	ever          map[tenantID][]uint64        // by identity: term of the newest durable entry at index i+1 (I8)
	digests       map[uint64]string            // of the state machine, by applied index (I7, I17)
	configs       []indexedConfig              // committed, in order (I16)
	level         uint16                       // of the entries committed so far
	known         map[tenantID]uint16          // newest level that an identity ever knew
}

type ballotID struct {
	tenantID
	term uint64
}

type entryID struct{ index, term uint64 }

type entryMark struct {
	crc      uint32
	previous uint64 // term of the entry before
}

type committed struct {
	raftcore.Entry
	by uint64 // committed in this term or an earlier one
	at time.Duration
}

type indexedConfig struct {
	index uint64
	raftcore.Membership
}

// seen is what the judge last saw of a process.
type seen struct {
	role    raftcore.Role
	term    uint64
	commit  uint64
	handed  uint64
	members raftcore.Membership
	stale   bool // members
	steps   int
	leader  raftcore.NodeID
	since   time.Duration // of role and term
	// snapshot is the newest one's index.
	snapshot uint64
}

// durable is what a disk holds, by what was reported: a lower bound.
type durable struct {
	hard     raftcore.HardState
	unknown  bool // whether the vote of hard is the disk's: a batch was cut short
	base     uint64
	baseTerm uint64
	terms    []uint64
}

func (d *durable) last() uint64 { return d.base + uint64(len(d.terms)) }

func (d *durable) term(index uint64) (uint64, bool) {
	switch {
	case index == d.base:
		return d.baseTerm, true
	case index < d.base || index > d.last():
		return 0, false
	}
	return d.terms[index-d.base-1], true
}

func newJudge(w *world) judge {
	return judge{
		w: w, configEntries: map[entryID]bool{}, leaders: map[uint64]tenantID{}, votes: map[ballotID]raftcore.NodeID{}, entries: map[entryID]entryMark{},
		ever: map[tenantID][]uint64{}, digests: map[uint64]string{},
		level: kv.ApplyLevel, known: map[tenantID]uint16{},
	}
}

func (p *proc) tenantID() tenantID { return tenantID{p.id.Node, p.id.Incarnation} }

// step looks at a process after something happened to it.
func (j *judge) step(p *proc) {
	w, c, s := j.w, p.s.Core(), &p.seen
	role, term, commit := c.Role(), c.Term(), c.Commit()
	changed := role != s.role || term != s.term
	if term < s.term {
		w.fail("I3", "node %d: term went back from %d to %d", p.m.id, s.term, term)
	}
	if commit < s.commit {
		w.fail("I7", "node %d: commit went back from %d to %d", p.m.id, s.commit, commit)
	}
	if role == raftcore.Leader {
		switch {
		case changed:
			j.elected(p, term)
		case commit > s.commit:
			j.committing(p, term, s.commit, commit)
		}
	}
	if s.stale {
		s.stale = false
		s.members = c.Membership()
	}
	if changed || c.Leader() != s.leader {
		w.note(4, uint64(p.m.id), uint64(role), term, uint64(c.Leader()))
		w.say("node %d: %v of term %d, leader %d, last %d commit %d", p.m.id, role, term, c.Leader(), c.LastIndex(), commit)
		j.turned(p, role, term)
	}
	if s.steps++; changed || s.steps%64 == 0 {
		w.checked(18)
		if err := c.CheckInvariants(); err != nil {
			w.fail("I18", "node %d: %v", p.m.id, err)
		}
		st := c.Status()
		if st.Fault != nil {
			w.fail("I7", "node %d: %v", p.m.id, st.Fault)
		}
		j.covered(p, &st)
	}
	if changed {
		s.since = w.now
	}
	j.hanging(p, role)
	s.role, s.term, s.commit, s.leader = role, term, commit, c.Leader()
	if commit > uint64(len(j.ledger)) && c.LastIndex() < commit {
		w.fail("I7", "node %d: commit %d beyond its log %d", p.m.id, commit, c.LastIndex())
	}
}

// hanging: a leader whose disk does not answer lets others lead (I20, R37): it notices
// after an election timeout, hands over for as long, and its clock may be slow.
func (j *judge) hanging(p *proc, role raftcore.Role) {
	since := max(p.syncSince, p.seen.since, p.frozenUntil)
	if role == raftcore.Leader && p.syncBusy && j.w.now-since > 3*j.w.opt.election {
		j.w.fail("I20", "node %d leads although its disk hangs since %v", p.m.id, p.syncSince)
	}
}

// turned counts the rare events that a change of role shows.
func (j *judge) turned(p *proc, role raftcore.Role, term uint64) {
	w, s := j.w, &p.seen
	switch {
	case role == raftcore.Leader && s.role != raftcore.Leader:
		w.hit("leader elected")
		for _, q := range w.running() {
			if q != p && q.s.Core().Role() == raftcore.Leader {
				w.hit("two leaders in different terms")
			}
		}
		if s.members.Joint() {
			w.hit("leader elected while joint")
		}
		if m, ok := s.members.Find(p.m.id); !ok || m.Learner {
			w.hit("leader outside the new configuration")
		}
	case role != raftcore.Leader && s.role == raftcore.Leader:
		w.hit("leader stepped down")
		if w.pendingReads(p) {
			w.hit("read pending at step-down")
		}
	}
	if _, ok := s.members.Find(p.m.id); role == raftcore.PreCandidate && !ok {
		w.hit("removed node campaigns")
	}
}

// elected: one leader a term (I1), and it has everything committed before (I6).
func (j *judge) elected(p *proc, term uint64) {
	w, id, c := j.w, p.tenantID(), p.s.Core()
	w.checked(1, 6)
	if other, ok := j.leaders[term]; ok && other != id {
		w.fail("I1", "term %d has two leaders: %v and %v", term, other, id)
	}
	j.leaders[term] = id
	n := uint64(len(j.ledger))
	for n > 0 && j.ledger[n-1].by > term {
		n--
	}
	if n == 0 {
		return
	}
	have, ok := c.TermAt(n)
	if ok && have != j.ledger[n-1].Term || n > c.LastIndex() {
		w.fail("I6", "leader %d of term %d lacks committed entry %d of term %d (has term %d, last %d)",
			p.m.id, term, n, j.ledger[n-1].Term, have, c.LastIndex())
	}
}

// committing: a leader's commit needs an entry of its own term on a quorum's disks (I8).
func (j *judge) committing(p *proc, term, from, commit uint64) {
	w, c := j.w, p.s.Core()
	w.checked(8)
	if t, ok := c.TermAt(commit); ok && t != term {
		w.fail("I8", "leader %d of term %d moved commit from %d to %d, an entry of term %d", p.m.id, term, from, commit, t)
	}
	if !j.onQuorum(p.seen.members, commit, term) && !j.onQuorum(c.Membership(), commit, term) {
		w.fail("I8", "leader %d of term %d committed %d, which is not durable on a quorum of %v", p.m.id, term, commit, names(c.Membership()))
	}
}

func (j *judge) onQuorum(m raftcore.Membership, index, term uint64) bool {
	return len(m.Members) > 0 && j.majority(m.Voters(), index, term) && (!m.Joint() || j.majority(m.Outgoing, index, term))
}

func (j *judge) majority(voters []raftcore.Member, index, term uint64) bool {
	n := 0
	for _, v := range voters {
		terms := j.ever[tenantID{v.ID, v.Incarnation}]
		if index <= uint64(len(terms)) && terms[index-1] == term {
			n++
		}
	}
	return 2*n > len(voters)
}

func names(m raftcore.Membership) string {
	s := ""
	for _, x := range m.Members {
		s += fmt.Sprintf(" %d", x.ID)
		if x.Learner {
			s += "(learner)"
		}
	}
	if m.Joint() {
		s += " / outgoing"
		for _, x := range m.Outgoing {
			s += fmt.Sprintf(" %d", x.ID)
		}
	}
	return s
}

// Saving implements node.Host: what goes to the log.
func (p *proc) Saving(s *raftcore.Save) {
	j, w := &p.w.judge, p.w
	if h := s.HardState; h != nil {
		j.ballot(p, h)
	}
	if len(s.Entries) == 0 {
		return
	}
	w.checked(4, 5)
	first := s.Entries[0].Index
	if first <= p.seen.handed {
		w.hit("suffix truncated")
		if first <= p.seen.commit {
			w.fail("I5", "node %d truncates its log at %d, below its commit %d", p.m.id, first, p.seen.commit)
		}
		j.truncating(p, first)
	}
	c := p.s.Core()
	for i := range s.Entries {
		e := &s.Entries[i]
		mark := entryMark{crc: e.CRC}
		if i > 0 {
			mark.previous = s.Entries[i-1].Term
		} else if t, ok := c.TermAt(e.Index - 1); ok {
			mark.previous = t
		}
		id := entryID{e.Index, e.Term}
		if old, ok := j.entries[id]; !ok {
			j.entries[id] = mark
			if e.Type == raftcore.EntryConfig {
				j.configEntries[id] = true
			}
		} else if old.crc != mark.crc || old.previous != mark.previous && mark.previous != 0 && old.previous != 0 {
			w.fail("I4", "entry %d of term %d differs: %+v and, at node %d, %+v", e.Index, e.Term, old, p.m.id, mark)
		}
	}
	p.seen.handed = s.Entries[len(s.Entries)-1].Index
}

// truncating counts what kinds of suffix are cut off.
func (j *judge) truncating(p *proc, first uint64) {
	d := &p.m.held
	terms, last := 0, uint64(0)
	configs, figure8 := 0, false
	for i := first; i <= d.last(); i++ {
		t, _ := d.term(i)
		if t != last {
			terms, last = terms+1, t
		}
		if j.onQuorum(p.seen.members, i, t) {
			figure8 = true
		}
		if j.isConfig(entryID{i, t}) {
			configs++
		}
	}
	if figure8 {
		j.w.hit("entry of a majority overwritten (figure 8)")
	}
	if terms >= 3 {
		j.w.hit("tail of three terms truncated")
	}
	switch {
	case configs == 1:
		j.w.hit("one configuration truncated")
	case configs > 1:
		j.w.hit("two configurations truncated")
	}
}

func (j *judge) isConfig(id entryID) bool { return j.configEntries[id] }

func (j *judge) ballot(p *proc, h *raftcore.HardState) {
	w := j.w
	w.checked(2, 3)
	if h.Term < p.m.held.hard.Term {
		w.fail("I3", "node %d saves term %d after %d", p.m.id, h.Term, p.m.held.hard.Term)
	}
	if h.Vote == 0 {
		return
	}
	// What was saved and reported is for ever; what a crash cut short was never told.
	j.vote(p, h.Term, h.Vote, false)
}

// vote: one vote a term, for ever (I2).
func (j *judge) vote(p *proc, term uint64, vote raftcore.NodeID, keep bool) {
	id := ballotID{p.tenantID(), term}
	if old, ok := j.votes[id]; ok && old != vote {
		j.w.fail("I2", "node %d votes for %d in term %d, having voted for %d", p.m.id, vote, term, old)
	}
	if keep {
		j.votes[id] = vote
	}
}

// saved: what the log wrote and synced at once is durable.
func (j *judge) saved(p *proc, items []node.SyncItem) {
	d := &p.m.held
	written := int64(0)
	for _, it := range items {
		if it.Reset != nil {
			d.base, d.baseTerm, d.terms = it.Reset.Index, it.Reset.Term, nil
			continue
		}
		if h := it.Save.HardState; h != nil {
			d.hard, d.unknown = *h, false
			if h.Vote != 0 {
				j.vote(p, h.Term, h.Vote, true)
			}
		}
		es := it.Save.Entries
		if len(es) == 0 {
			continue
		}
		if es[0].Index > d.last()+1 {
			j.w.fail("log", "node %d: entries from %d saved behind %d", p.m.id, es[0].Index, d.last())
		}
		if es[0].Index <= d.base {
			d.base, d.baseTerm, d.terms = es[0].Index-1, 0, nil
		}
		for i := range es {
			written += int64(es[i].Size()) + 64
		}
		d.terms = d.terms[:es[0].Index-d.base-1]
		for i := range es {
			d.terms = append(d.terms, es[i].Term)
			j.everHeld(p.tenantID(), es[i].Index, es[i].Term)
		}
	}
	if written > 0 {
		p.m.batches = [2]int64{written, p.m.batches[0]}
	}
}

func (j *judge) everHeld(id tenantID, index, term uint64) {
	terms := j.ever[id]
	for uint64(len(terms)) < index {
		terms = append(terms, 0)
	}
	terms[index-1] = term
	j.ever[id] = terms
}

// sending: nothing is said that a crash could take back (I9).
func (j *judge) sending(p *proc, m *raftcore.Message) {
	w, d := j.w, &p.m.held
	w.checked(9)
	switch m.Type {
	case raftcore.MsgAppendResp, raftcore.MsgHeartbeatResp, raftcore.MsgSnapshotResp:
		if !m.Reject && m.Index > d.last() {
			w.fail("I9", "node %d acknowledges %d, its disk holds %d", p.m.id, m.Index, d.last())
		}
		want, known := p.s.Core().TermAt(m.Index)
		if on, holds := d.term(m.Index); !m.Reject && m.Term == p.s.Core().Term() && known && holds && on != want {
			w.fail("I9", "node %d acknowledges %d of term %d, its disk holds that of term %d", p.m.id, m.Index, want, on)
		}
	case raftcore.MsgVoteResp:
		if !m.Reject {
			j.vote(p, m.Term, m.To, true)
		}
		if !m.Reject && (d.hard.Term < m.Term || d.hard.Term == m.Term && !d.unknown && d.hard.Vote != m.To) {
			w.fail("I9", "node %d grants %d its vote of term %d, its disk says %+v", p.m.id, m.To, m.Term, d.hard)
		}
		if !m.Reject {
			w.hit("vote granted")
			if v, ok := p.seen.members.Find(p.m.id); !ok || v.Learner {
				w.hit("a vote asked of one who does not know it is a voter")
			}
		}
	case raftcore.MsgVote:
		if d.hard.Term < m.Term {
			w.fail("I9", "node %d campaigns in term %d, its disk says %d", p.m.id, m.Term, d.hard.Term)
		}
	case raftcore.MsgAppend, raftcore.MsgHeartbeat:
		if d.hard.Term < m.Term {
			w.fail("I9", "node %d leads in term %d, its disk says %d", p.m.id, m.Term, d.hard.Term)
		}
	}
}

// Applying implements node.Host: what the core says is committed.
func (p *proc) Applying(es []raftcore.Entry) {
	j, w := &p.w.judge, p.w
	w.checked(7)
	term := p.s.Core().Term()
	for i := range es {
		e := &es[i]
		n := uint64(len(j.ledger))
		switch {
		case e.Index > n+1:
			w.fail("I7", "node %d applies %d, only %d are known to be committed", p.m.id, e.Index, n)
		case e.Index <= n:
			if old := &j.ledger[e.Index-1]; old.Term != e.Term || old.CRC != e.CRC {
				w.fail("I7", "node %d applies another entry %d (term %d) than was applied before (term %d)", p.m.id, e.Index, e.Term, old.Term)
			}
			j.ledger[e.Index-1].by = min(j.ledger[e.Index-1].by, term)
		default:
			j.ledger = append(j.ledger, committed{*e, term, w.now})
			if e.Type == raftcore.EntryConfig {
				j.configured(e)
			} else if e.Type == raftcore.EntryNormal {
				j.raised(p, e)
			}
		}
	}
}

// configured: quorums of consecutive configurations meet (I16).
func (j *judge) configured(e *raftcore.Entry) {
	w := j.w
	w.checked(16)
	m, err := raftcore.DecodeMembership(e.Body)
	if err != nil {
		w.fail("I16", "committed configuration %d: %v", e.Index, err)
	}
	if len(j.configs) > 0 {
		old := j.configs[len(j.configs)-1].Membership
		ok := true
		switch {
		case old.Joint() && m.Joint():
			ok = false
		case m.Joint():
			ok = sameVoters(old.Voters(), m.Outgoing)
		case old.Joint():
			ok = sameVoters(old.Voters(), m.Voters())
		default:
			ok = sameVoters(old.Voters(), m.Voters())
		}
		if !ok {
			w.fail("I16", "configuration %d:%s follows%s", e.Index, names(m), names(old))
		}
	}
	if m.Joint() {
		w.hit("joint configuration committed")
	}
	j.configs = append(j.configs, indexedConfig{e.Index, m})
}

func sameVoters(a, b []raftcore.Member) bool {
	return slices.EqualFunc(a, b, func(x, y raftcore.Member) bool { return x.ID == y.ID && x.Incarnation == y.Incarnation })
}

// Restoring implements node.Host.
func (p *proc) Restoring(meta raftcore.SnapshotMeta) {
	w := p.w
	w.hit("snapshot installed")
	if p.snap != nil {
		w.hit("install races a local snapshot")
	}
	if meta.Membership.Joint() {
		w.hit("snapshot installed while joint")
	}
	w.say("node %d: installs the snapshot at %d", p.m.id, meta.Index)
	if n := uint64(len(w.judge.ledger)); meta.Index > n {
		w.fail("I7", "node %d installs a snapshot at %d, only %d are committed", p.m.id, meta.Index, n)
	}
	p.seen.handed = 0
}

// snapshot: a snapshot holds the configuration as of its index (I16, I17).
func (j *judge) snapshot(p *proc, meta raftcore.SnapshotMeta) {
	want := p.id.Genesis.Membership()
	for i := range j.configs {
		if j.configs[i].index <= meta.Index {
			want = j.configs[i].Membership
		}
	}
	if !slices.Equal(want.Members, meta.Membership.Members) || !slices.Equal(want.Outgoing, meta.Membership.Outgoing) {
		j.w.fail("I16", "node %d: the snapshot at %d says%s, the log said%s", p.m.id, meta.Index, names(meta.Membership), names(want))
	}
}

// applied compares state machines at equal index (I7, I17).
func (j *judge) applied(p *proc, before uint64) {
	w := j.w
	at := p.s.Store().Applied()
	w.note(5, uint64(p.m.id), at)
	if at == before {
		return
	}
	j.knows(p)
	want, known := j.digests[at]
	if !known && at%32 != 0 && w.rng.IntN(32) > 0 {
		return // a digest costs as much as hundreds of entries
	}
	w.checked(17)
	index, got := p.s.Store().DigestNow()
	if index != at {
		w.fail("I17", "node %d: digest at %d, applied %d", p.m.id, index, at)
	}
	if !known {
		j.digests[at] = got
	} else if got != want {
		w.fail("I17", "node %d: another state at index %d", p.m.id, at)
	}
}

// recovered: what a disk was known to hold is still there, or known to be lost (I19).
func (j *judge) recovered(p *proc) {
	w, m, c := j.w, p.m, p.s.Core()
	w.checked(19)
	d, st := &m.held, c.Status()
	must := d.last()
	for _, it := range m.ambiguous {
		if it.Reset != nil {
			must = min(must, it.Reset.Index)
		} else if es := it.Save.Entries; len(es) > 0 {
			must = min(must, es[0].Index-1)
		}
	}
	suspect := st.Suspect != (raftcore.Position{})
	certain := !d.unknown && len(m.ambiguous) == 0
	switch {
	case certain && c.Term() == d.hard.Term && st.Vote != d.hard.Vote:
		w.fail("I2", "node %d comes back with a vote for %d in term %d, it had %d", m.id, st.Vote, c.Term(), d.hard.Vote)
	case c.Term() < d.hard.Term:
		w.fail("I19", "node %d comes back with term %d, it had %d", m.id, c.Term(), d.hard.Term)
	case c.LastIndex() < must && !suspect:
		w.fail("I19", "node %d comes back with %d entries, it had at least %d (damaged: %v)", m.id, c.LastIndex(), must, m.spoilt)
	}
	for i := max(d.base, st.FirstIndex-1) + 1; i <= min(must, c.LastIndex()); i++ {
		want, _ := d.term(i)
		if have, ok := c.TermAt(i); ok && have != want {
			w.fail("I19", "node %d comes back with term %d for entry %d, it had %d", m.id, have, i, want)
		}
	}
	if p.s.TornBytes() > 0 {
		w.hit("log opened with a torn tail")
	}
	if p.id.Boot > 1 {
		w.hit("session closed by a later boot")
	}
	if suspect {
		w.hit("log opened with an ambiguous tail")
	}
	if m.spoilt {
		w.hit("started on a damaged disk")
		m.spoilt = false
	}
	if st.SnapshotIndex > 0 {
		w.hit("restarted from a snapshot")
		p.fromSnapshot = true
		if m.second {
			w.hit("restarted from a second-generation snapshot")
		}
		if st.LastIndex == st.SnapshotIndex {
			w.hit("empty log and a snapshot")
		}
	}
	// From here on the books say what the log says.
	d.base, d.terms = st.FirstIndex-1, nil
	d.baseTerm, _ = c.TermAt(d.base)
	d.hard.Term, d.hard.Vote, d.unknown = c.Term(), st.Vote, false
	for i := st.FirstIndex; i <= st.LastIndex; i++ {
		t, _ := c.TermAt(i)
		d.terms = append(d.terms, t)
		if !m.rolledBack {
			j.everHeld(p.tenantID(), i, t)
		}
	}
	m.ambiguous = nil
	m.wiped = false
	j.founded(p)
	m.incarnation = p.id.Incarnation
	j.known[p.tenantID()] = max(j.known[p.tenantID()], m.level)
	j.knows(p)
	p.seen = seen{term: c.Term(), commit: c.Commit(), handed: st.LastIndex, members: c.Membership()}
}

// founded notes the cluster a node belongs to. There is one: another may only follow one
// that nobody belongs to any more, which only a founder that settled before all others,
// and was emptied before any of them did, leaves behind.
func (j *judge) founded(p *proc) {
	seed := p.id.Genesis.HashSeed()
	p.m.cluster = seed
	if seed == j.genesis {
		return
	}
	for _, x := range j.w.machines {
		if j.genesis != 0 && x.cluster == j.genesis && !x.wiped {
			j.w.fail("genesis", "node %d belongs to a second cluster:%s", p.m.id, names(p.id.Genesis.Membership()))
		}
	}
	j.genesis = seed
}
