package kv

import (
	"cmp"
	"math/bits"
	"slices"
)

// sortKey stands for an element where it is compared and moved: most comparisons need
// no more, and moving it is cheaper than moving texts.
type sortKey struct {
	// weight is in the order of the numbers, or bytes of the text.
	weight uint64
	at     int // which element
}

// orderKeys sorts them by weight and, where weights are equal, by ties. Many keys are dealt out by
// some bits of their weights, beginning with the highest in which two of them differ, until
// few are left together: that takes a fifth of the time of comparing them, and no
// memory. What ties calls equal ends up in any order, though always in the same.
func orderKeys(keys []sortKey, ties func(a, b sortKey) int) {
	if len(keys) <= dealLeast {
		insertKeys(keys, ties)
		return
	}
	differ := uint64(0)
	for _, k := range keys {
		differ |= k.weight ^ keys[0].weight
	}
	if differ == 0 {
		slices.SortFunc(keys, ties)
		return
	}
	// About as many heaps as keys, or going through empty ones would be most of the work.
	width := min(bits.Len(uint(len(keys)))-1, dealBits)
	shift := max(bits.Len64(differ)-width, 0)
	var ends [1 << dealBits]int
	dealKeys(keys, shift, ends[:1<<width])
	from := 0
	for _, to := range ends[:1<<width] {
		if to-from > 1 {
			orderKeys(keys[from:to], ties)
		}
		from = to
	}
}

const (
	dealLeast = 16 // fewer are put in order one by one
	dealBits  = 8  // the heaps' ends are 2 KiB on the stack
)

// dealKeys puts keys that agree in the bits from shift on into one heap, the heaps in
// order, and notes where each ends.
func dealKeys(keys []sortKey, shift int, ends []int) {
	mask := uint64(len(ends) - 1)
	for _, k := range keys {
		ends[k.weight>>shift&mask]++
	}
	var next [1 << dealBits]int // where a heap's next key goes
	sum := 0
	for heap, n := range ends {
		next[heap] = sum
		sum += n
		ends[heap] = sum
	}
	for heap := range uint64(len(ends)) {
		for next[heap] < ends[heap] {
			// The key in this place goes where it belongs, the one there likewise, until one
			// belongs here.
			k := keys[next[heap]]
			for to := k.weight >> shift & mask; to != heap; to = k.weight >> shift & mask {
				k, keys[next[to]] = keys[next[to]], k
				next[to]++
			}
			keys[next[heap]] = k
			next[heap]++
		}
	}
}

// insertKeys sorts few keys.
func insertKeys(keys []sortKey, ties func(a, b sortKey) int) {
	for i := 1; i < len(keys); i++ {
		k, j := keys[i], i
		for ; j > 0; j-- {
			before := keys[j-1]
			if before.weight < k.weight || before.weight == k.weight && ties(before, k) <= 0 {
				break
			}
			keys[j] = before
		}
		keys[j] = k
	}
}

// leastKeys drops all keys but the n that come first: each of the others is mostly only
// compared with the last of those so far, the top of a heap.
func leastKeys(keys []sortKey, n int, ties func(a, b sortKey) int) []sortKey {
	if n == 0 {
		return nil
	}
	top := keys[:n]
	for i := n/2 - 1; i >= 0; i-- {
		siftDown(top, i, ties)
	}
	for _, k := range keys[n:] {
		if compareKeys(k, top[0], ties) < 0 {
			top[0] = k
			siftDown(top, 0, ties)
		}
	}
	return top
}

func siftDown(top []sortKey, i int, ties func(a, b sortKey) int) {
	for {
		kid := 2*i + 1
		if kid >= len(top) {
			return
		}
		if kid+1 < len(top) && compareKeys(top[kid], top[kid+1], ties) < 0 {
			kid++
		}
		if compareKeys(top[i], top[kid], ties) >= 0 {
			return
		}
		top[i], top[kid] = top[kid], top[i]
		i = kid
	}
}

func compareKeys(a, b sortKey, ties func(a, b sortKey) int) int {
	if c := cmp.Compare(a.weight, b.weight); c != 0 {
		return c
	}
	return ties(a, b)
}
