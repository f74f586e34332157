package kv

import (
	"encoding/binary"
	"strconv"
	"sync"
)

// collection is a key opened by a command of one of the aggregate types: what the
// views of hash, list, set and sorted set have in common.
//
// A small collection is packed in the record. Its changes are made on the
// command's scratch memory and reach the keyspace in save. A large one is an
// object with block trees, changed in place through mutable. It never becomes
// packed again.
type collection struct {
	c   *Ctx
	key []byte
	// v is the value with the command's changes so far.
	v Value
	// found: the key existed when it was opened.
	found bool
	// pending: v is not in the keyspace yet.
	pending bool
	// owned: v.Obj may be changed in place.
	owned bool
	s     *scratch
}

// scratch is memory for building packed collections: the functions of packed.go
// read one buffer and write another, so edits alternate between two.
type scratch struct{ cur, spare []byte }

// scratchMax is the size above which a scratch buffer is not kept for the next
// command: one odd element must not be held for ever.
const scratchMax = 256 << 10

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// openCollection looks the key up for a command of type t; a missing key is an
// empty packed collection. If ok is false the error was replied.
func (c *Ctx) openCollection(key []byte, t Type) (x collection, ok bool) {
	v, found, ok := c.typed(key, t)
	if !ok {
		return x, false
	}
	if !found {
		v = Value{Type: t, Enc: EncPacked}
	}
	return collection{c: c, key: key, v: v, found: found}, true
}

// settle looks the keys up once, for a command that is going to hold views of
// several: an expired key is removed when it is met, and a removal ends the
// validity of bytes that were looked up before.
func (c *Ctx) settle(keys [][]byte) {
	for _, key := range keys {
		c.exists(key)
	}
}

// newCollection is an empty collection that is not (yet) the key's value: the
// result of a STORE command, which may read the key's old value while it is built.
func (c *Ctx) newCollection(key []byte, t Type) collection {
	return collection{c: c, key: key, v: Value{Type: t, Enc: EncPacked}}
}

// isTree reports whether the collection is in block trees.
func (x *collection) isTree() bool { return x.v.Enc == EncTree }

// heap is where trees live.
func (x *collection) heap() *heap { return x.c.ks.h }

// beginEdit returns an empty buffer that does not overlap the packed bytes.
func (x *collection) beginEdit() []byte {
	if x.s == nil {
		x.s = scratches.Get().(*scratch)
	}
	return x.s.spare[:0]
}

// endEdit makes the buffer, grown from beginEdit's, the packed bytes.
func (x *collection) endEdit(p []byte) {
	x.s.cur, x.s.spare = p, x.s.cur
	x.v.Bytes = p
	x.pending = true
}

// becomeTree makes o, a new object, the collection.
func (x *collection) becomeTree(o *object) {
	x.v.Enc, x.v.Bytes, x.v.Obj = EncTree, nil, o
	x.pending, x.owned = true, true
}

// tree is the (first) tree, nil if the collection is packed.
func (x *collection) tree() *tree {
	if !x.isTree() {
		return nil
	}
	return x.object().t
}

// object returns the object for reading.
func (x *collection) object() *object { return x.v.Obj }

// growReply makes room in the reply for the entries of ranks lo <= r < hi, each with
// perEntry bytes beyond what the tree has of it. A packed collection needs no hint.
func (x *collection) growReply(lo, hi, perEntry int) {
	if x.isTree() && lo < hi {
		x.c.Out.Grow(int(x.object().t.sizeBetween(lo, hi)) + (hi-lo)*perEntry)
	}
}

// growParts is growReply for n parts of entries, HKEYS's: the tree does not know which
// part takes how much, and fields are short.
func (x *collection) growParts(n int) {
	const shortBulk = 24
	if x.isTree() {
		x.c.Out.Grow(min(int(x.object().t.root.size)+n*bulkRoom, n*shortBulk))
	}
}

// bulkRoom is what a bulk takes beyond its bytes, that of the lengths in a tree's
// entry already taken off.
const bulkRoom = 6

