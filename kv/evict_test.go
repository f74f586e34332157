package kv

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// evictOn proposes what the store itself would evict, after what happened in between.
func evictOn(t *testing.T, n *testNode, bytes int64, between func()) int {
	var c Chunk
	require.True(t, n.s.Evict(&c, bytes, n.s.Stamp(), 7))
	if between != nil {
		between()
	}
	before := n.s.Stats().Evicted
	n.index++
	body := BuildEntry(EntryHeader{Level: ApplyLevel}, AppendUnit(nil, UnitHeader{Ops: uint64(c.NumOps)}, c.Ops))
	_, err := CheckUnit(AppendUnit(nil, UnitHeader{Ops: uint64(c.NumOps)}, c.Ops))
	require.NoError(t, err)
	require.NoError(t, n.s.Apply([]LogEntry{{Index: n.index, Body: body}}, n))
	return int(n.s.Stats().Evicted - before)
}

func do(n *testNode, args ...string) {
	var c Chunk
	addCommand(&c, args...)
	n.run(&c)
}

func TestEvictionPolicies(t *testing.T) {
	for _, policy := range EvictionPolicies {
		n := newTestNode(t)
		var c Chunk
		c.AppendConfigSet([][]byte{[]byte("maxmemory"), []byte("1"), []byte("maxmemory-policy"), []byte(policy)})
		n.run(&c)
		_, evicts := n.s.OverMemory()
		require.Equal(t, policy != "noeviction", evicts)
		if !evicts {
			continue
		}
		for i := range 200 {
			do(n, "SET", "plain"+strconv.Itoa(i), "x")
		}
		volatile := policy[0] == 'v'
		var none Chunk
		require.Equal(t, !volatile, n.s.Evict(&none, 1, 0, 1), "nothing expires yet: %s", policy)
		for i := range 200 {
			do(n, "SET", "due"+strconv.Itoa(i), "x", "PXAT", strconv.FormatInt(n.s.Stamp()+int64(1e6+i), 10))
		}
		if over, _ := n.s.OverMemory(); over <= 0 {
			t.Fatal("400 keys take more than a byte")
		}
		got := evictOn(t, n, 1000, nil)
		require.Greater(t, got, 5, policy)
		require.Less(t, got, 60, policy)
		require.Equal(t, 400-got, n.s.DBSize(0))
		if volatile {
			require.Equal(t, 200-got, n.s.Stats().Expires[0], policy)
		}
		if policy == "volatile-ttl" {
			var first Chunk
			addCommand(&first, "EXISTS", "due0", "due1", "due2")
			n.run(&first)
			require.Equal(t, ":0\r\n", string(first.Reply.Bytes()), "the first to expire go first")
		}
	}
}

// A key that was written after it was chosen stays: it is not the one that was judged.
func TestEvictionKeepsWhatWasModified(t *testing.T) {
	n := newTestNode(t)
	var c Chunk
	c.AppendConfigSet([][]byte{[]byte("maxmemory"), []byte("1"), []byte("maxmemory-policy"), []byte("allkeys-random")})
	n.run(&c)
	do(n, "SET", "a", "1")
	do(n, "SET", "b", "1")
	got := evictOn(t, n, 1e6, func() { do(n, "SET", "a", "2") })
	require.Equal(t, 1, got)
	require.Equal(t, 1, n.s.DBSize(0))
}

func TestEvictMalformed(t *testing.T) {
	for _, args := range [][][]byte{nil, {{}}, {{0x80}}} {
		var c Chunk
		c.appendControl(opEvict, args...)
		_, err := CheckUnit(AppendUnit(nil, UnitHeader{Ops: 1}, c.Ops))
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestHitsAndUses(t *testing.T) {
	n := newTestNode(t)
	var c Chunk
	c.AppendConfigSet([][]byte{[]byte("maxmemory-policy"), []byte("allkeys-lfu")})
	addCommand(&c, "SET", "a", "1")
	addCommand(&c, "GET", "a")
	addCommand(&c, "GET", "nosuch")
	addCommand(&c, "OBJECT", "FREQ", "a")
	addCommand(&c, "OBJECT", "IDLETIME", "a")
	n.run(&c)
	require.Contains(t, string(c.Reply.Bytes()), "idle time not tracked")
	require.NotContains(t, string(c.Reply.Bytes()), "frequency not tracked")
	st := n.s.Stats()
	require.GreaterOrEqual(t, st.Hits, uint64(1))
	require.Equal(t, uint64(1), st.Misses)
}

// TestIdleTime: uses are noted whatever the policy is; looking at a key is none.
func TestIdleTime(t *testing.T) {
	n := newTestNode(t)
	idle := func() string { return n.do("OBJECT", "IDLETIME", "k") }
	n.do("SET", "k", "v")
	n.now += 3000
	for _, args := range [][]string{{"TTL", "k"}, {"TYPE", "k"}, {"EXISTS", "k"}, {"OBJECT", "ENCODING", "k"}} {
		n.do(args...)
		require.Equal(t, "(integer) 3", idle(), args)
	}
	for _, args := range [][]string{
		{"GET", "k"}, {"TOUCH", "k"}, {"APPEND", "k", "w"}, {"SET", "k", "v"}, {"COPY", "k", "j"}, {"RENAME", "j", "k"},
	} {
		n.now += 2000
		n.do(args...)
		require.Equal(t, "(integer) 0", idle(), args)
	}
}
