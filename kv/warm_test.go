package kv

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// warmNode has a hash, a set and a sorted set of so many members, large enough to be looked
// ahead at, and a small hash.
func warmNode(t *testing.T, members int) *testNode {
	n := newTestNode(t)
	for i := range members {
		m := fmt.Sprint("member:", i)
		n.do("HSET", "hash", m, "value")
		n.do("SADD", "set", m)
		n.do("ZADD", "zset", fmt.Sprint(i), m)
	}
	n.do("HSET", "small", "member:1", "value")
	return n
}

// What is read ahead is what the commands come to: the entries of the members they name, and
// of those that ZPOPMIN and ZPOPMAX are going to take.
func TestWarmerFindsEntries(t *testing.T) {
	const members = 2 * warmTree
	n := warmNode(t, members)
	var w warmer
	s := n.s
	note := func(key string, m warmMember) {
		w.noteKey(s, 0, []byte(key))
		w.noteMember(m)
	}
	for i := range 10 {
		name := []byte(fmt.Sprint("member:", i*37))
		note("hash", warmMember{name: name})
		note("set", warmMember{name: name})
		note("zset", warmMember{name: name})
	}
	note("hash", warmMember{name: []byte("none")})
	note("small", warmMember{name: []byte("member:1")})
	note("missing", warmMember{name: []byte("member:1")})
	for range 3 {
		note("zset", warmMember{pops: popsLowest})
	}
	for range 2 {
		note("zset", warmMember{pops: popsHighest})
	}
	note("set", warmMember{pops: popsLowest})
	w.touch(s, true)
	found := func(m *warmMember) string {
		if m.node == nil || m.entry < 0 {
			return ""
		}
		key, _ := m.node.entryAt(m.entry)
		return string(hashedMember(key))
	}
	for i := range 30 {
		require.Equal(t, fmt.Sprint("member:", i/3*37), found(&w.members[i]))
	}
	var rest []string
	for i := range w.members[30:w.m] {
		rest = append(rest, found(&w.members[30+i]))
	}
	require.NotEqual(t, "none", rest[0])
	last := func(i int) string { return fmt.Sprint("member:", members-1-i) }
	require.Equal(t, []string{"", "", "member:0", "member:1", "member:2", last(0), last(1), ""}, rest[1:])
	w.forget()
	note("zset", warmMember{name: []byte("member:3001"), ranked: true})
	w.touch(s, true)
	require.Equal(t, "member:3001", found(&w.members[0]))
	score, _ := w.members[0].node.entryAt(w.members[0].entry)
	require.Equal(t, 3001.0, readScore(score), "it was found by its score in the end")
}

// The lines asked for last are those of the records that a SET is about to write.
func TestWarmerFetchesRecords(t *testing.T) {
	n := newTestNode(t)
	name := func(i int) []byte { return fmt.Append(nil, "key:", i) }
	for i := range 2 * warmTable {
		n.do("SET", string(name(i)), strings.Repeat("v", 70))
	}
	var w warmer
	for i := range warmKeys {
		w.noteKey(n.s, 0, name(i*37))
	}
	w.touch(n.s, true)
	ks, arena, found := n.s.dbs[0], n.s.heap.arena, 0
	for i := range warmKeys {
		r, ok := ks.t.find(arena, n.s.hash(name(i*37)), name(i*37))
		require.True(t, ok)
		mem := arena.at(r)
		at := slices.Index(w.lines[:], uintptr(unsafe.Pointer(&mem[0])))
		if at < 0 { // it shares its home group with another one of the same tag, or had no room in it
			continue
		}
		found++
		require.Equal(t, uintptr(unsafe.Pointer(&mem[cacheLine])), w.lines[at+1])
		require.Equal(t, uintptr(unsafe.Pointer(&arena.pages[r>>pageRefBits].class)), w.lines[at+2])
	}
	require.Greater(t, found, warmKeys*3/4)
}

// A search reads one line of a segment itself: it is as large as one, and the collector
// hands out blocks of that size by lines.
func TestSegmentIsOneLine(t *testing.T) {
	require.EqualValues(t, cacheLine, unsafe.Sizeof(segment{}))
}

// What was read ahead is not held: a tree that a command of the same entry deletes is the
// collector's, even if no write comes for long.
func TestWarmerHoldsNothing(t *testing.T) {
	n := warmNode(t, warmTree+100)
	var c Chunk
	addCommand(&c, "DEL", "hash")
	addCommand(&c, "HSET", "hash", "member:7", "value")
	n.run(&c)
	require.Equal(t, ":1\r\n:1\r\n", string(c.Reply.b))
	var w warmer
	var c2 Chunk
	addCommand(&c2, "HSET", "hash", "member:7", "value")
	addCommand(&c2, "HGET", "hash", "member:7")
	addCommand(&c2, "HSET", "hash", "member:8", "value")
	w.next(n.s, 0, c2.Ops, uint64(c2.NumOps), &UnitIter{})
	require.Equal(t, int(c2.NumOps)-1, w.left, "it looked ahead")
	for i := range warmKeys {
		require.Zero(t, n.s.ahead.keys[i])
		require.Zero(t, n.s.ahead.members[i])
		require.Zero(t, w.keys[i])
		require.Zero(t, w.members[i])
	}
}

// Commands of one chunk, which are looked ahead at together, reply what they do alone.
func TestLookingAheadChangesNoReply(t *testing.T) {
	commands := [][]string{
		{"HGET", "hash", "member:7"}, {"HGET", "hash", "none"}, {"HGET", "hash", ""}, {"HGET", "set", "member:7"},
		{"HGET", "small", "member:1"}, {"HGET", "missing", "member:1"}, {"SISMEMBER", "set", "member:7"},
		{"SISMEMBER", "set", "none"}, {"ZSCORE", "zset", "member:9"}, {"ZSCORE", "hash", "member:9"},
		{"ZRANK", "zset", "member:1000"}, {"HMGET", "hash", "member:1", "none"}, {"PING"}, {"GET", "hash"},
		{"GET", "missing"}, {"EXISTS", "hash", "set"}, {"HLEN", "hash"}, {"ZMSCORE", "zset", "member:1"},
		{"HSET", "hash", "member:7", "longer than before"}, {"HGET", "hash", "member:7"}, {"HDEL", "hash", "member:8"},
		{"ZPOPMIN", "zset"}, {"ZPOPMIN", "zset", "2"}, {"ZPOPMAX", "zset"}, {"ZPOPMIN", "set"}, {"ZPOPMIN", "missing"},
		{"ZADD", "zset", "XX", "1", "member:9"}, {"ZINCRBY", "zset", "1", "member:9"}, {"SADD", "set", "one more"},
		{"SREM", "set", "member:3"}, {"HINCRBY", "hash", "number", "1"}, {"DEL", "set"}, {"SADD", "set", "member:1"},
		{"ZSCORE", "zset", "member:9"}, {"SISMEMBER", "set", "member:7"},
	}
	var reads [][]string
	for _, args := range commands {
		if !Lookup([]byte(args[0])).Logged() {
			reads = append(reads, args)
		}
	}
	together, alone := warmNode(t, warmTree+100), warmNode(t, warmTree+100)
	for _, commands := range [][][]string{commands, reads} {
		var all Chunk
		var want []byte
		for range 5 { // more than are looked ahead at in one go
			for _, args := range commands {
				addCommand(&all, args...)
				var c Chunk
				addCommand(&c, args...)
				alone.run(&c)
				want = append(want, c.Reply.b...)
			}
		}
		together.run(&all)
		require.Equal(t, string(want), string(all.Reply.b))
	}
}
