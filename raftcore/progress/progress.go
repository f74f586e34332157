package progress

// State is how a member is being fed.
type State uint8

// States, see the package comment.
const (
	Probe State = iota
	Replicate
	Snapshot
)

// String is the name shown in INFO raft.
func (s State) String() string {
	switch s {
	case Replicate:
		return "replicate"
	case Snapshot:
		return "snapshot"
	}
	return "probe"
}

// Progress is a leader's view of one member's log, valid for one term.
type Progress struct {
	// Match is the highest index known to be durable on the member and equal to
	// the leader's. Within a term only Forget decreases it. Match < Next.
	Match uint64
	// Next is the index of the first entry to send. In Replicate it runs ahead of
	// what has been acknowledged.
	Next  uint64
	State State
	// Pending is the index of the snapshot on its way while in Snapshot.
	Pending uint64

	paused   bool // Probe: a message is out, wait for the answer or a heartbeat's
	again    bool // Probe: a message went unanswered
	inflight Inflight
}

// New returns the progress of a member of which nothing is known; next is where
// probing starts.
func New(next uint64, maxMessages, maxBytes int) Progress {
	return Progress{Next: max(next, 1), inflight: Inflight{maxMessages: maxMessages, maxBytes: maxBytes}}
}

// Ready reports whether a message with entries may be sent now.
func (p *Progress) Ready() bool {
	switch p.State {
	case Replicate:
		return !p.inflight.full()
	case Probe:
		return !p.paused
	}
	return false
}

// Room is how many more bytes of entries the window takes. The window admits the
// message that crosses its bound, so that one large entry always fits.
func (p *Progress) Room() int { return max(p.inflight.maxBytes-p.inflight.bytes, 0) }

// InflightBytes and InflightMessages are what was sent and not acknowledged.
func (p *Progress) InflightBytes() int    { return p.inflight.bytes }
func (p *Progress) InflightMessages() int { return len(p.inflight.queue) }

// Sent records a message with entries up to and including last; bytes is their
// size. For a message without entries last is Next-1 and bytes zero.
func (p *Progress) Sent(last uint64, bytes int) {
	switch p.State {
	case Replicate:
		if last >= p.Next {
			p.Next = last + 1
			p.inflight.add(last, bytes)
		}
	case Probe:
		p.paused = true
	}
}

// Accepted records that the member's log matches durably up to match, and
// reports whether that is news. A probing member starts to stream once its answer
// reaches the probe; a smaller match says nothing about where its log ends.
func (p *Progress) Accepted(match uint64) bool {
	news, found := match > p.Match, p.State == Probe && match+1 >= p.Next
	if news {
		p.Match = match
		p.inflight.freeTo(match)
	}
	p.Next = max(p.Next, p.Match+1)
	if found {
		p.replicate()
	}
	return news
}

// Rejected records that the member does not have the entry at index rejected, and
// that a match is possible at hint at best. It reports whether the answer was
// believed: late ones, about what has been settled since, are not (R10).
func (p *Progress) Rejected(rejected, hint uint64) bool {
	switch p.State {
	case Replicate:
		if rejected <= p.Match || rejected >= p.Next {
			return false
		}
		p.Probe(p.Match + 1)
		p.Next = max(min(rejected, hint+1), p.Match+1)
	case Probe:
		if rejected != p.Next-1 || rejected <= p.Match {
			return false
		}
		p.Next = max(min(rejected, hint+1), p.Match+1)
		p.paused, p.again = false, false
	default:
		return false
	}
	return true
}

// Forget records that the member lost what it acknowledged above match, to damage
// that it found itself, and reports whether that is news. Commit indexes that
// counted it stand: the entries are elsewhere, or the member votes for nobody
// without them.
func (p *Progress) Forget(match uint64) bool {
	if match >= p.Match {
		return false
	}
	p.Match = match
	p.Probe(match + 1)
	return true
}

// Probe returns to probing from next, but never below what is known to match.
func (p *Progress) Probe(next uint64) {
	p.State, p.Pending, p.paused, p.again = Probe, 0, false, false
	p.Next = max(next, p.Match+1)
	p.inflight.reset()
}

// Pause holds a probe back until Resume.
func (p *Progress) Pause() { p.paused = true }

// Resume allows another probe: the member is alive, so the last one was lost, or it cannot
// answer yet.
func (p *Progress) Resume() { p.again, p.paused = p.again || p.paused, false }

// Again reports whether a probe went unanswered: the next should be a small one, for so
// may that.
func (p *Progress) Again() bool { return p.again }

// SendSnapshot stops sending entries until the snapshot at index has been sent.
func (p *Progress) SendSnapshot(index uint64) {
	p.Probe(p.Match + 1)
	p.State, p.Pending = Snapshot, index
}

func (p *Progress) replicate() {
	p.State, p.paused, p.again = Replicate, false, false
	p.Next = p.Match + 1
	p.inflight.reset()
}
