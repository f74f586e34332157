package kv

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// zsetView is a sorted set opened by a command. Ranks count from the lowest
// (score, member).
//
//	packed: member, score, member, score ... by (score, member)
//	tree:   t  by score:  score member -> nothing
//	        t2 by member: hash64(member) member -> score
//
// (zset_score.go has the form of a score.)
type zsetView struct{ collection }

// openZSet opens the key's sorted set, empty if the key is missing. If ok is false
// WRONGTYPE was replied.
func (c *Ctx) openZSet(key []byte) (z zsetView, ok bool) {
	z.collection, ok = c.openCollection(key, TypeZSet)
	return z, ok
}

func (z *zsetView) len() int {
	if z.isTree() {
		return z.object().t.len()
	}
	return packedLen(z.v.Bytes) / 2
}

// score returns the member's score.
func (z *zsetView) score(member []byte) (score float64, ok bool) {
	if z.isTree() {
		var tmp [keyBufSize]byte
		val, ok := z.object().t2.get(appendHashed(tmp[:0], z.heap(), member))
		return readScore(val), ok
	}
	_, score, ok = z.find(member)
	return score, ok
}

// find looks for a member in the packed form.
func (z *zsetView) find(member []byte) (rank int, score float64, ok bool) {
	it := iterPacked(z.v.Bytes)
	for rank = 0; ; rank++ {
		m, more := it.next()
		if !more {
			return 0, 0, false
		}
		s, _ := it.next()
		if bytes.Equal(m, member) {
			return rank, readScore(s), true
		}
	}
}

// rank returns the member's rank and score.
func (z *zsetView) rank(member []byte) (rank int, score float64, ok bool) {
	if !z.isTree() {
		return z.find(member)
	}
	if score, ok = z.score(member); !ok {
		return 0, 0, false
	}
	var tmp [keyBufSize]byte
	rank, ok = z.object().t.rank(appendScored(tmp[:0], score, member))
	return rank, score, ok
}

// at returns the member at a rank within the set, valid until the next change.
func (z *zsetView) at(rank int) (member []byte, score float64) {
	if z.isTree() {
		key, _ := z.object().t.at(rank)
		return splitScored(key)
	}
	member, _ = packedAt(z.v.Bytes, 2*rank)
	s, _ := packedAt(z.v.Bytes, 2*rank+1)
	return member, readScore(s)
}

// walk visits the ranks lo <= r < hi, highest first if rev is set, until visit
// returns false.
func (z *zsetView) walk(lo, hi int, rev bool, visit func(member []byte, score float64) bool) {
	switch {
	case lo >= hi:
	case z.isTree() && rev:
		it := z.object().t.seekRank(hi - 1)
		for n := hi - lo; n > 0 && it.valid() && visit(splitScored(it.key())); n-- {
			it.prev()
		}
	case z.isTree():
		it := z.object().t.seekRank(lo)
		for n := hi - lo; n > 0 && it.valid() && visit(splitScored(it.key())); n-- {
			it.next()
		}
	case rev:
		elems := packedElems(z.v.Bytes)
		for r := hi - 1; r >= lo && visit(elems[2*r], readScore(elems[2*r+1])); r-- {
		}
	default:
		it := iterPacked(z.v.Bytes)
		for r := range hi {
			m, _ := it.next()
			s, ok := it.next()
			if !ok || r >= lo && !visit(m, readScore(s)) {
				return
			}
		}
	}
}

// walkScores visits the members with from <= score < to until visit returns false, and
// returns how many it visited. A search for the first is all it needs, where ranks take
// three.
func (z *zsetView) walkScores(from, to float64, visit func(member []byte, score float64) bool) (n int) {
	if !z.isTree() {
		lo, hi := z.scoreRanks(scoreRange{min: from, max: to, maxEx: true})
		z.walk(lo, hi, false, visit)
		return hi - lo
	}
	var tmp [scoreSize]byte
	for it := z.object().t.seek(appendScore(tmp[:0], from)); it.valid(); it.nextLeaf() {
		leaf := it.p.leaf()
		for i := it.p.pos(); i < leaf.n; i++ {
			key, _ := leaf.entry(i)
			member, score := splitScored(key)
			if score >= to {
				return n
			}
			if n++; !visit(member, score) {
				return n
			}
		}
	}
	return n
}

// each visits all members in order until visit returns false.
func (z *zsetView) each(visit func(member []byte, score float64) bool) {
	z.walk(0, z.len(), false, visit)
}

