package raftcore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestScripts runs the transcripts in testdata: each is a schedule of RELIABILITY 2
// as a file that can be read aloud. After a change that is meant to show, run
//
//	go test ./raftcore -run TestScripts -rewrite
//
// and review the difference. The harness asserts its invariants in every step.
//
// A block holds commands, one a line. Between commands every node takes its
// Readies; what they ask for is printed, but only these happen by themselves:
// entries are applied, the log is read, snapshots are streamed and installed. A
// message lies on the wire until it is delivered, a save in the disk's queue until
// it is performed.
//
//	cluster N [voters=1,2] [k=v]   start over with N nodes; k: inflight, message, uncommitted, lease (ms)
//	load N term=T [vote=V] [commit=C] [log=1,1,2]  restart with this on disk (terms of entries)
//	tick N [count]                 let N's time pass, 10 ms a tick
//	pause N ms                     N's clock goes on, N does not
//	rate N ms                      N's clock shows so many ms a tick from now on
//	leases N ms                    leader N turns leases on, 0: off
//	lease N                        what a reader at N would find
//	timeout N                      N's election timer fires
//	elect N                        N campaigns, all is delivered and saved, until it leads
//	deliver [A->B] [type] [first]  hand over what lies on the wire (now; * for anyone)
//	drop [A->B] [type] [first]     lose it
//	hold A->B type                 take it off the wire; release puts it back
//	release
//	save N [all]                   N's disk performs its oldest save (all of them)
//	settle [ticks]                 everything is delivered and saved until quiet
//	stall N / unstall N            settle leaves N's disk alone
//	cut N... / heal                nobody hears N
//	crash N / start N              what is not saved is gone
//	wipe N                         N's directory is emptied; it returns as another incarnation
//	snapshot N [keep]              take one, keep so many entries before it
//	taken N I/T                    report a snapshot that was begun long ago
//	slow N / installed N           N does not finish installing a snapshot / it does
//	propose N, read N, transfer N to, add N id, promote N id, remove N id
//	voters N 1,2,3                 ask leader N for these voters, in one change
//	send A->B type [k=v]           a message from outside: term, prev=I/T, commit, entries=T,T, index, round, reject
//	status, log N, disk N, wire
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			lines := strings.Split(strings.TrimSpace(d.Input), "\n")
			for _, line := range lines {
				if len(lines) > 1 {
					s.printf("> %s", line)
				}
				s.command(strings.Fields(line))
			}
			if s.out.Len() == 0 {
				return "ok\n"
			}
			return s.out.String()
		})
	})
}

type script struct {
	*cluster
	t     *testing.T
	out   strings.Builder
	quiet bool // messages, saves and applies are not worth a line
	held  []Message

	slow       *node         // does not finish installing a snapshot
	installing *SnapshotMeta // what it is at
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) command(words []string) {
	name, args := words[0], words[1:]
	if name == "cluster" {
		s.begin(args)
		return
	}
	switch name {
	case "deliver", "drop", "hold":
		s.wireCommand(name, args)
	case "release":
		s.wire, s.held = append(s.wire, s.held...), nil
	case "settle":
		s.settleQuietly(args)
	case "cut":
		var ids []NodeID
		for _, a := range args {
			ids = append(ids, s.id(a))
		}
		s.isolate(ids...)
	case "heal":
		s.heal()
	case "send":
		s.inject(args)
	case "status", "log", "disk", "wire":
		s.show(name, args)
	default:
		s.nodeCommand(name, s.cluster.node(s.id(args[0])), args[1:])
	}
	s.workAll()
}

func (s *script) id(word string) NodeID {
	n, err := strconv.ParseUint(word, 10, 64)
	require.NoError(s.t, err)
	return NodeID(n)
}

func (s *script) numbers(list string) (ns []uint64) {
	for _, word := range strings.Split(list, ",") {
		if word != "" {
			ns = append(ns, uint64(s.id(word)))
		}
	}
	return ns
}

