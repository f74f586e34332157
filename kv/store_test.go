package kv

import (
	"bytes"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomHistory makes a node do n commands of all kinds, with time passing.
func randomHistory(t *testing.T, n *testNode, seed int64, count int) {
	r := rand.New(rand.NewSource(seed))
	key := func() string { return "k" + strconv.Itoa(r.Intn(200)) }
	for i := 0; i < count; i++ {
		var c Chunk
		c.AppendSelect(r.Intn(3))
		for j := r.Intn(4); j >= 0; j-- {
			num := strconv.Itoa(r.Intn(1000))
			switch r.Intn(15) {
			case 0, 1, 2:
				addCommand(&c, "SET", key(), num)
			case 3:
				addCommand(&c, "SET", key(), num, "PX", num)
			case 4:
				addCommand(&c, "INCR", key())
			case 5:
				addCommand(&c, "APPEND", key(), num)
			case 6:
				addCommand(&c, "DEL", key())
			case 7:
				addCommand(&c, "PEXPIRE", key(), num)
			case 8:
				addCommand(&c, "RENAME", key(), key())
			case 9:
				addCommand(&c, "HSET", "h"+key(), num, num)
			case 10:
				addCommand(&c, "RPUSH", "l"+key(), num, num)
			case 11:
				addCommand(&c, "SADD", "s"+key(), num, "m"+num)
			case 12:
				addCommand(&c, "SPOP", "s"+key())
			case 13:
				addCommand(&c, "SETRANGE", key(), strconv.Itoa(r.Intn(100000)), num)
			case 14:
				if r.Intn(100) == 0 {
					addCommand(&c, "FLUSHDB")
				} else {
					addCommand(&c, "GET", key())
				}
			}
		}
		n.now += int64(r.Intn(20)) - 5 // clocks of several leaders
		n.run(&c)
	}
}

// replay applies a log to a store of its own, in batches.
func replay(t *testing.T, s *Store, log []LogEntry) {
	for len(log) > 0 {
		n := min(len(log), 17)
		require.NoError(t, s.Apply(log[:n], nil))
		log = log[n:]
	}
}

func copyThrough(t *testing.T, from *Store, to *Store) {
	cut := from.OpenCut()
	defer cut.Close()
	l := to.NewLoader()
	require.NoError(t, l.SetState(cut.State()))
	for db := 0; db < cut.Databases; db++ {
		require.NoError(t, cut.Each(db, func(key []byte, v Value) error {
			if v.Obj != nil {
				v.Obj = deepCopy(l.heap, v.Obj)
			}
			return l.Add(db, key, v)
		}))
	}
	require.NoError(t, l.Commit(cut.Index))
}

// deepCopy is the object in another store's heap.
func deepCopy(h *heap, o *object) *object {
	c := h.newObject()
	c.str, c.aux = bytes.Clone(o.str), o.aux
	c.t, c.t2 = deepTree(h, o.t), deepTree(h, o.t2)
	return c
}

func deepTree(h *heap, t *tree) *tree {
	if t == nil {
		return nil
	}
	c := &tree{h: h, root: t.root}
	c.keep(func(key, val []byte) bool { return true })
	return c
}

func TestReplicasAgree(t *testing.T) {
	origin := newTestNode(t)
	randomHistory(t, origin, 1, 3000)

	follower := New(Options{HashSeed: 42})
	replay(t, follower, origin.log)
	i1, d1 := origin.s.Digest()
	i2, d2 := follower.Digest()
	require.Equal(t, i1, i2)
	require.Equal(t, d1, d2)
	require.Len(t, d1, 32)

	restored := New(Options{HashSeed: 99}) // the snapshot brings its seed
	copyThrough(t, origin.s, restored)
	i3, d3 := restored.Digest()
	require.Equal(t, i1, i3)
	require.Equal(t, d1, d3)

	// They go on alike, random choices and watches included.
	at := len(origin.log)
	randomHistory(t, origin, 2, 1000)
	replay(t, follower, origin.log[at:])
	replay(t, restored, origin.log[at:])
	_, d1 = origin.s.Digest()
	_, d2 = follower.Digest()
	_, d3 = restored.Digest()
	require.Equal(t, d1, d2)
	require.Equal(t, d1, d3)

	origin.do("SET", "one", "more")
	_, changed := origin.s.Digest()
	require.NotEqual(t, d1, changed)
}

// A cut stays what it was while commands go on.
func TestCutIsFrozen(t *testing.T) {
	n := newTestNode(t)
	randomHistory(t, n, 3, 500)
	cut := n.s.OpenCut()
	before := cut.Digest()
	index := cut.Index
	randomHistory(t, n, 4, 500)
	require.Equal(t, before, cut.Digest())
	require.Equal(t, index, cut.Index)
	cut.Close()
	cut.Close()

	other := New(Options{HashSeed: 42})
	replay(t, other, n.log[:index])
	_, digest := other.Digest()
	require.Equal(t, before, digest)
}

func TestAbandonedLoadChangesNothing(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "a", "1")
	_, before := n.s.Digest()

	l := n.s.NewLoader()
	require.Error(t, l.Add(0, []byte("k"), Value{Type: TypeString, Bytes: []byte("v")}))
	require.Error(t, l.Commit(5))
	require.Error(t, l.SetState([]byte("nonsense")))
	other := newTestNode(t)
	other.do("SET", "b", "1")
	cut := other.s.OpenCut()
	state := cut.State()
	cut.Close()
	require.NoError(t, l.SetState(state))
	require.NoError(t, l.Add(0, []byte("k"), Value{Type: TypeString, Bytes: []byte("v")}))
	require.Error(t, l.Add(16, []byte("k"), Value{}))
	require.Error(t, l.Commit(cut.Index+1))
	_, after := n.s.Digest()
	require.Equal(t, before, after)
	require.Error(t, New(Options{Databases: 2}).NewLoader().SetState(state))
}