// put sets the score of a member; old is its score if it exists.
func (z *zsetView) put(member []byte, score, old float64, exists bool) {
	if !z.isTree() && !exists && z.mustConvert(member) {
		z.convert()
	}
	if !z.isTree() {
		if exists {
			z.remove(member, old)
		}
		var tmp [scoreSize]byte
		at := z.lowerBound(score, member)
		z.endEdit(packedInsertAt(z.beginEdit(), z.v.Bytes, 2*at, member, appendScore(tmp[:0], score)))
		return
	}
	o := z.mutable()
	var keyBuf [keyBufSize]byte
	var valBuf [scoreSize]byte
	if exists {
		o.t.del(appendScored(keyBuf[:0], old, member))
	}
	o.t.put(appendScored(keyBuf[:0], score, member), nil)
	o.t2.put(appendHashed(keyBuf[:0], z.heap(), member), appendScore(valBuf[:0], score))
}

// fill makes the members, in the order of scored.hashed, all that is in a new set of
// trees.
func (z *zsetView) fill(ms []scored) {
	o := z.mutable()
	names := ms
	var score []byte
	o.t2.rebuild(func() (key, val []byte, ok bool) {
		if len(names) == 0 {
			return nil, nil, false
		}
		m := names[0]
		names = names[1:]
		score = appendScore(score[:0], m.score)
		return m.hashed, score, true
	})
	keys := sortScored(ms)
	var key []byte
	o.t.rebuild(func() (_, val []byte, ok bool) {
		if len(keys) == 0 {
			return nil, nil, false
		}
		m := &ms[keys[0].at]
		keys = keys[1:]
		key = appendScored(key[:0], m.score, m.member())
		return key, nil, true
	})
}

// expect prepares for adding n members, the longest of so many bytes, as Redis does:
// if they are more than may be packed a new sorted set is a skiplist at once. They may
// not come to it (XX), so one that is there already waits and sees; only since 7.2
// their number counts.
func (z *zsetView) expect(n int, longest int) {
	set := z.c.settings()
	if z.found {
		longest = 0
		if set.RedisVersion < redis72 {
			return
		}
	}
	if !z.isTree() && (n > int(set.ZSetMaxListpackEntries) || longest > int(set.ZSetMaxListpackValue)) {
		z.convert()
	}
}

func (z *zsetView) mustConvert(member []byte) bool {
	set := z.c.settings()
	return z.len() >= int(set.ZSetMaxListpackEntries) || len(member) > int(set.ZSetMaxListpackValue) ||
		!z.fitsPacked(len(member)+scoreSize)
}

// remove removes a member with its score.
func (z *zsetView) remove(member []byte, score float64) {
	if !z.isTree() {
		if rank, _, ok := z.find(member); ok {
			z.endEdit(packedDeleteAt(z.beginEdit(), z.v.Bytes, 2*rank, 2))
		}
		return
	}
	o := z.mutable()
	var tmp [keyBufSize]byte
	o.t.del(appendScored(tmp[:0], score, member))
	o.t2.del(appendHashed(tmp[:0], z.heap(), member))
}

// removeRange removes the ranks lo <= r < hi.
func (z *zsetView) removeRange(lo, hi int) {
	if lo >= hi {
		return
	}
	if !z.isTree() {
		z.endEdit(packedDeleteAt(z.beginEdit(), z.v.Bytes, 2*lo, 2*(hi-lo)))
		return
	}
	o := z.mutable()
	if hi-lo > o.t.len()/bulkShare {
		z.removeManyNames(lo, hi)
	} else {
		var key []byte
		for it, n := o.t.seekRank(lo), hi-lo; n > 0 && it.valid(); n-- {
			member, _ := splitScored(it.key())
			key = appendHashed(key[:0], z.heap(), member)
			o.t2.del(key)
			it.next()
		}
	}
	o.t.delRange(lo, hi)
}

// takeRange makes the ranks lo <= r < hi of a set in trees, many, all that is in a new
// one: it is a copy that the others are removed from.
func (z *zsetView) takeRange(src *zsetView, lo, hi int) {
	z.becomeTree(z.heap().copyObject(src.object()))
	z.removeRange(hi, src.len())
	z.removeRange(0, lo)
}

// removeManyNames takes the members of the ranks lo <= r < hi out of t2, in one pass
// over it: an entry's score, and only at the ends of the range its member too, says
// whether it goes.
func (z *zsetView) removeManyNames(lo, hi int) {
	o := z.object()
	if hi-lo >= o.t2.len() {
		o.t2.delRange(0, o.t2.len())
		return
	}
	first, _ := o.t.at(lo)
	last, _ := o.t.at(hi - 1)
	o.t2.keep(func(key, score []byte) bool {
		return compareNamed(score, key, first) < 0 || compareNamed(score, key, last) > 0
	})
}

// compareNamed compares an entry of t2 with a key of t.
func compareNamed(score, hashed, scoredKey []byte) int {
	if c := bytes.Compare(score, scoredKey[:scoreSize]); c != 0 {
		return c
	}
	return bytes.Compare(hashedMember(hashed), scoredKey[scoreSize:])
}

