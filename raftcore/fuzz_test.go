package raftcore

import (
	"encoding/binary"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStep: whatever peers say and drivers report, in whatever order, nothing
// panics and the node does not contradict itself. The bytes are decoded into
// inputs with small numbers, so that they hit each other, and some huge ones.
func FuzzStep(f *testing.F) {
	f.Add([]byte("a first seed that is long enough to hold some messages, and then some more of them"))
	f.Add([]byte{5, 1, 1, 1, 0, 0, 0, 3, 0, 9, 5, 1, 1, 1, 0, 0, 2, 2, 0, 9, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzNode(t, &reader{data: data})
	})
}

type reader struct{ data []byte }

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) number() uint64 {
	switch b := r.byte(); {
	case b < 250:
		return uint64(b % 12)
	case b == 250:
		return 1 << 62
	case b == 251:
		return ^uint64(0)
	default:
		return uint64(b)
	}
}

func (r *reader) message() Message {
	flags := r.byte()
	m := Message{
		Type: MessageType(r.byte()%15) + MessageType(flags>>7), From: NodeID(r.number() % 5), To: 1, Incarnation: 1,
		Term: r.number(), LogTerm: r.number(), Index: r.number(), Commit: r.number(), Round: r.number(),
		ReadID: r.number(), Reject: flags&1 != 0, Transfer: flags&2 != 0, Hint: r.number(), HintTerm: r.number(),
	}
	if m.Type == MsgAppend || flags&4 != 0 {
		for i := range r.byte() % 5 {
			e := Entry{Term: m.LogTerm + r.number()%3, Index: m.Index + 1 + uint64(i), Type: EntryType(r.byte() % 4)}
			if flags&8 != 0 {
				e.Index, e.Term = r.number(), r.number()
			}
			e.Body = r.take(int(r.byte() % 8))
			if e.Type == EntryConfig && flags&16 != 0 {
				e.Body = EncodeMembership(r.membership())
			}
			e.CRC = Checksum(e.Term, e.Index, e.Type, e.Body)
			m.Entries = append(m.Entries, e)
		}
	}
	if m.Type == MsgSnapshot && flags&32 == 0 {
		m.Snapshot = &SnapshotMeta{Index: r.number(), Term: r.number(), Membership: r.membership()}
	}
	return m
}

func (r *reader) take(n int) []byte {
	n = min(n, len(r.data))
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) membership() (m Membership) {
	bits := r.byte()
	if bits&15 == 7 {
		m.Lease = LeasePolicy{r.number(), r.number()}
	}
	for id := NodeID(1); id <= 4; id++ {
		if bits&(1<<(id-1)) != 0 {
			m.Members = append(m.Members, Member{ID: id, Incarnation: 1, Learner: bits&(16<<(id-1)) != 0})
		}
	}
	return m
}

func fuzzNode(t *testing.T, r *reader) {
	core, err := New(Config{
		ID: 1, Incarnation: 1, ElectionTicks: 4, WindowBytes: 200, MaxUnappliedBytes: 200, MaxMessageBytes: 120, AutoPromote: true,
		Snapshot: SnapshotMeta{Membership: Membership{Members: voters(1, 2, 3)}},
	})
	require.NoError(t, err)
	var saved uint64
	var fetches []Fetch
	for range 400 {
		if len(r.data) == 0 {
			return
		}
		switch r.byte() % 16 {
		case 0:
			core.SetTime(int64(r.number()) << 22) // some ms to a second
			core.Tick()
		case 1:
			_, _ = core.Propose(EntryType(r.byte()), binary.LittleEndian.AppendUint64(nil, r.number()))
		case 2:
			core.Saved(min(r.number(), saved))
		case 3:
			core.Applied(r.number())
		case 4:
			core.SnapshotTaken(SnapshotMeta{r.number(), r.number(), r.membership()})
			core.Compacted(r.number())
		case 5:
			if core.restore != nil {
				core.Restored(core.restore.meta)
			}
			core.Restored(SnapshotMeta{Index: r.number()})
		case 6:
			core.SnapshotSent(NodeID(r.number()), r.number(), r.byte()%2 == 0)
		case 7:
			_ = core.TransferLeadership(NodeID(r.number()))
			core.SetCampaignAllowed(r.byte()%4 != 0, "fuzz")
		case 8:
			_ = core.ProposeMembership(r.membership().Members)
			_ = core.Promote(NodeID(r.number()))
			_ = core.Remove(NodeID(r.number()))
			_ = core.ProposeLease(LeasePolicy{r.number(), r.number()})
		case 9:
			core.ReadIndex(r.number())
		case 10:
			for _, f := range fetches {
				core.Fetched(f, r.message().Entries, nil)
			}
			fetches = nil
		case 11, 12:
			ready := core.Ready()
			if ready.Save != nil {
				saved = ready.Save.ID
			}
			fetches = append(fetches, ready.Fetch...)
		default:
			core.Step(r.message())
		}
		_ = core.Status()
		require.NoError(t, core.CheckInvariants())
	}
}

// TestStepNeverPanics runs FuzzStep's body on plain random bytes, as a part of
// every test run.
func TestStepNeverPanics(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 3000 {
		data := make([]byte, 20+rng.Intn(3000))
		rng.Read(data)
		fuzzNode(t, &reader{data: data})
	}
}
