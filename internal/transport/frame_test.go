package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/raftcore"
)

// sampleMessages cover every field and every width of number.
func sampleMessages() []raftcore.Message {
	member := raftcore.Member{ID: 3, Incarnation: math.MaxUint64, PeerAddr: "10.0.0.1:16379", ClientAddr: string(bytes.Repeat([]byte("h"), 300)), Learner: true, Priority: -70000}
	return []raftcore.Message{
		{Type: raftcore.MsgHeartbeat, From: 1, To: 2},
		{Type: raftcore.MsgVote, From: 1, To: 2, Term: 128, LogTerm: 255, Index: 256, Commit: 65535, Round: 65536, ReadID: math.MaxUint32,
			Reject: true, Transfer: true, Suspect: true, Full: true, Snapping: true, Hint: math.MaxUint32 + 1, HintTerm: math.MaxUint64, Clock: math.MinInt64},
		{Type: raftcore.MsgHeartbeat, From: 1, To: 2, Matches: []uint64{9, 300, 70000, 1 << 40}, Clock: -5},
		{Type: raftcore.MsgSnapshot, From: 1, To: 2, Clock: -200, Snapshot: &raftcore.SnapshotMeta{Index: 5, Term: 2,
			Membership: raftcore.Membership{Members: []raftcore.Member{member, {ID: 4}}, Outgoing: []raftcore.Member{{Priority: 7}}}}},
		{Type: raftcore.MsgSnapshot, From: 1, To: 2, Clock: math.MinInt32, Snapshot: &raftcore.SnapshotMeta{}},
		{Type: raftcore.MsgAppend, From: 1, To: 2, Term: 7, Index: 10, Clock: 1 << 41, Entries: []raftcore.Entry{
			entry(7, 11, []byte("body")), entry(7, 12, nil), entry(7, 13, bytes.Repeat([]byte("x"), 3000))}},
	}
}

func encode(ms ...raftcore.Message) []byte {
	var b batch
	for i := range ms {
		b.addMessage(&ms[i], 72<<20)
	}
	return wire(&b)
}

func wire(b *batch) (out []byte) {
	for _, p := range b.slices(nil) {
		out = append(out, p...)
	}
	return out
}

func TestMessagesSurviveTheWire(t *testing.T) {
	want := sampleMessages()
	bytesOnWire := encode(want...)
	for name, src := range map[string]io.Reader{
		"at once":      bytes.NewReader(bytesOnWire),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(bytesOnWire)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newFrameReader(src, 72<<20)
			for i := range want {
				f, err := r.next()
				require.NoError(t, err)
				m, err := decodeVerified(f)
				require.NoError(t, err)
				require.Equal(t, want[i], m)
			}
			_, err := r.next()
			require.Equal(t, io.EOF, err)
		})
	}
}

// Our envelopes are msgpack to a stranger: an independent library reads them,
// consumes every byte, and writes the same bytes again.
func TestEnvelopesAreMsgpack(t *testing.T) {
	handle := &codec.MsgpackHandle{}
	handle.WriteExt, handle.RawToString, handle.PositiveIntUnsigned = true, true, true
	envelopes := [][]byte{
		appendUnits(nil, []Unit{{1, []byte("abc")}, {1 << 50, nil}}),
		appendUints(nil, make([]uint64, 70000)),
		appendOutcome(nil, errors.New("no")),
		appendNumber(nil, 12345),
	}
	for _, m := range sampleMessages() {
		envelopes = append(envelopes, appendMessage(nil, &m))
	}
	for i, envelope := range envelopes {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var value any
			d := codec.NewDecoderBytes(envelope, handle)
			require.NoError(t, d.Decode(&value))
			require.Equal(t, len(envelope), d.NumBytesRead())
			var again []byte
			require.NoError(t, codec.NewEncoderBytes(&again, handle).Encode(value))
			require.Equal(t, envelope, again)
		})
	}
	var fields []any
	m := sampleMessages()[1]
	require.NoError(t, codec.NewDecoderBytes(appendMessage(nil, &m), handle).Decode(&fields))
	require.Len(t, fields, messageFields)
	require.EqualValues(t, m.Index, fields[5])
	require.EqualValues(t, m.Clock, fields[12])
}

// What the library writes with its own choice of widths is read, too.
func TestCursorReadsForeignWidths(t *testing.T) {
	for _, v := range []int64{0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 31, 1 << 33, -1, -32, -33, -128, -129, -32768, -32769, math.MinInt32, math.MinInt32 - 1} {
		var b []byte
		require.NoError(t, codec.NewEncoderBytes(&b, &codec.MsgpackHandle{}).Encode(v))
		c := cursor{b: b}
		if v < 0 {
			require.Equal(t, v, c.int())
			require.True(t, c.done(), "%d", v)
			require.Equal(t, b, appendInt(nil, v))
		}
		own := cursor{b: appendInt(nil, v)}
		require.Equal(t, v, own.int())
		require.True(t, own.done())
	}
}