func TestStampNeverGoesBack(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "a", "1", "PX", "1000")
	n.tick(1000)
	require.Equal(t, "(nil)", n.do("GET", "a"))
	stamp := n.s.Stamp()
	n.now -= 60_000 // a new leader whose clock is behind
	n.do("SET", "b", "1", "PX", "1000")
	require.Equal(t, stamp, n.s.Stamp())
	require.Equal(t, "(integer) 1000", n.do("PTTL", "b"))
	require.Equal(t, "(nil)", n.do("GET", "a"))
}

// A key that a read would show expired is expired for everybody first.
func TestReadOfDueKeyNeedsTick(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "a", "1", "PX", "1000")
	for _, args := range [][]string{{"GET", "a"}, {"KEYS", "*"}, {"SCAN", "0"}, {"RANDOMKEY"}, {"EXISTS", "a"}, {"TTL", "a"}} {
		var c Chunk
		addCommand(&c, args...)
		require.False(t, n.s.Read(&c, n.now+999), args)
		require.True(t, n.s.Read(&c, n.now+1000), args)
		require.False(t, n.s.Read(&c, 0), args)
	}
	require.Equal(t, 1, n.s.DBSize(0), "reads remove nothing")
	var c Chunk
	addCommand(&c, "PTTL", "a")
	require.False(t, n.s.Read(&c, n.now+400))
	require.Equal(t, ":600\r\n", string(c.Reply.Bytes()))
}

func TestExpiryIsBoundedAndOrdered(t *testing.T) {
	n := newTestNode(t)
	_, due := n.s.NextDue()
	require.False(t, due)
	for i := 0; i < 300; i++ {
		var c Chunk
		c.AppendSelect(i % 3)
		addCommand(&c, "SET", fmt.Sprintf("k%03d", i), "v", "PX", strconv.Itoa(1000+i%5))
		n.run(&c)
	}
	at, ok := n.s.NextDue()
	require.True(t, ok)
	require.Equal(t, int64(testEpoch+1000), at)
	require.False(t, n.s.DueNow())
	n.tick(1004)
	require.True(t, n.s.DueNow())
	left := n.s.DBSize(0) + n.s.DBSize(1) + n.s.DBSize(2)
	require.Equal(t, 300-maxExpirePerEntry, left)
	// What is left is the end of the order (expireAt, db, key): of the 60 keys due
	// last, all in db 1 and 2 and the last four in db 0.
	require.Equal(t, []int{4, 20, 20}, []int{n.s.DBSize(0), n.s.DBSize(1), n.s.DBSize(2)})
	require.Equal(t, "(empty)", n.do("KEYS", "*"), "due keys are invisible, there or not")
	require.True(t, n.s.DueNow())
	n.tick(0)
	require.False(t, n.s.DueNow())
}

