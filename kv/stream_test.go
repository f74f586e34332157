package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// streamModel is a stream with one group as plain Go values.
type streamModel struct {
	entries []int // IDs are n-0
	last    int
	read    int            // the group's last-delivered
	pending map[int]string // consumer
}

// TestStreamMatchesModel: random changes, shrunk to a short history when one goes
// wrong; after each everything is compared, and what hangs together is checked.
func TestStreamMatchesModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := newTestNode(t)
		n.s.st.Settings.StreamNodeMaxEntries = int64(rapid.IntRange(0, 4).Draw(r, "node"))
		m := &streamModel{pending: map[int]string{}}
		require.Equal(r, "OK", n.do("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"))
		number := rapid.IntRange(1, 40)
		consumer := rapid.SampledFrom([]string{"ann", "bob", ""})
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				m.last += rapid.IntRange(1, 2).Draw(r, "step")
				m.entries = append(m.entries, m.last)
				id := fmt.Sprintf("%d-0", m.last)
				require.Equal(r, strconv.Quote(id), n.do("XADD", "s", id, "f", id))
			},
			"del": func(r *rapid.T) {
				id := number.Draw(r, "id")
				expect(r, n, m.del(func(e int) bool { return e == id }), "XDEL", "s", strconv.Itoa(id))
			},
			"trim": func(r *rapid.T) {
				least := number.Draw(r, "id")
				expect(r, n, m.del(func(e int) bool { return e < least }), "XTRIM", "s", "MINID", strconv.Itoa(least))
			},
			"read": func(r *rapid.T) {
				m.readGroup(r, n, consumer.Draw(r, "consumer"), rapid.IntRange(1, 3).Draw(r, "count"))
			},
			"ack": func(r *rapid.T) {
				id := number.Draw(r, "id")
				_, was := m.pending[id]
				delete(m.pending, id)
				expect(r, n, count(was), "XACK", "s", "g", strconv.Itoa(id))
			},
			"claim": func(r *rapid.T) { m.claim(r, n, number.Draw(r, "id"), consumer.Draw(r, "consumer")) },
			"delconsumer": func(r *rapid.T) {
				who, gone := consumer.Draw(r, "consumer"), 0
				for id, c := range m.pending {
					if c == who {
						delete(m.pending, id)
						gone++
					}
				}
				expect(r, n, gone, "XGROUP", "DELCONSUMER", "s", "g", who)
			},
			"": func(r *rapid.T) { m.check(r, n) },
		})
	})
}

func (m *streamModel) del(gone func(e int) bool) (removed int) {
	var kept []int
	for _, e := range m.entries {
		if !gone(e) {
			kept = append(kept, e)
		}
	}
	removed = len(m.entries) - len(kept)
	m.entries = kept
	return removed
}

func (m *streamModel) has(id int) bool {
	for _, e := range m.entries {
		if e == id {
			return true
		}
	}
	return false
}

func (m *streamModel) readGroup(r *rapid.T, n *testNode, who string, count int) {
	var want []string
	for _, e := range m.entries {
		if e > m.read && len(want) < count {
			want = append(want, fmt.Sprintf("%d-0", e))
			m.read, m.pending[e] = e, who
		}
	}
	v := n.doValue([]string{"XREADGROUP", "GROUP", "g", who, "COUNT", strconv.Itoa(count), "STREAMS", "s", ">"})
	if want == nil {
		require.Equal(r, byte('N'), v.kind)
		return
	}
	require.Equal(r, want, idsOf(v.elems[0].elems[1]))
}

func (m *streamModel) claim(r *rapid.T, n *testNode, id int, who string) {
	var want []string
	if _, pending := m.pending[id]; pending && m.has(id) {
		m.pending[id] = who
		want = append(want, fmt.Sprintf("%d-0", id))
	} else if pending {
		delete(m.pending, id)
	}
	require.Equal(r, want, idsOf(n.doValue([]string{"XCLAIM", "s", "g", who, "0", strconv.Itoa(id)})))
}

// idsOf lists the IDs of entries.
func idsOf(v value) (ids []string) {
	for _, e := range v.elems {
		ids = append(ids, e.elems[0].text)
	}
	return ids
}