// lowerBound is the number of elements below (score, member).
func (z *zsetView) lowerBound(score float64, member []byte) (rank int) {
	if z.isTree() {
		var tmp [keyBufSize]byte
		rank, _ = z.object().t.rank(appendScored(tmp[:0], score, member))
		return rank
	}
	it := iterPacked(z.v.Bytes)
	for ; ; rank++ {
		m, _ := it.next()
		s, ok := it.next()
		if !ok || compareScored(readScore(s), m, score, member) >= 0 {
			return rank
		}
	}
}

// upperBound is the number of elements with a score of at most the given one.
func (z *zsetView) upperBound(score float64) int {
	if z.isTree() {
		// Everything with this score sorts below the next score, whatever the member.
		var tmp [scoreSize]byte
		next := binary.BigEndian.AppendUint64(tmp[:0], encodeScore(score)+1)
		rank, _ := z.object().t.rank(next)
		return rank
	}
	n := 0
	z.each(func(_ []byte, s float64) bool {
		if s <= score {
			n++
		}
		return s <= score
	})
	return n
}

// scoreRanks turns a range of scores into ranks lo <= r < hi.
func (z *zsetView) scoreRanks(r scoreRange) (lo, hi int) {
	if r.min > r.max || r.min == r.max && (r.minEx || r.maxEx) {
		return 0, 0
	}
	if r.minEx {
		lo = z.upperBound(r.min)
	} else {
		lo = z.lowerBound(r.min, nil)
	}
	if r.maxEx {
		hi = z.lowerBound(r.max, nil)
	} else {
		hi = z.upperBound(r.max)
	}
	return lo, max(lo, hi)
}

// lexRanks turns a range of members into ranks lo <= r < hi. It means something
// only if all scores are equal, as Redis documents.
func (z *zsetView) lexRanks(min, max lexBound) (lo, hi int) {
	lo, hi = z.lexRank(min, min.exclusive), z.lexRank(max, !max.exclusive)
	if lo > hi {
		return 0, 0
	}
	return lo, hi
}

// lexRank is the number of members below the bound, or up to it if it is to be
// included.
func (z *zsetView) lexRank(b lexBound, include bool) int {
	switch n := z.len(); {
	case b.kind == lexLowest || n == 0:
		return 0
	case b.kind == lexHighest:
		return n
	case z.isTree():
		return sort.Search(n, func(r int) bool {
			member, _ := z.at(r)
			cmp := bytes.Compare(member, b.member)
			return cmp > 0 || cmp == 0 && !include
		})
	}
	rank := 0
	z.each(func(member []byte, _ float64) bool {
		cmp := bytes.Compare(member, b.member)
		if cmp > 0 || cmp == 0 && !include {
			return false
		}
		rank++
		return true
	})
	return rank
}

func (z *zsetView) convert() {
	byScore, byMember := newTree(z.heap()), newTree(z.heap())
	var key []byte
	var valBuf [scoreSize]byte
	z.each(func(member []byte, score float64) bool {
		key = appendScored(key[:0], score, member)
		byScore.put(key, nil)
		key = appendHashed(key[:0], z.heap(), member)
		byMember.put(key, appendScore(valBuf[:0], score))
		return true
	})
	o := z.heap().newObject()
	o.t, o.t2 = byScore, byMember
	z.becomeTree(o)
}

// appendScored appends the key of the by-score tree.
func appendScored(dst []byte, score float64, member []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, encodeScore(score))
	return append(dst, member...)
}

// splitScored reads a key of the by-score tree.
func splitScored(key []byte) (member []byte, score float64) {
	if len(key) < scoreSize {
		return nil, 0
	}
	return key[scoreSize:], readScore(key)
}

func compareScored(s1 float64, m1 []byte, s2 float64, m2 []byte) int {
	switch {
	case s1 < s2:
		return -1
	case s1 > s2:
		return 1
	}
	return bytes.Compare(m1, m2)
}

// newZSet is a sorted set under construction, to be stored with replaceKey.
func (c *Ctx) newZSet(key []byte) zsetView {
	return zsetView{c.newCollection(key, TypeZSet)}
}

// ranked gives access to many ranks; what belongs to a member is its score's bytes.
func (z *zsetView) ranked() rankedPairs {
	if z.isTree() {
		t := z.object().t
		return func(rank int) (member, score []byte) {
			key, _ := t.at(rank)
			return hashedMember(key), key[:min(scoreSize, len(key))]
		}
	}
	elems := packedElems(z.v.Bytes)
	return func(rank int) (member, score []byte) { return elems[2*rank], elems[2*rank+1] }
}