func TestApplySkipsAndRefusesOutOfOrder(t *testing.T) {
	n := newTestNode(t)
	n.do("INCR", "n")
	require.NoError(t, n.s.Apply(n.log, n), "entries applied before are skipped")
	require.Equal(t, `"1"`, n.do("GET", "n"))
	require.ErrorIs(t, n.s.Apply([]LogEntry{{Index: n.index + 2, Kind: EntryOther}}, n), ErrOrder)
	require.NoError(t, n.s.Apply([]LogEntry{{Index: n.index + 1, Kind: EntryOther, Body: []byte("config")}}, n))
	require.Equal(t, n.index+1, n.s.Applied())
}

// lockProbe checks that Done comes while reads are possible.
type lockProbe struct {
	*testNode
	done int
}

func (p *lockProbe) Blocked(*Chunk, int64) {}

func (p *lockProbe) Done(c *Chunk) {
	p.done++
	require.True(p.t, p.s.mu.TryRLock(), "the lock is free when a chunk is handed back")
	p.s.mu.RUnlock()
}

// One entry with many units is applied in several slices.
func TestApplyReleasesTheLockBetweenUnits(t *testing.T) {
	n := newTestNode(t)
	p := &lockProbe{testNode: n}
	var units [][]byte
	for i := uint64(1); i <= 2000; i++ {
		c := new(Chunk)
		addCommand(c, "INCR", "n")
		n.waiting[i] = c
		units = append(units, n.unit(c, i))
	}
	n.index++
	body := BuildEntry(EntryHeader{Level: ApplyLevel, Stamp: n.now}, units...)
	slices, atLast := 0, uint64(0)
	err := n.s.Apply([]LogEntry{{Index: n.index, Body: body}}, ownerFunc{p.Chunk, func(c *Chunk) {
		p.Done(c)
		n.s.mu.RLock()
		defer n.s.mu.RUnlock()
		if v := n.s.st.Version; v != atLast {
			slices, atLast = slices+1, v
		}
	}})
	require.NoError(t, err)
	require.InDelta(t, 2000*(opCost+1)/sliceCost, slices, 2)
	require.Equal(t, 2000, p.done)
	n.seq = 2000
	require.Equal(t, `"2000"`, n.do("GET", "n"))
}

type ownerFunc struct {
	chunk func(session, seq uint64) *Chunk
	done  func(*Chunk)
}

func (o ownerFunc) Chunk(session, seq uint64) *Chunk { return o.chunk(session, seq) }
func (o ownerFunc) Done(c *Chunk)                    { o.done(c) }
func (o ownerFunc) Blocked(*Chunk, int64)            {}

func TestPanicNamesTheEntry(t *testing.T) {
	n := newTestNode(t)
	cmd := LookupOp(28)
	run := cmd.Run
	defer func() { cmd.Run = run }()
	cmd.Run = func(*Ctx) { panic("boom") }
	var c Chunk
	addCommand(&c, "SET", "a", "1")
	n.seq++
	err := n.s.Apply([]LogEntry{{Index: n.index + 1, Body: BuildEntry(EntryHeader{Level: ApplyLevel}, n.unit(&c, n.seq))}}, n)
	var p *PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, n.index+1, p.Index)
	require.Equal(t, "boom", p.Value)
	require.Equal(t, n.index, n.s.Applied(), "the locks were released")
}