func (m *streamModel) check(r *rapid.T, n *testNode) {
	var want []string
	for _, e := range m.entries {
		want = append(want, fmt.Sprintf("%d-0", e))
	}
	require.Equal(r, want, idsOf(n.doValue([]string{"XRANGE", "s", "-", "+"})))
	expect(r, n, len(want), "XLEN", "s")
	pending := n.doValue([]string{"XPENDING", "s", "g", "-", "+", "1000"})
	require.Len(r, pending.elems, len(m.pending))
	for _, p := range pending.elems {
		id, _, _ := strings.Cut(p.elems[0].text, "-")
		k, _ := strconv.Atoi(id)
		require.Equal(r, m.pending[k], p.elems[1].text)
	}
	v, _ := n.s.dbs[0].get([]byte("s"))
	requireSoundStream(r, v.Obj)
}

// requireSoundStream checks what holds between the parts of a stream.
func requireSoundStream(t require.TestingT, o *object) {
	s := viewStream(o)
	require.Equal(t, s.lastNode(), s.head.tail)
	inNodes, nodes := 0, 0
	for it := s.firstNode(); isNode(&it); it.next() {
		node, _ := nodeAt(it)
		live, _ := s.nodeEntries(&node, 1<<30)
		require.Positive(t, live, "a node without entries")
		inNodes += live
		nodes++
	}
	require.Equal(t, s.len(), inNodes)
	known := nodes + s.groups()
	s.eachGroup(func(g *streamGroup) {
		owned := 0
		s.eachConsumer(g, func(c *streamConsumer) {
			require.Equal(t, string(c.name), string(s.consumerName(c.number)))
			s.eachOwned(c, streamID{}, maxStreamID, func(id streamID) bool {
				n, ok := s.nack(g, id)
				require.True(t, ok)
				require.Equal(t, c.number, n.consumer)
				owned++
				return true
			})
			known += 2
		})
		require.Equal(t, s.pendingCount(g), owned)
		known += 2 * owned
	})
	require.Equal(t, o.t2.len(), known, "nothing is left behind in the second tree")
}

func TestStreamRDBRoundTrip(t *testing.T) {
	for seed := range uint64(4) {
		n := newTestNode(t)
		fillStreams(seed, func(args ...string) { n.doValue(args) })
		first, _ := blocksOf(t, n.s)
		require.Contains(t, string(first), rdbAuxStream, "nodes with deleted entries are in the test")
		for _, piece := range []int{1, 1000, 1 << 20} {
			second := load(t, first, piece)
			again, _ := blocksOf(t, second)
			require.True(t, bytes.Equal(first, again), "a snapshot of a restored store is the same snapshot")
			_, want := n.s.Digest()
			_, got := second.Digest()
			require.Equal(t, want, got)
			for _, key := range streamKeysFilled {
				v, ok := second.dbs[0].get([]byte(key))
				require.True(t, ok)
				requireSoundStream(t, v.Obj)
			}
		}
		// Both go on alike: also approximate trimming, which depends on the nodes.
		other := newTestNode(t)
		other.s, other.index, other.session, other.seq = load(t, first, 1<<20), n.index, n.session, n.seq
		other.now, other.seed = n.now, n.seed
		x := &randomStream{rand.New(rand.NewPCG(seed, 6))}
		for i := range 500 {
			args := x.command(280 + i)
			require.Equal(t, n.doValue(args), other.doValue(args), "%q", args)
		}
		_, want := n.s.Digest()
		_, got := other.s.Digest()
		require.Equal(t, want, got)
	}
}

// The same log gives the same data, whatever the moments at which cuts were open.
func TestStreamDeterminism(t *testing.T) {
	a, b := newTestNode(t), newTestNode(t)
	x := &randomStream{rand.New(rand.NewPCG(3, 9))}
	var cuts []*Cut
	for i := range 4000 {
		args := x.command(1 + i/4)
		if i%200 == 0 {
			args = []string{"XGROUP", "CREATE", x.key(), x.group(), "0", "MKSTREAM"}
		}
		if i%7 == 0 {
			args = []string{"XADD", x.key(), "MAXLEN", "~", "50", "*", "at", strconv.Itoa(i)}
		}
		a.now++
		b.now = a.now
		require.Equal(t, a.do(args...), b.do(args...))
		if i%37 == 0 {
			cuts = append(cuts, b.s.OpenCut())
		}
		if len(cuts) > 3 {
			cuts[0].Close()
			cuts = cuts[1:]
		}
	}
	for _, c := range cuts {
		c.Close()
	}
	_, want := a.s.Digest()
	_, got := b.s.Digest()
	require.Equal(t, want, got)
	for _, key := range []string{"s", "t", "m"} {
		v, _ := b.s.dbs[0].get([]byte(key))
		requireSoundStream(t, v.Obj)
	}
}