// Any single changed bit is noticed: by the frame's checksum, or by the entry's.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	good := encode(raftcore.Message{Type: raftcore.MsgAppend, From: 1, To: 2, Entries: []raftcore.Entry{entry(3, 4, []byte("the body"))}})
	var units batch
	units.addUnits([]Unit{{7, []byte("a unit")}})
	for _, original := range [][]byte{good, wire(&units)} {
		for bit := range len(original) * 8 {
			damaged := bytes.Clone(original)
			damaged[bit/8] ^= 1 << (bit % 8)
			f, err := newFrameReader(bytes.NewReader(damaged), 1<<20).next()
			if err == nil && f.kind == kindMessage {
				_, err = decodeVerified(f)
			}
			require.Error(t, err, "bit %d", bit)
		}
	}
}

func TestTruncationIsNeverACleanEnd(t *testing.T) {
	whole := encode(sampleMessages()[5])
	for n := 1; n < len(whole); n++ {
		_, err := newFrameReader(bytes.NewReader(whole[:n]), 1<<20).next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
	}
}

// A header cannot make the reader allocate: neither above the cap, nor below it
// before the bytes are there.
func TestHeaderAloneAllocatesLittle(t *testing.T) {
	header := func(length, envelope uint32) []byte {
		h := beginFrame(nil)
		binary.LittleEndian.PutUint32(h[0:], length)
		binary.LittleEndian.PutUint32(h[8:], envelope)
		h[12] = byte(kindUnits)
		return h
	}
	for _, tc := range []struct {
		length, envelope uint32
		want             error
	}{
		{math.MaxUint32, 0, errFrame},
		{math.MaxUint32, math.MaxUint32, errFrame},
		{72<<20 - frameHeaderSize + 1, 0, errFrame},
		{71 << 20, 2 << 20, errFrame},
		{4, 5, errFrame},
		{71 << 20, 1 << 20, io.ErrUnexpectedEOF},
	} {
		src := append(header(tc.length, tc.envelope), make([]byte, 1000)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := newFrameReader(bytes.NewReader(src), 72<<20).next()
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, tc.want)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(readBufferSize+3*trustedAllocation), "%+v", tc)
	}
}

// Counts inside an envelope are checked against the bytes that are there.
func TestCountsAreBoundedByBytes(t *testing.T) {
	huge := binary.BigEndian.AppendUint32([]byte{0xdd}, math.MaxUint32)
	for _, decode := range []func([]byte) error{
		func(b []byte) error { _, err := decodeRefused(b); return err },
		func(b []byte) error { _, err := decodeUnits(b, nil); return err },
		func(b []byte) error {
			m := raftcore.Message{}
			e := appendMessage(nil, &m)
			_, err := decodeMessage(append(e[:len(e)-1], b...), nil)
			return err
		},
	} {
		require.Error(t, decode(huge))
		require.Error(t, decode(append(bytes.Clone(huge), make([]byte, 100)...)))
	}
	long := cursor{b: binary.BigEndian.AppendUint32([]byte{0xdb}, math.MaxUint32)}
	require.Empty(t, long.string())
	require.True(t, long.bad)
}

func TestBodiesAreSharedOnTheWayOut(t *testing.T) {
	body := make([]byte, 3<<20)
	m := raftcore.Message{Type: raftcore.MsgAppend, Entries: []raftcore.Entry{entry(1, 1, body)}}
	var b batch
	require.True(t, b.addMessage(&m, 72<<20))
	require.Less(t, len(b.buf), 200)
	pieces := b.slices(nil)
	require.Same(t, &body[0], &pieces[1][0])
	total := 0
	for _, p := range pieces {
		require.LessOrEqual(t, len(p), writeSlice)
		total += len(p)
	}
	require.Equal(t, b.bytes, total)
	require.False(t, b.addMessage(&m, 1<<20), "larger than a frame may be")
}

func TestBodiesCannotGrowIntoEachOther(t *testing.T) {
	f, err := newFrameReader(bytes.NewReader(encode(sampleMessages()[5])), 1<<20).next()
	require.NoError(t, err)
	m, err := decodeVerified(f)
	require.NoError(t, err)
	_ = append(m.Entries[0].Body, "overrun overrun overrun"...)
	require.True(t, m.Entries[2].Verify())
}

func TestLargeFrameGrowsAndFollowerFrameIsRead(t *testing.T) {
	body := make([]byte, 11<<20)
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range body {
		body[i] = byte(dice.Uint32())
	}
	first := raftcore.Message{Type: raftcore.MsgAppend, From: 1, To: 2, Entries: []raftcore.Entry{entry(1, 1, body)}}
	second := sampleMessages()[2]
	r := newFrameReader(bytes.NewReader(encode(first, second)), 72<<20)
	for _, want := range []raftcore.Message{first, second} {
		f, err := r.next()
		require.NoError(t, err)
		m, err := decodeVerified(f)
		require.NoError(t, err)
		require.True(t, len(want.Entries) == len(m.Entries))
		if len(want.Entries) > 0 {
			require.True(t, bytes.Equal(body, m.Entries[0].Body))
		}
	}
}

