package kv

import (
	"bytes"
	"math"
	"slices"
)

// zinput is one source of ZUNION and its kin: a sorted set, or a set whose members
// all have the score 1.
type zinput struct {
	z      zsetView
	s      setView
	isSet  bool
	weight float64
}

func (in *zinput) len() int {
	if in.isSet {
		return in.s.len()
	}
	return in.z.len()
}

// score is the member's weighted score. It may be no number: an intersection leaves that
// to the aggregate, as Redis does.
func (in *zinput) score(member []byte) (score float64, ok bool) {
	if in.isSet {
		score, ok = 1, in.s.has(member)
	} else {
		score, ok = in.z.score(member)
	}
	return in.times(score), ok
}

// times multiplies by the weight. The conversion forbids the compiler to fuse the product
// with a later sum: nodes of different architectures must agree to the last bit.
func (in *zinput) times(score float64) float64 { return float64(in.weight * score) }

// weighted multiplies by the weight; what is no number counts as 0, as in Redis.
func (in *zinput) weighted(score float64) float64 {
	score = in.times(score)
	if math.IsNaN(score) || score == 0 {
		return 0 // and never -0 (zset_score.go)
	}
	return score
}

// each visits all members with their weighted scores until visit returns false. A
// member stays valid until the next change to the keyspace.
func (in *zinput) each(visit func(m scored) bool) {
	if !in.isSet {
		in.z.each(func(member []byte, score float64) bool {
			return visit(scored{member, in.weighted(score)})
		})
		return
	}
	if in.s.v.Enc == EncIntset {
		for _, member := range intsetTexts(in.s.v.Bytes) {
			if !visit(scored{member, in.weighted(1)}) {
				return
			}
		}
		return
	}
	in.s.each(func(member []byte) bool { return visit(scored{member, in.weighted(1)}) })
}

type scored struct {
	member []byte
	score  float64
}

// sortScored sorts as a sorted set does.
func sortScored(ms []scored) {
	slices.SortFunc(ms, func(a, b scored) int { return compareScored(a.score, a.member, b.score, b.member) })
}

// zcombineArgs is what ZUNION and its kin are asked for.
type zcombineArgs struct {
	inputs     []zinput
	aggregate  func(a, b float64) float64
	withScores bool
	limit      int // ZINTERCARD; 0: none
}

// zcombiner computes a combination, in no particular order.
type zcombiner struct {
	run     func(a *zcombineArgs) []scored
	event   string
	options zoptions
}

// zoptions says which options a command takes.
type zoptions struct{ weights, scores, limit bool }

var (
	zunite     = zcombiner{unionScored, "zunionstore", zoptions{weights: true}}
	zintersect = zcombiner{interScored, "zinterstore", zoptions{weights: true}}
	zsubtract  = zcombiner{diffScored, "zdiffstore", zoptions{}}
)

// zcombine is ZUNION, ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE
// SUM|MIN|MAX] [WITHSCORES] and ZDIFF numkeys key [key ...] [WITHSCORES].
func zcombine(c *Ctx, op zcombiner) {
	op.options.scores = true
	a, ok := c.zcombineArgs(1, op.options)
	if !ok {
		return
	}
	result := op.run(&a)
	sortScored(result)
	if a.withScores {
		c.Out.Pairs(len(result))
	} else {
		c.Out.Array(len(result))
	}
	for _, m := range result {
		c.Out.Bulk(m.member)
		if a.withScores {
			c.Out.Double(m.score)
		}
	}
}

// zstore is ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE destination numkeys key [key ...]
// and the options of the commands without STORE, except WITHSCORES.
func zstore(c *Ctx, op zcombiner) {
	a, ok := c.zcombineArgs(2, op.options)
	if !ok {
		return
	}
	result := op.run(&a)
	sortScored(result)
	dst := c.newZSet(c.Args[1])
	longest := 0
	for _, m := range result {
		longest = max(longest, len(m.member))
	}
	dst.expect(len(result), longest)
	for _, m := range result {
		dst.put(m.member, m.score, 0, false)
	}
	dst.replaceKey(op.event, len(result))
	c.Out.Int(int64(len(result)))
}

// cmdZInterCard is ZINTERCARD numkeys key [key ...] [LIMIT limit].
func cmdZInterCard(c *Ctx) {
	a, ok := c.zcombineArgs(1, zoptions{limit: true})
	if !ok {
		return
	}
	n := 0
	eachInter(&a, func(scored) bool {
		n++
		return n != a.limit
	})
	c.Out.Int(int64(n))
}

