package kv

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// collectionModel is one hash, list, set and sorted set each, as plain Go values.
type collectionModel struct {
	h map[string]string
	l []string
	s map[string]bool
	z map[string]float64
}

// TestCollectionsMatchModel: random changes, shrunk to a short history when one
// goes wrong; after each the whole contents are compared.
func TestCollectionsMatchModel(t *testing.T) {
	for name := range thresholds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				n := newThresholdNode(t, name)
				m := &collectionModel{h: map[string]string{}, s: map[string]bool{}, z: map[string]float64{}}
				elem := rapid.OneOf(
					rapid.StringMatching(`[a-e]`), rapid.StringMatching(`-?[1-9]`), rapid.SampledFrom([]string{"", "\x00\xff", strings.Repeat("y", 70)}))
				r.Repeat(map[string]func(*rapid.T){
					"hset": func(r *rapid.T) { m.hset(r, n, elem.Draw(r, "field"), elem.Draw(r, "value")) },
					"hdel": func(r *rapid.T) { m.hdel(r, n, elem.Draw(r, "field")) },
					"push": func(r *rapid.T) { m.push(r, n, elem.Draw(r, "element"), rapid.Bool().Draw(r, "head")) },
					"pop":  func(r *rapid.T) { m.pop(r, n, rapid.Bool().Draw(r, "head")) },
					"ltrim": func(r *rapid.T) {
						m.trim(r, n, rapid.IntRange(0, 3).Draw(r, "start"), rapid.IntRange(0, 8).Draw(r, "stop"))
					},
					"lrem": func(r *rapid.T) { m.lrem(r, n, elem.Draw(r, "element")) },
					"sadd": func(r *rapid.T) { m.sadd(r, n, elem.Draw(r, "member")) },
					"srem": func(r *rapid.T) { m.srem(r, n, elem.Draw(r, "member")) },
					"zadd": func(r *rapid.T) {
						m.zadd(r, n, elem.Draw(r, "member"), float64(rapid.IntRange(-6, 6).Draw(r, "score"))/2)
					},
					"zrem": func(r *rapid.T) { m.zrem(r, n, elem.Draw(r, "member")) },
					"zremrange": func(r *rapid.T) {
						lo := rapid.IntRange(-6, 6).Draw(r, "min")
						m.zremrange(r, n, float64(lo), float64(lo+rapid.IntRange(0, 2).Draw(r, "width")))
					},
					"": func(r *rapid.T) { m.check(r, n) },
				})
			})
		})
	}
}

// expect runs a command that replies an integer.
func expect(r *rapid.T, n *testNode, want int, args ...string) {
	require.Equal(r, fmt.Sprintf("(integer) %d", want), n.do(args...), "%q", args)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *collectionModel) hset(r *rapid.T, n *testNode, f, v string) {
	_, had := m.h[f]
	m.h[f] = v
	expect(r, n, count(!had), "HSET", "h", f, v)
}

func (m *collectionModel) hdel(r *rapid.T, n *testNode, f string) {
	_, had := m.h[f]
	delete(m.h, f)
	expect(r, n, count(had), "HDEL", "h", f)
}

func (m *collectionModel) push(r *rapid.T, n *testNode, e string, head bool) {
	if head {
		m.l = slices.Insert(m.l, 0, e)
		expect(r, n, len(m.l), "LPUSH", "l", e)
		return
	}
	m.l = append(m.l, e)
	expect(r, n, len(m.l), "RPUSH", "l", e)
}

func (m *collectionModel) pop(r *rapid.T, n *testNode, head bool) {
	name, want, at := "RPOP", "(nil)", len(m.l)-1
	if head {
		name, at = "LPOP", 0
	}
	if len(m.l) > 0 {
		want = strconv.Quote(m.l[at])
		m.l = slices.Delete(m.l, at, at+1)
	}
	require.Equal(r, want, n.do(name, "l"))
}