// options splits k=v words off; numbers only, where there is a single one.
func options(words []string) (plain []string, opts map[string]string) {
	opts = map[string]string{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			opts[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	return plain, opts
}

func (s *script) begin(args []string) {
	plain, opts := options(args)
	n := int(s.id(plain[0]))
	var first []NodeID
	for _, id := range s.numbers(opts["voters"]) {
		first = append(first, NodeID(id))
	}
	for id := 1; id <= n && opts["voters"] == ""; id++ {
		first = append(first, NodeID(id))
	}
	genesis := Membership{Members: voters(first...)}
	if v, ok := opts["lease"]; ok {
		genesis.Lease = LeasePolicy{uint64(s.id(v)), DefaultDriftPPM}
	}
	s.cluster = newClusterOf(s.t, n, genesis, func(cfg *Config) {
		for key, field := range map[string]*int{
			"inflight": &cfg.MaxInflightMessages, "message": &cfg.MaxMessageBytes, "uncommitted": &cfg.MaxUncommittedBytes,
		} {
			if v, ok := opts[key]; ok {
				*field = int(s.id(v))
			}
		}
	})
	s.sees = func(m Message) {
		if !s.quiet {
			s.printf("%s", describeMessage(m))
		}
	}
}

func (s *script) nodeCommand(name string, n *node, args []string) {
	plain, opts := options(args)
	number := func(i int, otherwise uint64) uint64 {
		if i < len(plain) {
			return uint64(s.id(plain[i]))
		}
		return otherwise
	}
	number0 := func(key string) uint64 {
		if v, ok := opts[key]; ok {
			return uint64(s.id(v))
		}
		return 0
	}
	report := func(err error) {
		if err != nil {
			s.printf("refused: %v", err)
		}
	}
	target := func() NodeID { return NodeID(number(0, 0)) }
	switch name {
	case "load":
		hard := HardState{Term: number0("term"), Vote: NodeID(number0("vote")), Commit: number0("commit")}
		n.loadTerms(hard, s.numbers(opts["log"])...)
	case "tick":
		for range number(0, 1) {
			n.Tick()
			s.work(n)
		}
	case "pause":
		n.time += int64(number(0, 0)) * int64(time.Millisecond)
	case "rate":
		n.tick = int64(number(0, 0)) * int64(time.Millisecond)
	case "leases":
		policy := LeasePolicy{}
		if timeout := number(0, 0); timeout > 0 {
			policy = LeasePolicy{timeout, DefaultDriftPPM}
		}
		report(n.ProposeLease(policy))
	case "lease":
		switch left := (n.LeaseUntil() - n.time) / int64(time.Millisecond); {
		case n.LeaseUntil() == 0:
			s.printf("%d has no lease", n.cfg.ID)
		case left > 0:
			s.printf("%d has a lease for %d ms more", n.cfg.ID, left)
		default:
			s.printf("%d's lease ended %d ms ago", n.cfg.ID, -left)
		}
	case "timeout":
		n.electionDeadline = n.now + 1
		n.Tick()
	case "elect":
		s.quiet = true
		s.elect(n.cfg.ID)
		s.quiet = false
		s.printf("%d leads term %d", n.cfg.ID, n.Term())
	case "save":
		for again := true; again && len(n.inflight) > 0; again = len(plain) > 0 {
			s.sync(n)
		}
	case "stall", "unstall":
		n.stalled = name == "stall"
	case "crash":
		n.crash(nil)
	case "start":
		n.start()
	case "wipe":
		n.crash(nil)
		n.cfg.Incarnation++
		n.disk = disk{first: 1}
		n.start()
	case "snapshot":
		n.takeSnapshot(number(0, 0))
		s.printf("%d has a snapshot at %s, config {%s}, log from %d", n.cfg.ID, position(n.snapshot.Index, n.snapshot.Term),
			describeConfig(n.snapshot.Membership), n.Status().FirstIndex)
	case "taken":
		index, term, _ := strings.Cut(plain[0], "/")
		n.SnapshotTaken(SnapshotMeta{uint64(s.id(index)), uint64(s.id(term)), n.Membership()})
		s.printf("%d's newest snapshot is at %d", n.cfg.ID, n.Status().SnapshotIndex)
	case "slow":
		s.slow = n
	case "installed":
		meta := *s.installing
		s.slow, s.installing = nil, nil
		n.install(meta)
	case "propose":
		_, err := s.propose(n)
		report(err)
	case "read":
		s.printf("read %d, everything up to %d may have been acknowledged", s.read(n), s.reads[s.nextRead].floor)
	case "transfer":
		report(n.TransferLeadership(target()))
	case "add":
		report(n.AddLearner(Member{ID: target(), Incarnation: s.cluster.node(target()).cfg.Incarnation}))
	case "promote":
		report(n.Promote(target()))
	case "remove":
		report(n.Remove(target()))
	case "voters":
		var members []Member
		for _, id := range s.numbers(plain[0]) {
			members = append(members, Member{ID: NodeID(id), Incarnation: s.cluster.node(NodeID(id)).cfg.Incarnation})
		}
		report(n.ProposeMembership(members))
	default:
		s.t.Fatalf("unknown command %q", name)
	}
}

// wireCommand handles the messages on the wire at this moment.
func (s *script) wireCommand(name string, args []string) {
	var from, to NodeID
	kind, only := "", len(s.wire)
	for _, a := range args {
		if l, r, ok := strings.Cut(a, "->"); ok {
			from, to = s.end(l), s.end(r)
		} else if a == "first" {
			only = 1
		} else {
			kind = a
		}
	}
	var chosen, rest []Message
	for _, m := range s.wire {
		if len(chosen) < only && (from == 0 || m.From == from) && (to == 0 || m.To == to) && (kind == "" || messageNames[m.Type] == kind) {
			chosen = append(chosen, m)
		} else {
			rest = append(rest, m)
		}
	}
	s.wire = rest
	if len(chosen) == 0 {
		s.printf("no such message")
	}
	switch name {
	case "hold":
		s.held = append(s.held, chosen...)
	case "deliver":
		for _, m := range chosen {
			s.give(m)
			s.work(s.cluster.node(m.To))
		}
	}
}

func (s *script) end(word string) NodeID {
	if word == "*" {
		return 0
	}
	return s.id(word)
}

func (s *script) inject(args []string) {
	plain, opts := options(args)
	l, r, _ := strings.Cut(plain[0], "->")
	m := Message{From: s.id(l), To: s.id(r), Incarnation: 1}
	for typ, name := range messageNames {
		if name == plain[1] {
			m.Type = typ
		}
	}
	require.NotZero(s.t, m.Type, plain[1])
	for key, field := range map[string]*uint64{
		"term": &m.Term, "commit": &m.Commit, "round": &m.Round, "index": &m.Index, "logterm": &m.LogTerm,
		"hint": &m.Hint, "hintterm": &m.HintTerm, "read": &m.ReadID, "incarnation": &m.Incarnation,
	} {
		if v, ok := opts[key]; ok {
			*field = uint64(s.id(v))
		}
	}
	if index, term, ok := strings.Cut(opts["prev"], "/"); ok {
		m.Index, m.LogTerm = uint64(s.id(index)), uint64(s.id(term))
	}
	for i, term := range s.numbers(opts["entries"]) {
		m.Entries = append(m.Entries, entryOf(m.Index+1+uint64(i), term))
	}
	if index, term, ok := strings.Cut(opts["snapshot"], "/"); ok {
		m.Snapshot = &SnapshotMeta{Index: uint64(s.id(index)), Term: uint64(s.id(term)), Membership: s.cluster.node(m.To).Membership()}
	}
	m.Reject, m.Transfer = slices.Contains(plain, "reject"), slices.Contains(plain, "transfer")
	s.give(m)
}

// work performs what n asks for and prints it.
func (s *script) work(n *node) {
	for n.up && n.HasReady() {
		rd := n.Ready()
		s.printReady(n, &rd)
		if rd.Restore != nil && n == s.slow {
			s.installing, rd.Restore = rd.Restore, nil
		}
		n.perform(rd)
		n.check()
	}
}

func (s *script) workAll() {
	if s.cluster == nil {
		return
	}
	for _, n := range s.nodes {
		s.work(n)
	}
}

func (s *script) sync(n *node) {
	if !s.quiet {
		s.printf("%d has saved %s", n.cfg.ID, describeSave(&n.inflight[0].save))
	}
	n.sync()
	s.work(n)
}

// settleQuietly is cluster.settle, printing only transitions, reads and snapshots.
func (s *script) settleQuietly(args []string) {
	s.quiet = true
	defer func() { s.quiet = false }()
	ticks := 0
	if len(args) > 0 {
		ticks = int(s.id(args[0]))
	}
	s.flow()
	for range ticks {
		for _, n := range s.nodes {
			if n.up {
				n.Tick()
			}
		}
		s.flow()
	}
}

func (s *script) flow() {
	for moved := true; moved; {
		moved = false
		for _, n := range s.nodes {
			s.work(n)
			for n.up && len(n.inflight) > 0 && !n.stalled {
				s.sync(n)
				moved = true
			}
		}
		for len(s.wire) > 0 {
			m := s.wire[0]
			s.wire = s.wire[1:]
			s.give(m)
			moved = true
		}
	}
}

func (s *script) printReady(n *node, rd *Ready) {
	id := n.cfg.ID
	if c := rd.Change; c != nil {
		s.printf("%d is %v in term %d, leader %s (%s)", id, c.Role, c.Term, nobody(c.Leader), c.Cause)
	}
	if rd.MembershipChanged != nil {
		s.printf("%d counts by {%s}", id, describeConfig(*rd.MembershipChanged))
	}
	for _, r := range rd.Reads {
		if r.Failed {
			s.printf("read %d fails", r.ID)
		} else {
			s.printf("read %d is served at index %d", r.ID, r.Index)
		}
	}
	for _, to := range rd.SendSnapshot {
		s.printf("%d sends %d a snapshot", id, to)
	}
	if rd.Restore != nil {
		s.printf("%d installs the snapshot at %s, config {%s}", id, position(rd.Restore.Index, rd.Restore.Term), describeConfig(rd.Restore.Membership))
	}
	if s.quiet {
		return
	}
	if rd.Save != nil {
		s.printf("%d saves %s", id, describeSave(rd.Save))
	}
	for _, m := range rd.SendAfterSave {
		s.printf("  after that: %s", describeMessage(m))
	}
	if len(rd.Apply) > 0 {
		s.printf("%d applies %s", id, describeEntries(rd.Apply))
	}
}

func (s *script) show(what string, args []string) {
	switch what {
	case "wire":
		for _, m := range s.wire {
			s.printf("%s", describeMessage(m))
		}
		return
	case "log":
		n := s.cluster.node(s.id(args[0]))
		var terms []string
		for i := n.Status().FirstIndex; i <= n.LastIndex(); i++ {
			term, _ := n.log.term(i)
			terms = append(terms, position(i, term))
		}
		s.printf("%s", strings.Join(terms, " "))
		return
	case "disk":
		d := &s.cluster.node(s.id(args[0])).disk
		s.printf("term %d vote %s log %s", d.hard.Term, nobody(d.hard.Vote), describeEntries(d.entries))
		return
	}
	for _, n := range s.nodes {
		if len(args) > 0 && !slices.Contains(args, fmt.Sprint(n.cfg.ID)) {
			continue
		}
		if !n.up {
			s.printf("%d is down", n.cfg.ID)
			continue
		}
		st := n.Status()
		s.printf("%d %-9v term %d vote %s leader %s  log %d..%d durable %d commit %d  {%s}", n.cfg.ID, st.Role, st.Term,
			nobody(n.vote), nobody(st.Leader), st.FirstIndex, st.LastIndex, st.DurableIndex, st.Commit, describeConfig(st.Membership))
		for _, p := range n.peers {
			s.printf("    %d: %v match %d next %d, %d bytes in flight", p.member.ID, p.State, p.Match, p.Next, p.InflightBytes())
		}
	}
}

var messageNames = map[MessageType]string{
	MsgPreVote: "PreVote", MsgPreVoteResp: "PreVoteResp", MsgVote: "Vote", MsgVoteResp: "VoteResp",
	MsgAppend: "Append", MsgAppendResp: "AppendResp", MsgHeartbeat: "Heartbeat", MsgHeartbeatResp: "HeartbeatResp",
	MsgReadIndex: "ReadIndex", MsgReadIndexResp: "ReadIndexResp", MsgTimeoutNow: "TimeoutNow",
	MsgSnapshot: "Snapshot", MsgSnapshotResp: "SnapshotResp",
}

func describeMessage(m Message) string {
	words := []string{fmt.Sprintf("%d->%d %s term %d", m.From, m.To, messageNames[m.Type], m.Term)}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if m.Reject {
		add("refused")
	}
	switch m.Type {
	case MsgPreVote, MsgVote:
		add("last %s", position(m.Index, m.LogTerm))
	case MsgPreVoteResp, MsgVoteResp:
		if !m.Reject {
			add("granted")
		}
	case MsgAppend:
		add("prev %s %s commit %d", position(m.Index, m.LogTerm), describeEntries(m.Entries), m.Commit)
	case MsgAppendResp:
		if m.Reject {
			add("at %d, hint %s", m.Index, position(m.Hint, m.HintTerm))
		} else {
			add("match %d", m.Index)
		}
	case MsgHeartbeat:
		add("commit %d", m.Commit)
	case MsgHeartbeatResp, MsgSnapshotResp:
		add("match %d", m.Index)
	case MsgReadIndexResp, MsgReadIndex:
		add("read %d index %d", m.ReadID, m.Index)
	case MsgSnapshot:
		add("at %s", position(m.Snapshot.Index, m.Snapshot.Term))
	}
	if m.Round > 0 {
		add("round %d", m.Round)
	}
	if m.Transfer {
		add("by order of the leader")
	}
	return strings.Join(words, " ")
}

// position is index/term, as in figures of the thesis.
func position(index, term uint64) string { return fmt.Sprintf("%d/t%d", index, term) }

func describeEntries(es []Entry) string {
	if len(es) == 0 {
		return "[]"
	}
	var words []string
	for i := range es {
		word := position(es[i].Index, es[i].Term)
		if es[i].Type == EntryConfig {
			if config, err := DecodeMembership(es[i].Body); err == nil {
				word += "{" + describeConfig(config) + "}"
			}
		}
		words = append(words, word)
	}
	return "[" + strings.Join(words, " ") + "]"
}

func describeSave(s *Save) string {
	var words []string
	if s.HardState != nil {
		words = append(words, fmt.Sprintf("term %d vote %s commit %d", s.HardState.Term, nobody(s.HardState.Vote), s.HardState.Commit))
	}
	if len(s.Entries) > 0 {
		words = append(words, describeEntries(s.Entries))
	}
	return strings.Join(words, " ")
}

func describeConfig(m Membership) string {
	list := func(members []Member) string {
		var words []string
		for _, member := range members {
			word := fmt.Sprint(member.ID)
			if member.Incarnation != 1 {
				word += fmt.Sprintf(".%d", member.Incarnation)
			}
			if member.Learner {
				word += "L"
			}
			words = append(words, word)
		}
		return strings.Join(words, " ")
	}
	out := list(m.Members)
	if m.Lease.On() {
		out += fmt.Sprintf(", lease %d ms", m.Lease.TimeoutMillis)
	}
	if m.Joint() {
		out += " and " + list(m.Outgoing)
	}
	return out
}

func nobody(id NodeID) string {
	if id == 0 {
		return "-"
	}
	return fmt.Sprint(id)
}