// Every part of a stream is in its digest.
func TestStreamDigestSeesEverything(t *testing.T) {
	base := []string{"XADD s 1 a b", "XADD s 2 a b", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS s >", "XGROUP CREATECONSUMER s g d"}
	digest := func(commands ...string) string {
		n := newTestNode(t)
		for _, c := range append(base, commands...) {
			n.do(strings.Fields(c)...)
		}
		c := n.s.OpenCut()
		defer c.Close()
		lo, hi := digestCut(c.cut)
		return fmt.Sprint(lo, hi)
	}
	seen := map[string]string{digest(): "nothing"}
	for _, change := range []string{"XADD s 3 a b", "XDEL s 2", "XSETID s 9", "XSETID s 2 ENTRIESADDED 7", "XSETID s 2 MAXDELETEDID 1",
		"XGROUP CREATE s h 0", "XGROUP SETID s g 0", "XGROUP SETID s g 1 ENTRIESREAD 3", "XGROUP CREATECONSUMER s g e", "XACK s g 1",
		"XCLAIM s g d 0 1", "XCLAIM s g c 0 1 RETRYCOUNT 9", "XCLAIM s g c 0 1 IDLE 50 JUSTID", "XREADGROUP GROUP g c STREAMS s >"} {
		d := digest(change)
		require.NotContains(t, seen, d, change)
		seen[d] = change
	}
}

// A stream of a million entries, with a group that read some of them, under a cut:
// the cut keeps what it saw, while the stream goes on at its usual price.
func TestLargeStreamUnderCut(t *testing.T) {
	entries := 1_000_000
	if testing.Short() {
		entries = 50_000
	}
	n := newTestNode(t)
	var c Chunk
	for i := range entries {
		addCommand(&c, "XADD", "s", strconv.Itoa(i+1), "sensor", "1234", "value", strconv.Itoa(i))
		if c.NumOps == 10_000 || i == entries-1 {
			n.run(&c)
			c = Chunk{}
		}
	}
	n.do("XGROUP", "CREATE", "s", "g", "0")
	require.NotContains(t, n.do("XREADGROUP", "GROUP", "g", "ann", "COUNT", "1000", "STREAMS", "s", ">"), "error")
	v, _ := n.s.dbs[0].get([]byte("s"))
	require.Less(t, v.Obj.t.bytes()/int64(entries), int64(80), "bytes per entry")
	before, _ := blocksOf(t, n.s)

	cut := n.s.OpenCut()
	n.do("XADD", "s", "MAXLEN", strconv.Itoa(entries/2), strconv.Itoa(entries+1), "sensor", "x")
	n.do("XDEL", "s", strconv.Itoa(entries-5), strconv.Itoa(entries/2+7))
	n.do("XACK", "s", "g", "1", "2", "3")
	n.do("XREADGROUP", "GROUP", "g", "bob", "COUNT", "10", "STREAMS", "s", ">")
	n.do("XGROUP", "CREATE", "s", "h", "$")
	n.do("XGROUP", "DELCONSUMER", "s", "g", "ann")
	var seen []byte
	require.NoError(t, cut.Blocks(func(raw []byte, _ int) error {
		seen = append(seen, raw...)
		return nil
	}))
	require.True(t, bytes.Equal(before, seen), "the cut is as it was")
	cut.Close()
	require.Equal(t, fmt.Sprintf("(integer) %d", entries/2-2), n.do("XLEN", "s"))
	after, _ := blocksOf(t, n.s)
	restored := load(t, after, 1<<20)
	_, want := n.s.Digest()
	_, got := restored.Digest()
	require.Equal(t, want, got)
}

// Malformed streams are errors, each for its own reason, and none takes the memory
// it claims.
func TestMalformedStreams(t *testing.T) {
	id := func(ms, seq uint64) []byte {
		return append([]byte{16}, streamID{ms, seq}.appendKey(nil)...)
	}
	pack := func(elems ...string) []byte {
		b := beginListpack(nil)
		for _, e := range elems {
			b = appendListpack(b, []byte(e))
		}
		return appendRDBString(nil, endListpack(b, 0, len(elems)))
	}
	node := strings.Fields("1 0 1 f 0 2 0 0 v 4")
	file := func(parts ...[]byte) []byte {
		return append([]byte{rdbStreamListpacks3, 1, 's'}, bytes.Join(parts, nil)...)
	}
	one := func(elems ...string) []byte { return bytes.Join([][]byte{{1}, id(1, 0), pack(elems...)}, nil) }
	head := []byte{1, 1, 0, 1, 0, 0, 0, 1} // length, last, first, deleted, added
	group := func(rest ...byte) []byte { return append([]byte{1, 1, 'g', 1, 0, 1}, rest...) }
	raw := func(rest ...byte) []byte { return append(streamID{1, 0}.appendKey(nil), rest...) }
	time := make([]byte, 8)
	nack := append(raw(time...), 1)
	consumer := append([]byte{1, 'c'}, append(time, time...)...)

	sound := file(one(node...), head, group(1), nack, []byte{1}, consumer, []byte{1}, raw())
	_, err := imports(t, rdbOf(11, sound...))
	require.NoError(t, err)

	for name, body := range map[string][]byte{
		"node with a short ID":       file([]byte{1, 3, 'a', 'b', 'c'}, pack(node...), head, []byte{0}),
		"no listpack":                file([]byte{1}, id(1, 0), []byte{2, 'a', 'b'}, head, []byte{0}),
		"word for a count":           file(one("x", "0", "1", "f", "0", "2", "0", "0", "v", "4"), head, []byte{0}),
		"entry cut short":            file(one("1", "0", "1", "f", "0", "2", "0", "0"), head, []byte{0}),
		"fields without end":         file(one("1", "0", "4294967295", "f", "0"), head, []byte{0}),
		"negative number of fields":  file(one("1", "0", "-1", "f", "0"), head, []byte{0}),
		"no fields":                  file(one("1", "0", "0", "0", "2", "0", "0", "3"), head, []byte{0}),
		"own fields without end":     file(one("1", "0", "1", "f", "0", "0", "0", "0", "999999999999", "f", "v", "6"), head, []byte{0}),
		"fewer entries than said":    file(one("2", "0", "1", "f", "0", "2", "0", "0", "v", "4"), head, []byte{0}),
		"more deleted than said":     file(one("1", "1", "1", "f", "0", "2", "0", "0", "v", "4"), head, []byte{0}),
		"node of deleted ones":       file(one("0", "1", "1", "f", "0", "3", "0", "0", "v", "4"), head, []byte{0}),
		"entries out of order":       file(one("2", "0", "1", "f", "0", "2", "1", "0", "v", "4", "2", "0", "0", "v", "4"), head, []byte{0}),
		"the same ID twice":          file(one("2", "0", "1", "f", "0", "2", "0", "0", "v", "4", "2", "0", "0", "v", "4"), head, []byte{0}),
		"nodes out of order":         file([]byte{2}, id(5, 0), pack(node...), id(4, 0), pack(node...), head, []byte{0}),
		"length of another":          file(one(node...), []byte{2, 1, 0, 1, 0, 0, 0, 1}, []byte{0}),
		"last ID below the entries":  file(one(node...), []byte{1, 0, 9, 1, 0, 0, 0, 1}, []byte{0}),
		"group twice":                file(one(node...), head, []byte{2, 1, 'g', 1, 0, 1, 0, 0, 1, 'g', 1, 0, 1, 0, 0}),
		"pending with nobody":        file(one(node...), head, group(1), nack, []byte{0}),
		"pending twice":              file(one(node...), head, group(2), nack, nack, []byte{0}),
		"consumer of what is not":    file(one(node...), head, group(0), []byte{1}, consumer, []byte{1}, raw()),
		"two consumers of one entry": file(one(node...), head, group(1), nack, []byte{2}, consumer, []byte{1}, raw(), bytes.Replace(consumer, []byte("c"), []byte("d"), 1), []byte{1}, raw()),
		"consumer twice":             file(one(node...), head, group(0), []byte{2}, consumer, []byte{0}, consumer, []byte{0}),
		"nodes without end":          file([]byte{0x80, 0xff, 0xff, 0xff, 0xff}, id(1, 0), pack(node...)),
		"groups without end":         file(one(node...), head, []byte{0x80, 0xff, 0xff, 0xff, 0xff}),
		"pending without end":        file(one(node...), head, group(0x81, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff), nack),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := imports(t, rdbOf(11, body...))
			require.ErrorIs(t, err, ErrRDB)
		})
	}
	// Any single byte changed, any prefix: an error or a sound stream, never more.
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		bad := bytes.Clone(sound)
		if r.IntN(4) == 0 {
			bad = bad[:r.IntN(len(bad))]
		} else {
			for range 1 + r.IntN(3) {
				bad[3+r.IntN(len(bad)-3)] = byte(r.Uint32())
			}
		}
		n, err := imports(t, rdbOf(11, bad...))
		var u *UnsupportedRDBError
		if err != nil {
			require.True(t, errors.Is(err, ErrRDB) || errors.As(err, &u), "%v", err)
			continue
		}
		if v, ok := n.s.dbs[0].get([]byte("s")); ok && v.Type == TypeStream {
			requireSoundStream(t, v.Obj)
		}
		n.s.heap.unmap()
	}
}