// zcombineArgs reads numkeys, at index at, the keys and the options. If ok is false
// the error was replied.
func (c *Ctx) zcombineArgs(at int, opts zoptions) (a zcombineArgs, ok bool) {
	n, ok := c.intArg(at)
	switch {
	case !ok:
		return a, false
	case n < 1:
		c.Out.Error("ERR at least 1 input key is needed for '" + c.cmd.Name + "' command")
		return a, false
	case n > int64(len(c.Args)-at-1):
		c.syntaxError()
		return a, false
	}
	keys, rest := c.Args[at+1:at+1+int(n)], c.Args[at+1+int(n):]
	a = zcombineArgs{aggregate: aggregateSum}
	if a.inputs, ok = c.openInputs(keys); !ok {
		return a, false
	}
	return a, a.parseOptions(c, rest, opts)
}

// openInputs opens sorted sets and sets; else it replies WRONGTYPE.
func (c *Ctx) openInputs(keys [][]byte) (inputs []zinput, ok bool) {
	c.settle(keys)
	inputs = make([]zinput, len(keys))
	total := 0
	for i, key := range keys {
		in := &inputs[i]
		in.weight = 1
		if v, found := c.lookup(key); found && v.Type == TypeSet {
			in.isSet = true
			in.s, ok = c.openSet(key)
		} else {
			in.z, ok = c.openZSet(key)
		}
		if !ok {
			return nil, false
		}
		total += in.len()
	}
	c.work(total)
	return inputs, true
}

func (a *zcombineArgs) parseOptions(c *Ctx, rest [][]byte, opts zoptions) (ok bool) {
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch {
		case opts.weights && len(rest) >= len(a.inputs) && is(word, "weights"):
			for i := range a.inputs {
				if a.inputs[i].weight, ok = parseFloat(rest[i]); !ok {
					c.Out.Error("ERR weight value is not a float")
					return false
				}
			}
			rest = rest[len(a.inputs):]
		case opts.weights && len(rest) >= 1 && is(word, "aggregate"):
			if a.aggregate = aggregateNamed(rest[0]); a.aggregate == nil {
				c.syntaxError()
				return false
			}
			rest = rest[1:]
		case opts.scores && is(word, "withscores"):
			a.withScores = true
		case opts.limit && len(rest) >= 1 && is(word, "limit"):
			n, isInt := parseInt(rest[0])
			if !isInt || n < 0 {
				c.Out.Error("ERR LIMIT can't be negative")
				return false
			}
			a.limit = int(n)
			rest = rest[1:]
		default:
			c.syntaxError()
			return false
		}
	}
	return true
}

func aggregateNamed(word []byte) func(a, b float64) float64 {
	switch {
	case is(word, "sum"):
		return aggregateSum
	case is(word, "min"):
		return aggregateMin
	case is(word, "max"):
		return aggregateMax
	}
	return nil
}

// aggregateMin and aggregateMax keep a if b is no number.
func aggregateMin(a, b float64) float64 {
	if b < a {
		return b
	}
	return a
}

func aggregateMax(a, b float64) float64 {
	if b > a {
		return b
	}
	return a
}

// aggregateSum adds; inf and -inf make 0, as in Redis.
func aggregateSum(a, b float64) float64 {
	if sum := a + b; !math.IsNaN(sum) {
		return sum
	}
	return 0
}

// bySize orders the inputs from the smallest to the largest, as Redis does: the
// order in which scores are added shows in their last bit.
func (a *zcombineArgs) bySize() []zinput {
	inputs := slices.Clone(a.inputs)
	slices.SortStableFunc(inputs, func(x, y zinput) int { return x.len() - y.len() })
	return inputs
}

func unionScored(a *zcombineArgs) []scored {
	inputs, total := a.bySize(), 0
	for i := range inputs {
		total += inputs[i].len()
	}
	all := make([]scored, 0, total)
	for i := range inputs {
		inputs[i].each(func(m scored) bool { all = append(all, m); return true })
	}
	// Equal members become neighbours, in the order of the inputs.
	slices.SortStableFunc(all, func(x, y scored) int { return bytes.Compare(x.member, y.member) })
	out := all[:0]
	for _, m := range all {
		if n := len(out); n > 0 && bytes.Equal(out[n-1].member, m.member) {
			out[n-1].score = a.aggregate(out[n-1].score, m.score)
			continue
		}
		out = append(out, m)
	}
	return out
}

func interScored(a *zcombineArgs) (out []scored) {
	eachInter(a, func(m scored) bool {
		out = append(out, m)
		return true
	})
	return out
}

// eachInter walks the smallest input and asks the others.
func eachInter(a *zcombineArgs, visit func(m scored) bool) {
	inputs := a.bySize()
	inputs[0].each(func(m scored) bool {
		for i := range inputs[1:] {
			score, ok := inputs[1+i].score(m.member)
			if !ok {
				return true
			}
			m.score = a.aggregate(m.score, score)
		}
		return visit(m)
	})
}

func diffScored(a *zcombineArgs) (out []scored) {
	a.inputs[0].each(func(m scored) bool {
		for i := range a.inputs[1:] {
			if _, ok := a.inputs[1+i].score(m.member); ok {
				return true
			}
		}
		out = append(out, m)
		return true
	})
	return out
}
