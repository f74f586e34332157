package kv

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reloaded is a store that was restored from a snapshot of n's.
func reloaded(t *testing.T, n *testNode) *Store {
	t.Helper()
	cut := n.s.OpenCut()
	defer cut.Close()
	fresh := New(Options{HashSeed: 7})
	l := fresh.NewLoader()
	d := NewRDBLoader(l)
	defer d.Abort()
	require.NoError(t, cut.Blocks(func(raw []byte, _ int) error { return d.Feed(raw) }))
	require.NoError(t, d.Finish())
	require.NoError(t, l.Commit(cut.Index))
	return fresh
}

// modelField is a field as a map keeps it; at 0 is no expiry.
type modelField struct {
	val string
	at  int64
}

// TestFieldExpiryAgainstAModel runs random commands while time passes, small and
// large, with cuts open and closed, and compares with a map after each. Now and
// then the store is replaced by one restored from its snapshot.
func TestFieldExpiryAgainstAModel(t *testing.T) {
	for _, threshold := range []string{"default", "three", "trees"} {
		t.Run(threshold, func(t *testing.T) {
			for seed := range uint64(2) {
				runFieldModel(t, newThresholdNode(t, threshold), rand.New(rand.NewPCG(seed, 9)))
			}
		})
	}
}

func runFieldModel(t *testing.T, n *testNode, r *rand.Rand) {
	model := map[string]modelField{}
	var cut *Cut
	var digest string
	for step := range 800 {
		f := fmt.Sprint("field", r.IntN(40))
		old, exists := model[f]
		switch r.IntN(12) {
		case 0, 1, 2:
			v := fmt.Sprint(r.IntN(1000))
			n.do("HSET", "h", f, v)
			model[f] = modelField{val: v}
		case 3, 4, 5:
			at := n.now + int64(r.IntN(300))
			reply := n.do("HPEXPIREAT", "h", itoa(at), "FIELDS", "1", f)
			switch {
			case !exists:
				require.Equal(t, "1) (integer) -2", reply)
			case at == n.now:
				require.Equal(t, "1) (integer) 2", reply)
				delete(model, f)
			default:
				require.Equal(t, "1) (integer) 1", reply)
				model[f] = modelField{old.val, at}
			}
		case 6:
			reply := n.do("HDEL", "h", f)
			require.Equal(t, exists, reply == "(integer) 1", reply)
			delete(model, f)
		case 7:
			n.do("HPERSIST", "h", "FIELDS", "1", f)
			if exists {
				model[f] = modelField{val: old.val}
			}
		case 8:
			if n.do("RENAME", "h", "g") == "OK" {
				n.do("COPY", "g", "h")
				n.do("DEL", "g")
			}
		case 9:
			n.now += int64(r.IntN(60))
		case 10:
			if cut == nil {
				cut = n.s.OpenCut()
				digest = cut.Digest()
			} else {
				require.Equal(t, digest, cut.Digest(), "a cut does not change")
				cut.Close()
				cut = nil
			}
		case 11:
			if step%10 == 0 {
				s := reloaded(t, n)
				_, a := n.s.Digest()
				_, b := s.Digest()
				require.Equal(t, a, b)
				want := n.do("OBJECT", "ENCODING", "h")
				if cut == nil {
					n.s = s
				}
				require.Equal(t, want, n.do("OBJECT", "ENCODING", "h"))
			}
		}
		for f, m := range model {
			if m.at != 0 && m.at <= n.now {
				delete(model, f)
			}
		}
		requireFields(t, n, model)
	}
	if cut != nil {
		cut.Close()
	}
	n.do("DEL", "h")
	require.Zero(t, n.s.dbs[0].fieldsDue.len())
	require.Zero(t, n.s.heap.treeBytes)
}

func requireFields(t *testing.T, n *testNode, model map[string]modelField) {
	t.Helper()
	all := n.doValue([]string{"HGETALL", "h"})
	require.Len(t, all.elems, 2*len(model))
	for i := 0; i < len(all.elems); i += 2 {
		f, v := all.elems[i].text, all.elems[i+1].text
		require.Equal(t, model[f].val, v)
		ttl := model[f].at
		if ttl == 0 {
			ttl = -1
		}
		require.Equal(t, "1) (integer) "+itoa(ttl), n.do("HPEXPIRETIME", "h", "FIELDS", "1", f))
	}
	require.Equal(t, fmt.Sprint("(integer) ", len(model)), n.do("HLEN", "h"))
	require.Equal(t, len(model) > 0, n.do("EXISTS", "h") == "(integer) 1")
}

// Far more fields become due at once than an entry may remove: what is left is
// hidden, each entry removes a bounded number, and in the end nothing is left.
func TestManyFieldsDueAtOnce(t *testing.T) {
	n := newTestNode(t)
	args := []string{"HPEXPIRE", "h", "100", "FIELDS", "2000"}
	for i := range 2000 {
		n.do("HSET", "h", fmt.Sprint(i), "v")
		args = append(args, fmt.Sprint(i))
	}
	n.do("HSET", "h", "stays", "v")
	n.do(args...)
	at, ok := n.s.NextDue()
	require.True(t, ok)
	require.Equal(t, n.now+100, at)
	require.Equal(t, "(integer) 2001", n.do("HLEN", "h"))
	left := func() int {
		v, _ := n.s.dbs[0].get([]byte("h"))
		return v.Obj.t.len()
	}
	n.tick(100)
	require.Equal(t, 2001-maxExpirePerEntry, left())
	require.True(t, n.s.DueNow())
	require.Equal(t, "(integer) 1", n.do("HLEN", "h"))
	require.Equal(t, `1) "stays"`, n.do("HKEYS", "h"))
	require.Equal(t, `1) "stays"`, n.do("HRANDFIELD", "h", "5"))
	require.Equal(t, 2001-maxExpirePerEntry, left(), "reads remove nothing")
	require.Equal(t, "(integer) 1", n.do("HSET", "h", "1999", "back"), "a due field is no field")
	require.Equal(t, "(integer) 2", n.do("HLEN", "h"))
	require.InDelta(t, 2001-3*maxExpirePerEntry, left(), 1)
	for range 10 {
		n.tick(1)
	}
	require.False(t, n.s.DueNow())
	require.Equal(t, "(integer) 2", n.do("HLEN", "h"))
	require.Equal(t, "hashtable", strings.Trim(n.do("OBJECT", "ENCODING", "h"), `"`))
}

// A read that meets a field due by the clock but not by the stamp asks for a TICK.
func TestFieldDueByTheClockNeedsATick(t *testing.T) {
	n := newTestNode(t)
	n.do("HSET", "h", "a", "1", "b", "2")
	n.do("HPEXPIRE", "h", "100", "FIELDS", "1", "a")
	read := func(args ...string) (Chunk, bool) {
		var c Chunk
		addCommand(&c, args...)
		return c, n.s.Read(&c, n.now+100)
	}
	_, tick := read("HGET", "h", "a")
	require.True(t, tick)
	n.do("HPEXPIRE", "h", "100", "FIELDS", "1", "b")
	_, tick = read("EXISTS", "h")
	require.True(t, tick, "the hash is about to end")
	n.tick(100)
	require.Equal(t, "(integer) 0", n.do("EXISTS", "h"))
}

// DUMP and RESTORE keep the expiries of fields, those of the past included.
func TestDumpOfExpiringFields(t *testing.T) {
	for _, threshold := range []string{"default", "three"} {
		n := newThresholdNode(t, threshold)
		n.do("HSET", "h", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5")
		n.do("HPEXPIRE", "h", "500", "FIELDS", "2", "a", "d")
		n.do("HPEXPIRE", "h", "100", "FIELDS", "1", "b")
		dump := n.doValue([]string{"DUMP", "h"}).text
		require.Equal(t, "OK", n.do("RESTORE", "copy", "0", dump))
		require.Equal(t, n.do("HPTTL", "h", "FIELDS", "5", "a", "b", "c", "d", "e"), n.do("HPTTL", "copy", "FIELDS", "5", "a", "b", "c", "d", "e"))
		require.Equal(t, n.do("OBJECT", "ENCODING", "h"), n.do("OBJECT", "ENCODING", "copy"))
		n.tick(100)
		require.Equal(t, "OK", n.do("RESTORE", "late", "0", dump))
		require.Equal(t, "(integer) 4", n.do("HLEN", "late"))
	}
}

// A large sorted set has a second tree as a hash with expiring fields has, with scores in
// it. Read as times they were always due: a store that was restored from a snapshot went
// through a round of expiry with every entry, which counts as a step (found by seed 20060
// of the simulator).
func TestSortedSetsHaveNoFieldsThatExpire(t *testing.T) {
	n := newTestNode(t)
	for i := range 300 {
		n.do("ZADD", "z", itoa(int64(i-100)), fmt.Sprint("member", i))
	}
	for _, line := range []string{"COPY z y", "RENAME z x", "HSET h f v", "HPEXPIRE h 5000 FIELDS 1 f", "SADD s a 1 " + strings.Repeat("x", 100)} {
		n.line(line)
	}
	due := n.now + 5000
	for _, s := range []*Store{n.s, reloaded(t, n)} {
		at, ok := s.NextDue()
		require.True(t, ok)
		require.InDelta(t, due, at, 10, "the hash's field and nothing else")
	}
	n.line("DEL h")
	_, ok := reloaded(t, n).NextDue()
	require.False(t, ok)
}
