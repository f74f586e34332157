package kv

import (
	"math"
	"slices"
)

// rankedPairs returns the element at a rank and what belongs to it (a hash field's
// value, a member's score); val is nil for sets.
type rankedPairs func(rank int) (elem, val []byte)

// randomDraw is what HRANDFIELD, SRANDMEMBER and ZRANDMEMBER are asked for.
type randomDraw struct {
	single   bool // no count: one element, not an array
	count    int  // negative: with repetition
	withVals bool
}

// randomArgs reads [count [WITHVALUES]]; word is the option's name, "" if the
// command has none. If ok is false the error was replied.
func (c *Ctx) randomArgs(word string) (d randomDraw, ok bool) {
	if len(c.Args) == 2 {
		return randomDraw{single: true, count: 1}, true
	}
	if word == "" && len(c.Args) > 3 {
		c.syntaxError()
		return d, false
	}
	n, ok := c.intArg(2)
	if !ok {
		return d, false
	}
	if n == math.MinInt64 {
		c.Out.Error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
		return d, false
	}
	if len(c.Args) > 4 || len(c.Args) == 4 && (word == "" || !is(c.Args[3], word)) {
		c.syntaxError()
		return d, false
	}
	d = randomDraw{count: int(n), withVals: len(c.Args) == 4}
	if d.withVals && (n < -math.MaxInt64/2 || n > math.MaxInt64/2) {
		c.Out.Error(errOutOfRange)
		return d, false
	}
	return d, true
}

// replyRandom answers the draw from n elements.
func (c *Ctx) replyRandom(d randomDraw, n int, at rankedPairs, putVal func(val []byte)) {
	switch {
	case d.single && n == 0:
		c.Out.Null()
	case d.single:
		elem, _ := at(c.rand(n))
		c.Out.Bulk(elem)
	case d.count == 0 || n == 0:
		c.Out.Array(0)
	case d.count < 0:
		c.replyRepeated(-d.count, d, n, at, putVal)
	default:
		ranks := c.distinctRanks(n, d.count)
		c.announceRandom(len(ranks), d)
		for _, r := range ranks {
			c.putRandom(r, d, at, putVal)
		}
	}
}

func (c *Ctx) replyRepeated(count int, d randomDraw, n int, at rankedPairs, putVal func(val []byte)) {
	if count > randomReplyMax/smallestBulk {
		c.Out.Error(errOutOfRange)
		return
	}
	start := c.Out.Len()
	c.announceRandom(count, d)
	for range count {
		c.putRandom(c.rand(n), d, at, putVal)
		if c.Out.Len()-start > randomReplyMax {
			c.Out.Truncate(start)
			c.Out.Error(errOutOfRange)
			return
		}
	}
}

// randomReplyMax bounds the reply to a negative count, in bytes. Redis has no such
// bound: a single short command makes it reply until its memory ends.
const randomReplyMax = 64 << 20

// smallestBulk is the size of "$0\r\n\r\n".
const smallestBulk = 6

func (c *Ctx) announceRandom(n int, d randomDraw) {
	if d.withVals {
		c.Out.Pairs(n)
	} else {
		c.Out.Array(n)
	}
}

func (c *Ctx) putRandom(rank int, d randomDraw, at rankedPairs, putVal func(val []byte)) {
	elem, val := at(rank)
	c.Out.Bulk(elem)
	if d.withVals {
		putVal(val)
	}
}

// distinctRanks draws count of n ranks, all if count >= n, in ascending order.
func (c *Ctx) distinctRanks(n, count int) []int {
	count = min(n, count)
	ranks := make([]int, 0, count)
	if count > n/8 {
		// Selection sampling: each rank is taken with the chance that is due to it.
		for r := 0; len(ranks) < count; r++ {
			if left := n - r; left == count-len(ranks) || c.rand(left) < count-len(ranks) {
				ranks = append(ranks, r)
			}
		}
		return ranks
	}
	// Floyd's sampling: no walk over all ranks when few are wanted.
	taken := make(map[int]struct{}, count)
	for top := n - count; top < n; top++ {
		r := c.rand(top + 1)
		if _, dup := taken[r]; dup {
			r = top
		}
		taken[r] = struct{}{}
		ranks = append(ranks, r)
	}
	slices.Sort(ranks)
	return ranks
}
