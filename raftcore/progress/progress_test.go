package progress

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestProbeSendsOneMessageAtATime(t *testing.T) {
	p := New(11, 4, 100)
	require.True(t, p.Ready())
	p.Sent(15, 40)
	require.False(t, p.Ready())
	require.EqualValues(t, 11, p.Next, "a probe proves nothing until it is answered")
	require.False(t, p.Again())
	p.Resume()
	require.True(t, p.Ready())
	require.True(t, p.Again())
	require.True(t, p.Rejected(10, 5))
	require.False(t, p.Again(), "an answer")
}

func TestReplicateStreamsUntilTheWindowIsFull(t *testing.T) {
	p := New(1, 2, 100)
	p.Accepted(0)
	require.Equal(t, Replicate, p.State)
	p.Sent(1, 10)
	p.Sent(2, 10)
	require.False(t, p.Ready(), "bounded by count")
	require.True(t, p.Accepted(1))
	require.True(t, p.Ready())
	p.Sent(3, 95)
	require.False(t, p.Ready(), "bounded by bytes")
	require.Zero(t, p.Room())
	require.True(t, p.Accepted(3))
	require.Zero(t, p.InflightBytes())
	require.Zero(t, p.InflightMessages())
}

func TestProbeIsAnsweredOnlyByAMatchThatReachesIt(t *testing.T) {
	p := New(100, 4, 100)
	p.Accepted(7)
	require.Equal(t, Probe, p.State)
	require.EqualValues(t, 100, p.Next)
	p.Accepted(99)
	require.Equal(t, Replicate, p.State)
}

func TestStaleRejectIsIgnored(t *testing.T) { // R10
	p := New(1, 4, 100)
	p.Accepted(10)
	require.False(t, p.Rejected(3, 0))
	require.Equal(t, Replicate, p.State)
	require.EqualValues(t, 11, p.Next)
}

func TestRejectNeverGoesBelowMatch(t *testing.T) {
	p := New(1, 4, 100)
	p.Accepted(10)
	p.Sent(20, 1)
	require.True(t, p.Rejected(20, 4))
	require.Equal(t, Probe, p.State)
	require.EqualValues(t, 11, p.Next)
	require.Zero(t, p.InflightBytes())
}

func TestSnapshotHoldsEverythingBack(t *testing.T) {
	p := New(5, 4, 100)
	p.SendSnapshot(30)
	require.False(t, p.Ready())
	p.Probe(31)
	require.True(t, p.Ready())
	require.EqualValues(t, 31, p.Next)
}

func TestInvariantsUnderAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(rapid.Uint64Range(0, 20).Draw(t, "next"), 3, 50)
		last := uint64(30)
		match := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				if p.Ready() && p.Next <= last {
					to := rapid.Uint64Range(p.Next, last).Draw(t, "to")
					p.Sent(to, int(to-p.Next+1)*7)
				}
			},
			"accept": func(t *rapid.T) {
				m := rapid.Uint64Range(0, last).Draw(t, "match")
				match = max(match, m)
				p.Accepted(m)
			},
			"reject": func(t *rapid.T) {
				p.Rejected(rapid.Uint64Range(0, last).Draw(t, "index"), rapid.Uint64Range(0, last).Draw(t, "hint"))
			},
			"snapshot": func(*rapid.T) { p.SendSnapshot(last) },
			"probe":    func(t *rapid.T) { p.Probe(rapid.Uint64Range(0, last).Draw(t, "next")) },
			"resume":   func(*rapid.T) { p.Resume() },
			"": func(t *rapid.T) {
				require.Equal(t, match, p.Match, "match is the best acknowledged")
				require.Less(t, p.Match, p.Next)
				require.LessOrEqual(t, p.InflightMessages(), 3)
				if p.InflightMessages() == 0 || p.State != Replicate {
					require.Zero(t, p.InflightBytes())
				}
			},
		})
	})
}
