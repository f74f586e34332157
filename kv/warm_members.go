package kv

import (
	"bytes"
	"unsafe"
)

// warmMember is a member of a large collection that a command will look for: a field of a
// hash, a member of a set or a sorted set. What a search reads in a tree is one node of each
// level, the slot of a leaf and the entry it points to, each known only by the one before.
type warmMember struct {
	name []byte
	pops popsWhich // instead of a name
	// ranked: the command goes from the member's score to its place in the order of scores.
	ranked bool
	key    int // whose member
	// node is where the search has come to, nil if there is none.
	node   *treeNode
	prefix uint64
	entry  int // its place in node's data, below 0 if it is not there
}

// popsWhich says which members a command takes out of a sorted set without naming them.
type popsWhich int8

const (
	popsNone popsWhich = iota
	popsLowest
	popsHighest
)

// warmTree is the number of members below which their trees are in the cache anyway.
const warmTree = 1 << 11

// firstMembers says which argument, the name being the first, is a command's (first) member.
var firstMembers = map[string]int{
	"hget": 2, "hset": 2, "hsetnx": 2, "hmget": 2, "hmset": 2, "hdel": 2, "hexists": 2, "hstrlen": 2,
	"hincrby": 2, "hincrbyfloat": 2,
	"sadd": 2, "srem": 2, "sismember": 2, "smismember": 2,
	"zadd": 3, "zincrby": 3, "zrem": 2, "zscore": 2, "zmscore": 2, "zrank": 2, "zrevrank": 2,
	"geoadd": 4, "geopos": 2, "geodist": 2, "geohash": 2,
}

// rankedCommands go by a member's score, too.
var rankedCommands = []string{"zadd", "zincrby", "zrem", "zrank", "zrevrank", "geoadd"}

// noteMember notes a member of the key noted last.
func (w *warmer) noteMember(m warmMember) {
	if w.n > 0 && w.m < warmKeys {
		m.key = w.n - 1
		w.keys[m.key].held = true
		w.members[w.m], w.ranked = m, w.ranked || m.ranked
		w.m++
	}
}

// findTrees finds the trees of keys whose members were noted.
func (w *warmer) findTrees(h *heap) {
	for i := range w.keys[:w.n] {
		k := &w.keys[i]
		if !k.held || k.rec == 0 {
			continue
		}
		rec := readRecord(h.arena.at(k.rec))
		if rec.enc != EncTree || !bytes.Equal(rec.key, k.key) {
			continue
		}
		o := h.objects.get(rec.objectID())
		switch {
		case o.t == nil || o.t.len() < warmTree:
		case rec.typ == TypeZSet:
			k.byScore, k.byName = o.t, o.t2
		case rec.typ == TypeSet || rec.typ == TypeHash:
			k.byName = o.t
		}
	}
}

func (w *warmer) touchMembers(h *heap) {
	w.startAtRoots(h)
	w.descend()
	if w.ranked {
		w.startAtScores()
		w.descend()
	}
}

// descend goes down the trees, from where each search is to an entry.
func (w *warmer) descend() {
	members := w.members[:w.m]
	for inner := true; inner; {
		inner = false
		for i := range members {
			if m := &members[i]; m.node != nil && !m.node.isLeaf() {
				m.node = m.node.kids[m.node.kidUpTo(m.prefix)]
				inner = true
			}
		}
	}
	for i := range members {
		if m := &members[i]; m.node != nil && len(m.node.slots) > 0 {
			w.want(unsafe.Pointer(&m.node.slots[m.node.guess(m.node.scale.of(m.prefix))]))
		}
	}
	w.fetch()
	for i := range members {
		m := &members[i]
		if m.entry = -1; m.node != nil {
			rough := m.node.scale.of(m.prefix)
			if i := m.node.firstAtLeast(rough); i < len(m.node.slots) && m.node.slots[i].rough() == rough {
				m.entry = m.node.slots[i].offset()
			}
		}
	}
	for i := range members {
		if m := &members[i]; m.entry >= 0 {
			d := m.node.data
			w.want(unsafe.Pointer(&d[m.entry]))
			w.want(unsafe.Pointer(&d[min(m.entry+cacheLine, len(d)-1)]))
		}
	}
	w.fetch()
}

const cacheLine = 64

// startAtRoots finds out what is looked for in which tree. Commands that take a sorted set's
// lowest members will come to them in their order.
func (w *warmer) startAtRoots(h *heap) {
	var next treeIter
	of, pops := -1, popsNone
	for i := range w.members[:w.m] {
		m := &w.members[i]
		k := &w.keys[m.key]
		if k.byName == nil || m.pops != popsNone && k.byScore == nil {
			continue
		}
		if m.pops != popsNone {
			switch {
			case of == m.key && pops == m.pops:
				next.move(m.pops.step())
			case m.pops == popsLowest:
				next = k.byScore.first()
			default:
				next = k.byScore.last()
			}
			if of, pops = m.key, m.pops; !next.valid() {
				continue
			}
			m.name, _ = splitScored(next.key())
		}
		m.node, m.prefix = k.byName.root, hash64(h, m.name)
	}
}

// startAtScores is startAtRoots for the trees by score, once members' scores were found.
func (w *warmer) startAtScores() {
	for i := range w.members[:w.m] {
		m := &w.members[i]
		leaf, scores := m.node, w.keys[m.key].byScore
		if m.node = nil; leaf == nil || m.entry < 0 || !m.ranked || scores == nil {
			continue
		}
		if _, score := leaf.entryAt(m.entry); len(score) == scoreSize {
			m.node, m.prefix = scores.root, prefixOf(score)
		}
	}
}

func (p popsWhich) step() int {
	if p == popsHighest {
		return -1
	}
	return 1
}
