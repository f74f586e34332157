package raftcore

import (
	"errors"

	"github.com/rkvdb/rkv/raftcore/progress"
)

// fetchFactor: a member behind the memory window is fed from the log by reads of
// this many messages' worth, so the disk is asked rarely and memory stays small.
const fetchFactor = 4

// flush writes the leader's messages: once per Ready, so that all proposals of a
// loop turn share one frame per member.
func (c *Core) flush() {
	if !c.dirty {
		return
	}
	c.dirty, c.spareAt = false, 0
	if c.role != Leader {
		return
	}
	c.chooseSpares()
	var matches []uint64
	for _, p := range c.peers {
		if c.beatDue(p) {
			if matches == nil {
				matches = c.voterMatches()
			}
			c.sendHeartbeat(p, matches)
		}
		if !c.rests(p) {
			c.replicate(p)
		}
	}
	c.roundSent, c.beatAll = c.round, false
	c.spareAt = c.nextSpare()
}

// sendHeartbeat asserts leadership and asks for an echo. The commit index is
// clipped to what the receiver is known to have (R8).
func (c *Core) sendHeartbeat(p *peer, matches []uint64) {
	commit := min(p.Match, c.log.commit)
	p.roundSent, p.beatAt = c.round, c.clock
	p.commitSent = max(p.commitSent, commit)
	c.send(Message{Type: MsgHeartbeat, To: p.member.ID, Commit: commit, Round: c.round, Matches: matches})
}

// replicate sends p what it may be sent now.
func (c *Core) replicate(p *peer) {
	if p.State == progress.Probe {
		c.probe(p)
		return
	}
	for p.Ready() && p.Next <= c.log.last && p.State == progress.Replicate && !c.paced(p) {
		if p.Next < c.log.winFirst() {
			c.fetchFor(p)
			break
		}
		entries, bytes := c.log.slice(p.Next, c.log.last+1, c.cfg.MaxMessageBytes)
		c.sendAppend(p, entries, bytes)
	}
	// A follower answers its clients from its own apply: tell it at once what
	// has committed, if nothing else goes there (DESIGN 3).
	if p.State == progress.Replicate && (p.probeDue || c.noticeDue(p)) {
		c.sendAppend(p, nil, 0)
	}
	p.probeDue = false
}

// noticeDue reports whether p is to be told of a new commit index in a message of its
// own. Under load the next entries bring it, and a notice for each costs both sides
// more than it is worth: unless p waits for just that entry, notices keep
// Config.NoticeInterval from whatever told it before. A tick sees to the last one.
func (c *Core) noticeDue(p *peer) bool {
	if p.commitSent >= min(c.log.commit, p.Next-1) {
		return false
	}
	return p.commitSent < p.awaits || c.clock-p.toldAt >= c.cfg.NoticeInterval
}

// Awaits says that a member waits for the commitment of an entry, as its clients' units
// are in it: it gets it, and will be told, at once.
func (c *Core) Awaits(id NodeID, index uint64) {
	if p := c.peer(id); p != nil && c.role == Leader {
		p.awaits = max(p.awaits, index)
		c.dirty = true
	}
}

// probe sends one message to find out where p's log ends. Entries ride along if
// they are at hand; the disk is not asked for what may be refused, and what had no answer
// is not sent again: a member that loads a snapshot answers heartbeats all the time.
func (c *Core) probe(p *peer) {
	if !p.Ready() {
		return
	}
	if p.Next < c.log.first {
		c.sendSnapshot(p)
		return
	}
	var entries []Entry
	var bytes int
	if p.Next >= c.log.winFirst() && p.Next <= c.log.last && !p.Again() {
		entries, bytes = c.log.slice(p.Next, c.log.last+1, c.cfg.MaxMessageBytes)
	}
	c.sendAppend(p, entries, bytes)
}

// sendAppend sends entries that begin at p.Next (or none). It falls back to a
// snapshot if the term before them is no longer known (R12).
func (c *Core) sendAppend(p *peer, entries []Entry, bytes int) {
	prev := p.Next - 1
	prevTerm, known := c.log.term(prev)
	if !known {
		c.sendSnapshot(p)
		return
	}
	last := prev + uint64(len(entries))
	p.Sent(last, bytes)
	c.feeds(p, bytes)
	p.commitSent, p.toldAt = max(p.commitSent, min(c.log.commit, last)), c.clock
	c.send(Message{
		Type: MsgAppend, To: p.member.ID, Index: prev, LogTerm: prevTerm,
		Entries: entries, Commit: c.log.commit, Round: c.round,
	})
}

func (c *Core) sendSnapshot(p *peer) {
	p.SendSnapshot(c.snapshot.Index)
	c.out.SendSnapshot = append(c.out.SendSnapshot, p.member.ID)
}

// SnapshotSent reports the end of a stream asked for by Ready.SendSnapshot: index
// is the snapshot's. If it went through, the log goes on from there; if not,
// another attempt follows when the member answers a heartbeat.
func (c *Core) SnapshotSent(to NodeID, index uint64, ok bool) {
	p := c.peer(to)
	if p == nil || p.State != progress.Snapshot {
		return
	}
	if ok && index <= c.log.last {
		p.Probe(index + 1)
	} else {
		p.Probe(p.Match + 1)
		p.Pause()
	}
	c.dirty = true
}

// fetchFor asks the driver for entries that left the window, one read at a time.
func (c *Core) fetchFor(p *peer) {
	if p.fetching != 0 {
		return
	}
	if p.Next < c.log.first {
		c.sendSnapshot(p)
		return
	}
	p.fetching = p.Next
	c.out.Fetch = append(c.out.Fetch, Fetch{
		To: p.member.ID, Lo: p.Next, Hi: c.log.winFirst(),
		MaxBytes: max(min(fetchFactor*c.cfg.MaxMessageBytes, p.Room()), 1),
	})
}

// Fetched answers a Fetch. entries begin at f.Lo and are contiguous; the core
// takes ownership. err wraps ErrCompacted if the log no longer has f.Lo; any
// other error is taken for passing, and the Fetch comes again.
func (c *Core) Fetched(f Fetch, entries []Entry, err error) {
	if err == nil && !c.ourEntries(f, entries) {
		err = ErrIntegrity
	}
	if f.To == c.id {
		c.fetchedForApply(f, entries, err)
		return
	}
	p := c.peer(f.To)
	if p == nil || p.fetching != f.Lo {
		return
	}
	p.fetching = 0
	switch {
	case p.State != progress.Replicate || p.Next != f.Lo:
	case errors.Is(err, ErrCompacted):
		c.sendSnapshot(p)
	case err != nil:
		p.Probe(p.Next) // and so again when it answers a heartbeat
		p.Pause()
	default:
		c.streamFetched(p, entries)
	}
	c.dirty = true
}

// ourEntries guards against answers overtaken by a truncation: an entry is what
// the log means only if its term is the one the log has there.
func (c *Core) ourEntries(f Fetch, entries []Entry) bool {
	for i := range entries {
		if e := &entries[i]; e.Index != f.Lo+uint64(i) || !c.log.matches(e.Index, e.Term) {
			return false
		}
	}
	return len(entries) > 0
}

func (c *Core) streamFetched(p *peer, entries []Entry) {
	for len(entries) > 0 && p.Ready() && p.State == progress.Replicate {
		n, bytes := 0, 0
		for n < len(entries) && (n == 0 || bytes+entries[n].Size() <= c.cfg.MaxMessageBytes) {
			bytes += entries[n].Size()
			n++
		}
		c.sendAppend(p, entries[:n:n], bytes)
		entries = entries[n:]
	}
}
