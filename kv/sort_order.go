package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
)

// sorter puts the elements of a SORT in order.
type sorter struct {
	q    *sortQuery
	src  *sortSource
	keys []sortKey
	// Elements go by numbers. BY looks keys up for each, so it has them and what it
	// found for them in lists; of a tree without BY the number is the leaf and the offset in
	// it, and elements are read where they are.
	elems  [][]byte
	leaves []*treeNode
	// texts are what ALPHA orders by: nil for the elements, else what BY names for them,
	// itself nil where it names nothing.
	texts [][]byte

	// What readAhead has read, and a sum of it that keeps the compiler from leaving it out.
	ahead   [][]byte
	room    [64][]byte
	touched byte
}

const leafOffsetBits = 16 // see treeNode

func (o *sorter) elem(at int) []byte {
	if o.leaves == nil {
		return o.elems[at]
	}
	key, val := o.leaves[at>>leafOffsetBits].entryAt(at & (1<<leafOffsetBits - 1))
	if o.src.behind == 0 {
		return val
	}
	return key[o.src.behind:]
}

// weigh finds what the elements are ordered by; false if a number is none.
func (o *sorter) weigh(c *Ctx) (sound bool) {
	o.keys = make([]sortKey, 0, o.src.n)
	if o.q.by == nil && o.src.t != nil {
		o.leaves = o.src.t.leaves()
		for i, leaf := range o.leaves {
			for _, s := range leaf.slots {
				o.keys = append(o.keys, sortKey{at: i<<leafOffsetBits | s.offset()})
			}
		}
	} else {
		o.elems = o.src.elements(0, o.src.n, false)
		for i := range o.elems {
			o.keys = append(o.keys, sortKey{at: i})
		}
	}
	switch {
	case o.q.alpha:
		if o.q.by != nil {
			o.findTexts(c)
		}
		o.weighTexts()
		return true
	case o.q.by != nil:
		return o.weighNumbers(func(e []byte) ([]byte, bool) { return c.byPattern(o.q.by, e) })
	}
	return o.weighNumbers(func(e []byte) ([]byte, bool) { return e, true })
}

// weighNumbers has what find does not find count as 0.
func (o *sorter) weighNumbers(find func(e []byte) (text []byte, found bool)) (sound bool) {
	sound = true
	for i := range o.keys {
		k := &o.keys[i]
		weight := 0.0
		if text, found := find(o.elem(k.at)); found {
			var ok bool
			weight, ok = parseWeight(text)
			sound = sound && ok
		}
		k.weight = o.directed(encodeScore(weight))
	}
	return sound
}

func (o *sorter) findTexts(c *Ctx) {
	var kept byteStore
	o.texts = make([][]byte, len(o.elems))
	for i, e := range o.elems {
		if text, found := c.byPattern(o.q.by, e); found {
			o.texts[i] = kept.clone(text)
		}
	}
}

func (o *sorter) text(at int) []byte {
	if o.texts != nil {
		return o.texts[at]
	}
	return o.elem(at)
}

// weighTexts takes the first eight bytes behind those that all texts begin with.
func (o *sorter) weighTexts() {
	if len(o.keys) == 0 {
		return
	}
	first := o.text(o.keys[0].at)
	common := len(first)
	for i := range o.keys {
		common = commonPrefix(first[:common], o.text(o.keys[i].at))
	}
	for i := range o.keys {
		k := &o.keys[i]
		k.weight = o.directed(textWeight(o.text(k.at)[common:]))
	}
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		return n
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i
}

// textWeight is the first eight bytes, as if zeros followed the text.
func textWeight(text []byte) uint64 {
	if len(text) >= 8 {
		return binary.BigEndian.Uint64(text)
	}
	var head [8]byte
	copy(head[:], text)
	return binary.BigEndian.Uint64(head[:])
}

// directed turns a weight round for DESC.
func (o *sorter) directed(weight uint64) uint64 {
	if o.q.desc {
		return ^weight
	}
	return weight
}

// sort puts the keys in order of which n from first on are wanted, and drops others.
func (o *sorter) sort(first, n int) {
	if end := first + n; end < len(o.keys)/8 {
		o.keys = leastKeys(o.keys, end, o.ties)
	}
	orderKeys(o.keys, o.ties)
	o.keys = o.keys[first : first+n]
}

// next takes the first element of those that are left.
func (o *sorter) next() []byte {
	if len(o.ahead) == 0 {
		o.readAhead()
	}
	e := o.ahead[0]
	o.ahead = o.ahead[1:]
	return e
}

// readAhead reads some elements at once. In their order each lies somewhere else, and
// the processor waits for memory: for one after the other if between two of them something
// long is done, for several together if not.
func (o *sorter) readAhead() {
	n := min(len(o.keys), len(o.room))
	if o.leaves != nil {
		for _, k := range o.keys[:n] {
			o.touched += o.leaves[k.at>>leafOffsetBits].data[k.at&(1<<leafOffsetBits-1)]
		}
	}
	for i, k := range o.keys[:n] {
		o.room[i] = o.elem(k.at)
	}
	o.ahead, o.keys = o.room[:n], o.keys[n:]
}

// ties orders elements of equal weights: by the texts, without ALPHA by the elements. Texts
// that BY found and that are equal are ordered by their elements' place in the source, so
// that the result depends on the contents alone; other ties are the same element.
func (o *sorter) ties(a, b sortKey) int {
	c := 0
	if o.q.alpha {
		c = compareTexts(o.text(a.at), o.text(b.at))
	} else {
		c = bytes.Compare(o.elem(a.at), o.elem(b.at))
	}
	switch {
	case c == 0 && o.texts != nil:
		return cmp.Compare(a.at, b.at)
	case o.q.desc:
		return -c
	}
	return c
}

// compareTexts has what BY did not find in front of all texts.
func compareTexts(a, b []byte) int {
	if a == nil || b == nil {
		switch {
		case a != nil:
			return 1
		case b != nil:
			return -1
		}
		return 0
	}
	return bytes.Compare(a, b)
}

// parseWeight reads a number as strtod does: nothing at all is 0, and blanks in
// front are passed over.
func parseWeight(b []byte) (float64, bool) {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end] // strtod ends there
	}
	if len(b) == 0 {
		return 0, true
	}
	if n, ok := parseInt(b); ok && n > -1<<53 && n < 1<<53 {
		return float64(n), true
	}
	return parseFloat(bytes.TrimLeft(b, " \t\n\v\f\r"))
}