// FuzzFrame feeds a stream as it is, and once more as the contents of a frame
// with a good checksum, which no mutation would hit upon.
func FuzzFrame(f *testing.F) {
	all := encode(sampleMessages()...)
	f.Add(all, byte(kindMessage), uint16(40))
	var b batch
	b.addUnits([]Unit{{1, []byte("unit")}})
	b.addRefused([]uint64{1, 2, 3})
	f.Add(wire(&b), byte(kindUnits), uint16(5))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), byte(kindRefused), uint16(3))
	for _, m := range sampleMessages() {
		envelope := appendMessage(nil, &m)
		body := encode(m)[frameHeaderSize+len(envelope):]
		f.Add(append(envelope, body...), byte(kindMessage), uint16(len(envelope)))
	}
	f.Fuzz(func(t *testing.T, data []byte, k byte, envelope uint16) {
		const limit = 128 << 10
		src := bytes.NewReader(data)
		r := newFrameReader(src, limit)
		drain(t, r, limit)
		n := min(int(envelope), len(data))
		framed := append(beginFrame(nil), data[:n]...)
		covered := data[n:]
		if kind(k) == kindMessage {
			covered = nil
		}
		endFrame(framed, 0, kind(k), len(data)-n, covered)
		src.Reset(append(framed, data[n:]...))
		r.lo, r.hi = 0, 0
		drain(t, r, limit)
	})
}

// drain reads frames as a bulk lane's reader does, until one is bad.
func drain(t *testing.T, r *frameReader, limit int) {
	in := incoming{key: incomingKey{1, laneBulk}, self: 2}
	sink := burst{to: discard{}}
	for {
		frame, err := r.next()
		if err != nil {
			return
		}
		if len(frame.envelope)+len(frame.body) > limit {
			t.Fatal("frame above the cap")
		}
		if in.accumulate(&sink, frame) != nil {
			return
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(appendMessage(nil, &m), uint16(3004))
	}
	f.Add(appendUnits(nil, []Unit{{1, []byte("abc")}}), uint16(3))
	f.Add(appendUints(nil, []uint64{1, 1 << 40}), uint16(0))
	f.Add(appendOutcome(nil, errors.New("text")), uint16(0))
	f.Fuzz(func(t *testing.T, envelope []byte, size uint16) {
		bodies := make([]byte, size)
		if m, err := decodeMessage(envelope, bodies); err == nil {
			again, err := decodeMessage(appendMessage(nil, &m), bodies)
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if us, err := decodeUnits(envelope, bodies); err == nil {
			again, err := decodeUnits(appendUnits(nil, us), bodies)
			require.NoError(t, err)
			require.Equal(t, us, again)
		}
		_, _ = decodeRefused(envelope)
		_ = decodeOutcome(envelope)
		_, _ = decodeNumber(envelope)
	})
}

// discard is a Handler that forgets.
type discard struct{}

func (discard) HandleMessages(raftcore.NodeID, []raftcore.Message) {}
func (discard) HandleUnits(raftcore.NodeID, []Unit)                {}
func (discard) HandleRefused(raftcore.NodeID, []uint64)            {}
func (discard) HandleNotes(raftcore.NodeID, [][]byte)              {}
func (discard) HandleSnapshot(raftcore.NodeID, SnapshotOffer, SnapshotStream) error {
	return nil
}
func (discard) HandleCall([]byte) ([]byte, error) { return nil, nil }
func (discard) PeerChanged(raftcore.NodeID, bool) {}

func benchmarkMessage() raftcore.Message {
	m := raftcore.Message{Type: raftcore.MsgAppend, From: 1, To: 2, Term: 7, LogTerm: 7, Index: 1 << 20, Commit: 1 << 20, Round: 99, Clock: 1 << 41}
	for i := range 16 {
		m.Entries = append(m.Entries, entry(7, 1<<20+uint64(i)+1, make([]byte, 2048)))
	}
	return m
}

func BenchmarkEncodeAppend(b *testing.B) {
	m := benchmarkMessage()
	var out batch
	b.ReportAllocs()
	b.SetBytes(16 * 2048)
	for b.Loop() {
		out.reset()
		out.addMessage(&m, 72<<20)
	}
}

func BenchmarkEncodeHeartbeat(b *testing.B) {
	m := raftcore.Message{Type: raftcore.MsgHeartbeat, From: 1, To: 2, Term: 7, Commit: 1 << 20, Round: 99, Clock: 1 << 41, Matches: []uint64{3, 2, 1}}
	var out batch
	b.ReportAllocs()
	for b.Loop() {
		out.reset()
		out.addMessage(&m, 72<<20)
	}
}

func benchmarkDecode(b *testing.B, m raftcore.Message) {
	data := encode(m)
	src := bytes.NewReader(data)
	r := newFrameReader(src, 72<<20)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		src.Reset(data)
		f, err := r.next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := decodeVerified(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeAppend(b *testing.B) { benchmarkDecode(b, benchmarkMessage()) }

func BenchmarkDecodeAck(b *testing.B) {
	benchmarkDecode(b, raftcore.Message{Type: raftcore.MsgAppendResp, From: 1, To: 2, Term: 7, Index: 1 << 20, Round: 99, Clock: 1 << 41})
}