// smallStream is a stream with a group as it stands in a file.
func smallStream() []byte {
	o := newStreamObject(newHeap(1))
	s := viewStream(o)
	set := defaultSettings()
	s.c = &Ctx{store: &Store{st: state{Settings: set}}}
	s.add(streamID{1, 0}, [][]byte{[]byte("f"), []byte("v")})
	s.add(streamID{2, 5}, [][]byte{[]byte("g"), []byte("12345")})
	s.remove(streamID{1, 0})
	g := streamGroup{name: []byte("g"), number: s.newNumber(), last: streamID{2, 5}, read: 2}
	s.saveGroup(&g)
	consumer := s.addConsumer(&g, []byte("c"), testEpoch)
	s.saveNack(&g, &streamNack{id: streamID{2, 5}, consumer: consumer.number, time: testEpoch, count: 1}, 0)
	s.saveHead()
	w := NewRDBWriter(nil)
	if err := w.Key([]byte("s"), s.v); err != nil {
		panic(err)
	}
	return w.Bytes()
}

// Type 15, as Redis 5 and 6 wrote it: no counters, no active times.
func TestStreamOfOldVersions(t *testing.T) {
	lp := beginListpack(nil)
	for _, e := range strings.Fields("2 0 1 f 0 2 0 0 v 4 2 1 0 w 4") {
		lp = appendListpack(lp, []byte(e))
	}
	body := append([]byte{15, 1, 's', 1, 16}, streamID{5, 0}.appendKey(nil)...)
	body = append(body, appendRDBString(nil, endListpack(lp, 0, 15))...)
	body = append(body, 2, 6, 0, 1, 1, 'g', 5, 0, 1)
	body = append(body, streamID{5, 0}.appendKey(nil)...)
	body = append(binary.LittleEndian.AppendUint64(body, testEpoch), 3, 1, 1, 'c')
	body = append(binary.LittleEndian.AppendUint64(body, testEpoch-5), 1)
	body = append(body, streamID{5, 0}.appendKey(nil)...)
	n, err := imports(t, rdbOf(9, body...))
	require.NoError(t, err)
	require.Equal(t, `"5-0" "f" "v" "6-0" "f" "w"`, oneLine(strings.NewReplacer("1) 1) ", "1) ", "2) 1) ", "2) ").Replace(
		strings.Join(flat(n.doValue([]string{"XRANGE", "s", "-", "+"})), "\n"))))
	info := strings.Join(flat(n.doValue([]string{"XINFO", "STREAM", "s", "FULL"})), " ")
	require.Contains(t, info, `"entries-added" (integer) 2`)
	require.Contains(t, info, `"entries-read" (integer) 1 "lag" (integer) 1 "pel-count" (integer) 1 "pending" "5-0" "c" (integer) 1700000000000 (integer) 3`)
	require.Contains(t, info, `"seen-time" (integer) 1699999999995 "active-time" (integer) 1699999999995`)
}

