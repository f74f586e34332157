package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
)

// A log with damage in its middle is repaired before the node takes part in
// anything: until every lost entry is back the node is, for its peers, down. It
// neither votes nor acknowledges nor leads, so nothing it might have forgotten can
// be decided without it (promise 5, DESIGN 15). Only its peer port is open, and
// answers other nodes that repair theirs.

// entrySource answers for one entry of the log: an open log, or one being repaired.
type entrySource interface {
	// EntryAt returns an entry, and the term of the entry at anchor (0: unknown), as
	// of one moment.
	EntryAt(index, anchor uint64) (e raftcore.Entry, anchorTerm uint64, err error)
}

// repairSource is the readable part of a damaged log.
type repairSource struct{ *segmentlog.Repair }

// EntryAt implements entrySource.
func (r repairSource) EntryAt(index, anchor uint64) (raftcore.Entry, uint64, error) {
	e, term, ok := r.Entry(index, anchor)
	if !ok {
		return e, 0, errDamagedHere
	}
	return e, term, nil
}

var errDamagedHere = errors.New("damaged here, too")

// Of a call for an entry, and for a snapshot.
const (
	callEntry    = "entry"    // ID is the index, Anchor, Offset
	callSnapshot = "snapshot" // ID is the index that it has to reach
	// entryPiece is how much of a body one answer carries.
	entryPiece = 1 << 20
	// tailPatience bounds how long a node looks for entries it can also do without.
	tailPatience = 2 * time.Second
	repairRetry  = 100 * time.Millisecond
)

// Answers to a call for an entry.
const (
	entryHere  = "here"
	entryLater = "later" // ask again: not started, or not that far
	entryGone  = "gone"  // compacted, or damaged there, too
)

// entryReply is one piece of an entry.
type entryReply struct {
	State      string
	Term       uint64
	Type       uint8
	CRC        uint32
	Length     int
	Body       []byte // from the offset asked for
	AnchorTerm uint64
}

// answerEntry serves a peer that repairs its log.
func (n *Node) answerEntry(c call) *entryReply {
	src := n.entries.Load()
	if src == nil || c.Cluster != n.clusterID {
		return &entryReply{State: entryLater}
	}
	e, anchorTerm, err := (*src).EntryAt(uint64(c.ID), c.Anchor)
	switch {
	case errors.Is(err, segmentlog.ErrUnavailable), errors.Is(err, segmentlog.ErrClosed):
		return &entryReply{State: entryLater}
	case err != nil || c.Offset < 0 || c.Offset > len(e.Body):
		return &entryReply{State: entryGone}
	}
	return &entryReply{
		State: entryHere, Term: e.Term, Type: uint8(e.Type), CRC: e.CRC, Length: len(e.Body),
		Body: e.Body[c.Offset:min(c.Offset+entryPiece, len(e.Body))], AnchorTerm: anchorTerm,
	}
}

// openLog opens the log, repairing it first if need be and if peers can. The result's
// meta is the newest snapshot's: it is another one than before if the log had to be
// replaced by a peer's.
func (n *Node) openLog(ctx context.Context, o segmentlog.Options, meta raftcore.SnapshotMeta) (segmentlog.Recovered, raftcore.SnapshotMeta, error) {
	wal, rec, err := segmentlog.Open(o)
	var damage *segmentlog.CorruptionError
	switch {
	case errors.As(err, &damage) && damage.Cause == nil && !o.Inline:
		if meta, err = n.repairLog(ctx, o, meta, false); err != nil {
			return rec, meta, err
		}
		wal, rec, err = segmentlog.Open(o)
	case err == nil && rec.Suspect != nil && !o.Inline:
		// What can be identified of the ambiguous tail is better fetched than voted
		// about; what cannot is left to raftcore.
		if err := wal.Close(); err != nil {
			return rec, meta, err
		}
		short, cancel := context.WithTimeout(ctx, tailPatience)
		if _, err := n.repairLog(short, o, meta, true); err != nil {
			n.log.Warn("the ambiguous end of the log was not refetched", "error", err)
		}
		cancel()
		wal, rec, err = segmentlog.Open(o)
	}
	if err != nil {
		return rec, meta, err
	}
	n.wal = wal
	n.serveEntries(wal)
	return rec, meta, nil
}

func (n *Node) serveEntries(src entrySource) { n.entries.Store(&src) }