func (m *collectionModel) trim(r *rapid.T, n *testNode, start, stop int) {
	stop = min(stop+1, len(m.l))
	if start >= stop {
		m.l = nil
	} else {
		m.l = slices.Clone(m.l[start:stop])
	}
	require.Equal(r, "OK", n.do("LTRIM", "l", strconv.Itoa(start), strconv.Itoa(stop-1)))
}

func (m *collectionModel) lrem(r *rapid.T, n *testNode, e string) {
	before := len(m.l)
	m.l = slices.DeleteFunc(m.l, func(x string) bool { return x == e })
	expect(r, n, before-len(m.l), "LREM", "l", "0", e)
}

func (m *collectionModel) sadd(r *rapid.T, n *testNode, e string) {
	had := m.s[e]
	m.s[e] = true
	expect(r, n, count(!had), "SADD", "s", e)
}

func (m *collectionModel) srem(r *rapid.T, n *testNode, e string) {
	had := m.s[e]
	delete(m.s, e)
	expect(r, n, count(had), "SREM", "s", e)
}

func (m *collectionModel) zadd(r *rapid.T, n *testNode, e string, score float64) {
	_, had := m.z[e]
	m.z[e] = score
	expect(r, n, count(!had), "ZADD", "z", strconv.FormatFloat(score, 'g', -1, 64), e)
}

func (m *collectionModel) zrem(r *rapid.T, n *testNode, e string) {
	_, had := m.z[e]
	delete(m.z, e)
	expect(r, n, count(had), "ZREM", "z", e)
}

func (m *collectionModel) zremrange(r *rapid.T, n *testNode, lo, hi float64) {
	gone := 0
	for e, s := range m.z {
		if s >= lo && s < hi {
			delete(m.z, e)
			gone++
		}
	}
	expect(r, n, gone, "ZREMRANGEBYSCORE", "z", fmt.Sprint(lo), "("+fmt.Sprint(hi))
}

// ranking is the sorted set in order.
func (m *collectionModel) ranking() (members []string) {
	for e := range m.z {
		members = append(members, e)
	}
	slices.SortFunc(members, func(a, b string) int {
		return cmp.Or(cmp.Compare(m.z[a], m.z[b]), bytes.Compare([]byte(a), []byte(b)))
	})
	return members
}

func (m *collectionModel) check(r *rapid.T, n *testNode) {
	var list, ranked []string
	for _, e := range m.l {
		list = append(list, strconv.Quote(e))
	}
	for i, e := range m.ranking() {
		ranked = append(ranked, strconv.Quote(e), strconv.Quote(strconv.FormatFloat(m.z[e], 'g', -1, 64)))
		expect(r, n, i, "ZRANK", "z", e)
	}
	require.Equal(r, list, replyTexts(n, "LRANGE l 0 -1"))
	require.Equal(r, ranked, replyTexts(n, "ZRANGE z 0 -1 WITHSCORES"))

	var pairs, members []string
	for f, v := range m.h {
		pairs = append(pairs, strconv.Quote(f)+strconv.Quote(v))
	}
	for e := range m.s {
		members = append(members, strconv.Quote(e))
	}
	var gotPairs []string
	for hash := replyTexts(n, "HGETALL h"); len(hash) > 1; hash = hash[2:] {
		gotPairs = append(gotPairs, hash[0]+hash[1])
	}
	require.ElementsMatch(r, pairs, gotPairs)
	require.ElementsMatch(r, members, replyTexts(n, "SMEMBERS s"))
	expect(r, n, count(len(pairs) > 0)+count(len(list) > 0)+count(len(members) > 0)+count(len(ranked) > 0), "DBSIZE")
}

func replyTexts(n *testNode, command string) (texts []string) {
	for _, e := range n.doValue(strings.Fields(command)).elems {
		texts = append(texts, strconv.Quote(e.text))
	}
	return texts
}