func TestConfigSet(t *testing.T) {
	n := newTestNode(t)
	set := func(pairs ...string) string {
		var c Chunk
		var b [][]byte
		for _, p := range pairs {
			b = append(b, []byte(p))
		}
		c.AppendConfigSet(b)
		n.run(&c)
		got := tapeText(t, c.Reply.Bytes())
		if want := ValidateSettings(b); want != "" {
			require.Equal(t, "(error) "+want, got)
		}
		return got
	}
	require.Equal(t, "OK", set("HASH-max-listpack-entries", "2", "proto-max-bulk-len", "1mb"))
	require.Equal(t, int64(2), n.s.Settings().HashMaxListpackEntries)
	require.Equal(t, int64(1<<20), n.s.Settings().ProtoMaxBulkLen)
	n.do("HSET", "h", "a", "1", "b", "2", "c", "3")
	require.Equal(t, `"hashtable"`, n.do("OBJECT", "ENCODING", "h"))
	require.Equal(t, "(error) "+errTooLong, n.do("SETRANGE", "s", "1048576", "x"))
	require.Equal(t, "(error) ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'", set("nosuch", "1"))
	require.Contains(t, set("hash-max-listpack-entries", "5", "proto-max-bulk-len", "64mb"), "argument must be between")
	require.Contains(t, set("hash-max-listpack-entries", "abc"), "couldn't be parsed into an integer")
	require.Contains(t, set("proto-max-bulk-len", "abc"), "must be a memory value")
	require.Contains(t, set("proto-max-bulk-len", "2mb", "PROTO-max-bulk-len", "3mb"), "duplicate parameter")
	require.Equal(t, int64(2), n.s.Settings().HashMaxListpackEntries, "all or nothing")
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "100": 100, "1k": 1000, "1KB": 1024, "2mb": 2 << 20, "3G": 3e9, "1gb": 1 << 30, "7b": 7} {
		got, ok := ParseMemory([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "mb", "-1", "1tb", "1 mb", "99999999999gb", "1.5mb"} {
		_, ok := ParseMemory([]byte(text))
		require.False(t, ok, text)
	}
}

// Strings grow past the size of a record and are changed in place from then on,
// also while a cut sees the old text.
func TestBigStrings(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "s", strings.Repeat("a", 60_000))
	require.Equal(t, "(integer) 70000", n.do("APPEND", "s", strings.Repeat("b", 10_000)))
	require.Equal(t, "(integer) 70001", n.do("APPEND", "s", "c"))
	cut := n.s.OpenCut()
	before := cut.Digest()
	require.Equal(t, "(integer) 70001", n.do("SETRANGE", "s", "0", "X"))
	require.Equal(t, "(integer) 70004", n.do("APPEND", "s", "def"))
	require.Equal(t, "(integer) 100001", n.do("SETRANGE", "s", "100000", "Z"))
	require.Equal(t, before, cut.Digest())
	cut.Close()
	require.Equal(t, `"Xa"`, n.do("GETRANGE", "s", "0", "1"))
	require.Equal(t, `"bcdef\x00"`, n.do("GETRANGE", "s", "69999", "70004"))
	require.Equal(t, `"\x00Z"`, n.do("GETRANGE", "s", "-2", "-1"))
	require.Equal(t, `"raw"`, n.do("OBJECT", "ENCODING", "s"))
	require.Equal(t, "OK", n.do("RENAME", "s", "t"))
	require.Equal(t, "(integer) 100001", n.do("STRLEN", "t"))
	n.do("SET", "t", "1")
	require.Equal(t, "(integer) 2", n.do("INCR", "t"))
}

// A cut that was open when a snapshot was loaded stays readable until it is closed.
func TestCutOutlivesLoad(t *testing.T) {
	n, other := newTestNode(t), newTestNode(t)
	randomHistory(t, n, 6, 200)
	other.do("SET", "a", "1")
	cut := n.s.OpenCut()
	before := cut.Digest()
	copyThrough(t, other.s, n.s)
	require.Equal(t, before, cut.Digest())
	cut.Close()
	_, d1 := n.s.Digest()
	_, d2 := other.s.Digest()
	require.Equal(t, d2, d1)
}