// repairLog fills every hole from whoever has the entries. It waits for peers that
// do not answer. When all of them have answered and none has the entries any more, a
// snapshot takes the place of the damaged part (replacement.go), but for that of the
// tail, which can be done without.
func (n *Node) repairLog(ctx context.Context, o segmentlog.Options, meta raftcore.SnapshotMeta, tail bool) (raftcore.SnapshotMeta, error) {
	r, err := segmentlog.Survey(o.FS, o.Dir, tail)
	if err != nil {
		return meta, err
	}
	n.serveEntries(repairSource{r})
	peers := n.repairPeers(r, meta)
	started := n.cfg.Now()
	holes := len(r.Holes())
	for len(r.Holes()) > 0 {
		h := r.Holes()[0]
		n.log.Warn("the log is damaged; fetching what is lost from peers", "file", h.File, "offset", h.From,
			"first", h.First, "last", h.Last, "found", h.Err().Found)
		err := n.fill(ctx, r, h, peers)
		if errors.Is(err, errNobodyHas) && !tail {
			meta, err = n.replaceLog(ctx, r, h, meta, peers)
		}
		if err != nil {
			return meta, err
		}
	}
	if holes > 0 {
		n.log.Info("the log is repaired", "holes", holes, "took", n.cfg.Now().Sub(started).Round(time.Millisecond).String())
	}
	return meta, nil
}

// repairPeers are the addresses of all other members that this directory knows.
func (n *Node) repairPeers(r *segmentlog.Repair, meta raftcore.SnapshotMeta) []string {
	all := []raftcore.Membership{meta.Membership}
	for _, e := range r.Configs() {
		if m, err := raftcore.DecodeMembership(e.Body); err == nil {
			all = append(all, m)
		}
	}
	var addrs []string
	seen := map[string]bool{n.cfg.PeerAddr: true}
	for i := len(all) - 1; i >= 0; i-- { // the newest first
		for _, list := range [][]raftcore.Member{all[i].Members, all[i].Outgoing} {
			for _, m := range list {
				if m.ID != n.identity.Node && !seen[m.PeerAddr] {
					seen[m.PeerAddr] = true
					addrs = append(addrs, m.PeerAddr)
				}
			}
		}
	}
	return addrs
}

// errNobodyHas refuses the start.
var errNobodyHas = errors.New("no other member can supply it")

func (n *Node) fill(ctx context.Context, r *segmentlog.Repair, h *segmentlog.Hole, peers []string) error {
	if h.Last < h.First {
		return r.Fill(h, nil)
	}
	refusal := func(err error) error {
		return fmt.Errorf("%w (entries %d to %d: %w)", h.Err(), h.First, h.Last, err)
	}
	lastWord := n.cfg.Now()
	for {
		gone := 0
		for _, addr := range peers {
			entries, state, err := n.fetchRun(ctx, addr, h)
			if state == entryHere {
				if err = r.Fill(h, entries); err == nil {
					return nil
				}
				if !errors.Is(err, segmentlog.ErrMismatch) {
					return refusal(err)
				}
				state = entryGone
			}
			if err != nil {
				n.log.Debug("peer cannot supply entries", "peer", addr, "first", h.First, "last", h.Last, "error", err)
			}
			if state == entryGone {
				gone++
			}
		}
		if gone == len(peers) {
			return refusal(errNobodyHas)
		}
		if now := n.cfg.Now(); now.Sub(lastWord) > 2*time.Second {
			lastWord = now
			n.log.Warn("waiting for a member that has what this log lost; this node takes no part until then",
				"first", h.First, "last", h.Last, "cannot_help", gone, "members", peers)
		}
		if err := sleep(ctx, repairRetry); err != nil {
			return refusal(err)
		}
	}
}

// fetchRun asks one peer for all entries of a hole.
func (n *Node) fetchRun(ctx context.Context, addr string, h *segmentlog.Hole) (entries []raftcore.Entry, state string, err error) {
	for i := h.First; i <= h.Last; i++ {
		e, state, err := n.fetchEntry(ctx, addr, i, h)
		if state != entryHere || err != nil {
			return nil, state, err
		}
		entries = append(entries, e)
	}
	return entries, entryHere, nil
}

// fetchEntry asks one peer for one entry, piece by piece. The peer must have the
// hole's anchor at the same moment: only then is its entry ours.
func (n *Node) fetchEntry(ctx context.Context, addr string, index uint64, h *segmentlog.Hole) (e raftcore.Entry, state string, err error) {
	e.Index = index
	for {
		r, err := n.askSoon(ctx, addr, call{
			Kind: callEntry, From: n.self(), Cluster: n.clusterID,
			ID: raftcore.NodeID(index), Anchor: h.Anchor, Offset: len(e.Body),
		})
		switch {
		case err != nil:
			return e, entryLater, err
		case r.Entry == nil || r.Entry.State == entryLater:
			return e, entryLater, nil
		case r.Entry.State != entryHere || r.Entry.AnchorTerm != h.AnchorTerm && r.Entry.AnchorTerm != 0:
			return e, entryGone, nil
		case r.Entry.AnchorTerm == 0:
			return e, entryLater, nil // it has the entry, but not what proves it
		}
		p := r.Entry
		if len(e.Body) > 0 && (p.Term != e.Term || p.CRC != e.CRC) || len(p.Body) == 0 && len(e.Body) < p.Length {
			return e, entryLater, nil // changed between two pieces
		}
		e.Term, e.Type, e.CRC = p.Term, raftcore.EntryType(p.Type), p.CRC
		if e.Body = append(e.Body, p.Body...); len(e.Body) >= p.Length {
			return e, entryHere, nil
		}
	}
}