// mutable returns the object for changing it in place.
func (x *collection) mutable() *object {
	if !x.owned {
		x.v = x.c.mutableObj(x.key, x.v)
		x.owned = true
	}
	return x.v.Obj
}

// save ends the change: it stores the packed bytes or the new object, or removes
// the key if the collection has no elements left. It must follow the last change.
func (x *collection) save(elements int) {
	switch {
	case elements == 0:
		if x.found {
			x.c.remove(x.key)
		}
	case x.v.hasFieldTTL():
		x.settleFields()
	case x.pending:
		x.c.put(x.key, x.v)
	}
	x.release()
}

// release gives the scratch memory back; the packed bytes are gone after it.
func (x *collection) release() {
	x.pending = false
	if s := x.s; s != nil {
		x.s = nil
		if cap(s.cur) > scratchMax || cap(s.spare) > scratchMax {
			*s = scratch{}
		}
		scratches.Put(s)
	}
}

// replaceKey stores a collection made by newCollection over whatever the key
// holds, its expiry included, or removes the key if it is empty: the end of the
// STORE commands. It replies nothing.
func (x *collection) replaceKey(event string, elements int) {
	_, existed := x.c.lookup(x.key)
	if elements > 0 {
		x.c.put(x.key, x.v)
		x.c.touched(event, x.key)
	} else if existed {
		x.c.remove(x.key)
		x.c.touched("del", x.key)
	}
	x.release()
}

// packedPush appends to dst the collection p with elems added at its end, without
// walking p as packedAppend does.
func packedPush(dst, p []byte, elems ...[]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(packedLen(p)+len(elems)))
	dst = append(dst, packedBody(p)...)
	return appendElems(dst, elems)
}

// appendHashed appends the tree key of a field or member: its hash, then itself.
// So trees of hashes, sets and sorted sets are in hash order, in which cursors
// count (hashCursor) and random ranks are drawn.
func appendHashed(dst []byte, h *heap, member []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, hash64(h, member))
	return append(dst, member...)
}

const hashSize = 8

// hashedMember is the member in a key made by appendHashed.
func hashedMember(key []byte) []byte {
	if len(key) < hashSize {
		return nil
	}
	return key[hashSize:]
}

// encodingName is what OBJECT ENCODING says of a collection.
func encodingName(v Value) string {
	if v.hasFieldTTL() && v.Obj.aux == hashIsSmall {
		return "listpackex"
	}
	switch v.Enc {
	case EncPacked:
		return "listpack"
	case EncIntset:
		return "intset"
	}
	switch v.Type {
	case TypeList:
		return "quicklist"
	case TypeZSet:
		return "skiplist"
	case TypeStream:
		return "stream"
	}
	return "hashtable"
}

// keyBufSize holds the tree key of most members, so that building one on the
// stack does not allocate.
const keyBufSize = 128

// packedMaxBytes bounds a packed collection whatever the thresholds say: it is
// rewritten at each change, and beyond the arena's largest size class every one
// would map memory. (A list obeys list-max-listpack-size alone, at most 64 KiB.)
const packedMaxBytes = 63 << 10

// fitsPacked reports whether a packed collection may grow by elements of n bytes
// in all.
func (x *collection) fitsPacked(n int) bool {
	return len(x.v.Bytes)+n+2*uvarintMax <= packedMaxBytes
}

const uvarintMax = 10

// packedElems lists the elements: for access by rank and for walking backwards.
func packedElems(p []byte) [][]byte {
	elems := make([][]byte, 0, packedLen(p))
	it := iterPacked(p)
	for e, ok := it.next(); ok; e, ok = it.next() {
		elems = append(elems, e)
	}
	return elems
}

// touchedRemoving records the event of a command that took elements away, and the
// key's removal if none are left.
func (c *Ctx) touchedRemoving(event string, key []byte, left int) {
	c.touched(event, key)
	if left == 0 {
		c.touched("del", key)
		c.store.dirty-- // one change, as Redis counts
	}
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

func appendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }
