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

// score is the weighted score of a member, given as in scored. It may be no number: an
// intersection leaves that to the aggregate, as Redis does.
func (in *zinput) score(hashed []byte) (score float64, ok bool) {
	switch {
	case in.isSet && in.s.isTree():
		_, ok = in.s.object().t.get(hashed)
		score = 1
	case in.isSet:
		score, ok = 1, in.s.has(hashedMember(hashed))
	case in.z.isTree():
		var val []byte
		val, ok = in.z.object().t2.get(hashed)
		score = readScore(val)
	default:
		_, score, ok = in.z.find(hashedMember(hashed))
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

// each visits all members with their weighted scores, in the order of scored.hashed,
// until visit returns false: what asks other inputs for them then walks through those
// in order, too. A member stays valid until the next change to the keyspace.
func (in *zinput) each(visit func(m scored) bool) {
	switch {
	case in.isSet && in.s.isTree():
		score := in.weighted(1)
		for it := in.s.object().t.first(); it.valid() && visit(scored{it.key(), score}); it.next() {
		}
	case !in.isSet && in.z.isTree():
		for it := in.z.object().t2.first(); it.valid(); it.next() {
			if hashed, score := it.entry(); !visit(scored{hashed, in.weighted(readScore(score))}) {
				return
			}
		}
	default:
		for _, m := range in.small() {
			if !visit(m) {
				return
			}
		}
	}
}

// small lists the members of an input that is no tree.
func (in *zinput) small() []scored {
	var kept byteStore
	var key []byte
	ms := make([]scored, 0, in.len())
	add := func(h *heap, member []byte, score float64) bool {
		key = appendHashed(key[:0], h, member)
		ms = append(ms, scored{kept.clone(key), in.weighted(score)})
		return true
	}
	if in.isSet {
		in.s.each(func(member []byte) bool { return add(in.s.heap(), member, 1) })
	} else {
		in.z.each(func(member []byte, score float64) bool { return add(in.z.heap(), member, score) })
	}
	return sortHashed(ms)
}

// scored is a member with its score. The member is in the form of the trees' keys, its
// hash in front (appendHashed): in their order combinations are made without a
// search, and trees of the result without sorting.
type scored struct {
	hashed []byte
	score  float64
}

func (m *scored) member() []byte { return hashedMember(m.hashed) }

// sortHashed sorts by hashed; what is equal stays in its order. It merges the runs that
// are in order already: a member of a tree costs a comparison for each doubling of
// the number of trees.
func sortHashed(ms []scored) []scored {
	var runs [][]scored
	for from, i := 0, 1; i <= len(ms); i++ {
		if i == len(ms) || bytes.Compare(ms[i-1].hashed, ms[i].hashed) > 0 {
			runs = append(runs, ms[from:i])
			from = i
		}
	}
	if len(runs) < 2 {
		return ms
	}
	from, to := ms, make([]scored, len(ms))
	for len(runs) > 1 {
		merged, room := runs[:0], to
		for i := 0; i < len(runs); i += 2 {
			a, b := runs[i], []scored(nil)
			if i+1 < len(runs) {
				b = runs[i+1]
			}
			n := len(a) + len(b)
			mergeHashed(room[:n], a, b)
			merged, room = append(merged, room[:n]), room[n:]
		}
		runs = merged
		from, to = to, from
	}
	return from
}

func mergeHashed(to, a, b []scored) {
	for len(a) > 0 && len(b) > 0 {
		if bytes.Compare(a[0].hashed, b[0].hashed) <= 0 {
			to[0], a = a[0], a[1:]
		} else {
			to[0], b = b[0], b[1:]
		}
		to = to[1:]
	}
	copy(to, a)
	copy(to[len(a):], b)
}

// sortScored sorts as a sorted set does. The keys' weights are the scores.
func sortScored(ms []scored) []sortKey {
	keys := make([]sortKey, len(ms))
	for i, m := range ms {
		keys[i] = sortKey{encodeScore(m.score), i}
	}
	orderKeys(keys, func(a, b sortKey) int {
		return bytes.Compare(ms[a.at].member(), ms[b.at].member())
	})
	return keys
}

// zcombineArgs is what ZUNION and its kin are asked for.
type zcombineArgs struct {
	inputs     []zinput
	aggregate  func(a, b float64) float64
	withScores bool
	limit      int // ZINTERCARD; 0: none
}

// zcombiner computes a combination, in the order of scored.hashed.
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
	if a.withScores {
		c.Out.Pairs(len(result))
	} else {
		c.Out.Array(len(result))
	}
	for _, k := range sortScored(result) {
		m := &result[k.at]
		c.Out.Bulk(m.member())
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
	dst := c.newZSet(c.Args[1])
	longest := 0
	for i := range result {
		longest = max(longest, len(result[i].member()))
	}
	dst.expect(len(result), longest)
	if dst.isTree() {
		dst.fill(result)
	} else {
		for _, k := range sortScored(result) {
			dst.put(result[k.at].member(), result[k.at].score, 0, false)
		}
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
	all = sortHashed(all)
	out := all[:0]
	for _, m := range all {
		if n := len(out); n > 0 && bytes.Equal(out[n-1].hashed, m.hashed) {
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
			score, ok := inputs[1+i].score(m.hashed)
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
			if _, ok := a.inputs[1+i].score(m.hashed); ok {
				return true
			}
		}
		out = append(out, m)
		return true
	})
	return out
}