// flat lists the leaves of a reply.
func flat(v value) (leaves []string) {
	if v.kind != '*' {
		return v.lines()
	}
	for _, e := range v.elems {
		leaves = append(leaves, flat(e)...)
	}
	return leaves
}

// The seam for blocking: nothing is replied until there is something, and what $
// meant at first stays meant.
func TestStreamReadSeam(t *testing.T) {
	n := newTestNode(t)
	n.do("XADD", "s", "1", "a", "b")
	n.do("XADD", "t", "7-1", "a", "b")
	args := [][]byte{}
	for _, a := range strings.Fields("xread BLOCK 1500 COUNT 2 STREAMS s t none $ 7 $") {
		args = append(args, []byte(a))
	}
	r, msg := parseStreamRead("xread", args)
	require.Empty(t, msg)
	require.EqualValues(t, 1500, r.block)
	var out Reply
	c := &Ctx{store: n.s, Out: &out, now: n.now, cmd: Lookup([]byte("xread"))}
	c.selectDB(0)
	require.True(t, r.resolve(c))
	require.Equal(t, []streamID{{1, 0}, {7, 0}, {0, 0}}, r.after)
	require.True(t, r.try(c))
	require.Equal(t, `"t" "7-1" "a" "b"`, strings.Join(flat(mustValue(t, out.Bytes())), " "))
	r.after[1] = streamID{7, 1}
	out.Reset()
	require.False(t, r.try(c))
	require.Zero(t, out.Len(), "nothing is replied while there is nothing")
	n.do("XADD", "s", "2", "x", "y")
	n.do("XADD", "none", "1", "x", "y")
	require.True(t, r.try(c))
	require.Equal(t, `"s" "2-0" "x" "y" "none" "1-0" "x" "y"`, strings.Join(flat(mustValue(t, out.Bytes())), " "))

	keys, ok := Lookup([]byte("xread")).KeyPositions(args)
	require.True(t, ok)
	require.Equal(t, []int{6, 7, 8}, keys)
	_, ok = Lookup([]byte("xread")).KeyPositions(args[:len(args)-1])
	require.False(t, ok)
}

