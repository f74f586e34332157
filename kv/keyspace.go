package kv

import (
	"bytes"
	"cmp"
	"slices"
)

type heap struct {
	seed      uint64
	epoch     uint64
	shared    uint64
	treeBytes int64
}

func newHeap(seed uint64) *heap { return &heap{seed: seed} }

type heapStats struct {
	LiveBytes, UsedBytes int64
	Chunks, Objects      int
}

func (h *heap) stats() heapStats                { return heapStats{} }
func (h *heap) freeSome(maxOps int) (more bool) { return false }

// keyspace is one database.
type keyspace struct {
	h *heap
	m map[string]Value
}

func newKeyspace(h *heap) *keyspace { return &keyspace{h, map[string]Value{}} }

func (ks *keyspace) get(key []byte) (Value, bool) { v, ok := ks.m[string(key)]; return v, ok }
func (ks *keyspace) set(key []byte, v Value) {
	v.Bytes = bytes.Clone(v.Bytes)
	ks.m[string(key)] = v
}
func (ks *keyspace) setExpire(key []byte, at int64) bool {
	v, ok := ks.m[string(key)]
	if ok {
		v.ExpireAt = at
		ks.m[string(key)] = v
	}
	return ok
}
func (ks *keyspace) delete(key []byte) bool {
	_, ok := ks.m[string(key)]
	delete(ks.m, string(key))
	return ok
}
func (ks *keyspace) len() int { return len(ks.m) }
func (ks *keyspace) expires() int {
	n := 0
	for _, v := range ks.m {
		if v.ExpireAt != 0 {
			n++
		}
	}
	return n
}
func (ks *keyspace) nextDue() (key []byte, at int64, ok bool) {
	for k, v := range ks.m {
		if v.ExpireAt != 0 && (!ok || v.ExpireAt < at || v.ExpireAt == at && k < string(key)) {
			key, at, ok = []byte(k), v.ExpireAt, true
		}
	}
	return
}
func (ks *keyspace) sorted() []string {
	var s []string
	for k := range ks.m {
		s = append(s, k)
	}
	slices.SortFunc(s, func(a, b string) int {
		return cmp.Or(cmp.Compare(hash64(ks.h, []byte(a)), hash64(ks.h, []byte(b))), cmp.Compare(a, b))
	})
	return s
}
func (ks *keyspace) scan(cursor uint64, count int, fn func(key []byte, v Value)) (next uint64) {
	for _, k := range ks.sorted() {
		p := hash64(ks.h, []byte(k))>>12 | 1
		if p < cursor {
			continue
		}
		if count <= 0 && p != cursor {
			return p
		}
		fn([]byte(k), ks.m[k])
		count--
		cursor = p
	}
	return 0
}
func (ks *keyspace) at(point uint64) (key []byte, v Value, ok bool) {
	s := ks.sorted()
	for _, k := range s {
		if hash64(ks.h, []byte(k)) >= point {
			return []byte(k), ks.m[k], true
		}
	}
	if len(s) > 0 {
		return []byte(s[0]), ks.m[s[0]], true
	}
	return nil, Value{}, false
}
func (ks *keyspace) each(fn func(key []byte, v Value) bool) {
	for _, k := range ks.sorted() {
		if !fn([]byte(k), ks.m[k]) {
			return
		}
	}
}
func (ks *keyspace) clear() { clear(ks.m) }