func mustValue(t *testing.T, tape []byte) value {
	v, rest, err := parseValue(tape)
	require.NoError(t, err)
	require.Empty(t, rest)
	return v
}

// The shapes that differ between the protocols, tags of the tape.
func TestStreamReplyShapes(t *testing.T) {
	n := newTestNode(t)
	n.do("XADD", "s", "1", "a", "b")
	n.do("XGROUP", "CREATE", "s", "g", "0")
	for command, want := range map[string]string{
		"XREAD STREAMS s 0": "K1 $ * * $ * $ $", "XREADGROUP GROUP g c STREAMS s >": "K1 $ * * $ * $ $",
		"XREAD STREAMS s 1": "N", "XADD nothing NOMKSTREAM 1 a b": "_", "XINFO GROUPS s": "*1 %6", "XINFO STREAM s": "%10",
		"XINFO STREAM s FULL": "%9", "XRANGE s - + COUNT 0": "N", "XRANGE s - +": "*1",
	} {
		var c Chunk
		addCommand(&c, strings.Fields(command)...)
		n.run(&c)
		tape := string(c.Reply.Bytes())
		for _, tag := range strings.Fields(want) {
			i := strings.Index(tape, tag)
			require.GreaterOrEqual(t, i, 0, "%s: %s", command, c.Reply.Bytes())
			tape = tape[i+len(tag):]
		}
	}
}

// A snapshot reads its cut without the lock while all kinds of commands change the
// stream (for the race detector, too).
func TestStreamCutWhileWriting(t *testing.T) {
	n := newTestNode(t)
	fillStreams(11, func(args ...string) { n.doValue(args) })
	x := &randomStream{rand.New(rand.NewPCG(11, 12))}
	for round := range 5 {
		want, _ := blocksOf(t, n.s)
		cut := n.s.OpenCut()
		got := make(chan []byte)
		go func() {
			var rdb []byte
			for range 3 {
				rdb = nil
				_ = cut.Blocks(func(raw []byte, _ int) error {
					rdb = append(rdb, raw...)
					return nil
				})
			}
			got <- rdb
		}()
		for i := range 300 {
			n.do(x.command(280 + 100*round + i/3)...)
		}
		require.True(t, bytes.Equal(want, <-got))
		cut.Close()
	}
}
