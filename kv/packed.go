package kv

import (
	"bytes"
	"encoding/binary"
)

// Packed is the layout of small collections, held in a record's value:
//
//	+-------+-------+---------+-------+---------+ ...
//	| count | len 0 | bytes 0 | len 1 | bytes 1 |
//	+-------+-------+---------+-------+---------+ ...
//
// count and the lengths are unsigned varints. An empty slice is an empty
// collection. What the elements mean is the type's business: a list has one
// element per entry, a hash two (field, value).
//
// The functions below are pure: they read p and append a whole new collection to
// dst, which must not overlap p (p usually lies in the arena, dst is the caller's
// scratch). They read no byte outside p and never panic; on damaged bytes they
// behave as if the collection ended at the damage. What comes from outside (a
// snapshot, RESTORE) must pass validPacked first.

// packedLen is the number of elements.
func packedLen(p []byte) int {
	n, w := binary.Uvarint(p)
	if w <= 0 || n > uint64(len(p)-w) {
		return 0
	}
	return int(n)
}

// validPacked reports whether p is exactly one well-formed collection.
func validPacked(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	n, w := binary.Uvarint(p)
	if w <= 0 || n > uint64(len(p)-w) || w != uvarintLen(n) {
		return false
	}
	for p = p[w:]; n > 0; n-- {
		size, w := binary.Uvarint(p)
		if w <= 0 || size > uint64(len(p)-w) || w != uvarintLen(size) {
			return false
		}
		p = p[w+int(size):]
	}
	return len(p) == 0
}

// packedIter walks the elements in order. The zero value is at the end.
type packedIter struct {
	rest []byte
	left int
}

// iterPacked starts at the first element.
func iterPacked(p []byte) packedIter {
	n := packedLen(p)
	return packedIter{rest: packedBody(p), left: n}
}

// next returns the next element, which aliases the collection.
func (it *packedIter) next() (elem []byte, ok bool) {
	if it.left == 0 {
		return nil, false
	}
	elem, rest, ok := cutElem(it.rest)
	if !ok {
		it.left = 0
		return nil, false
	}
	it.rest, it.left = rest, it.left-1
	return elem, true
}

// packedAt is the element at rank i, counted from 0. O(n).
func packedAt(p []byte, i int) (elem []byte, ok bool) {
	if i < 0 {
		return nil, false
	}
	for it := iterPacked(p); ; i-- {
		elem, ok = it.next()
		if !ok || i == 0 {
			return elem, ok
		}
	}
}

// packedFind is the rank of the first element equal to elem among the ranks
// offset, offset+stride, offset+2*stride ... (stride >= 1).
func packedFind(p, elem []byte, stride, offset int) (rank int, ok bool) {
	it := iterPacked(p)
	for i := 0; ; i++ {
		e, ok := it.next()
		if !ok {
			return 0, false
		}
		if i == offset {
			if bytes.Equal(e, elem) {
				return i, true
			}
			offset += stride
		}
	}
}

// packedOf appends a collection of elems to dst.
func packedOf(dst []byte, elems ...[]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(elems)))
	return appendElems(dst, elems)
}

// packedAppend appends to dst the collection p with elems added at its end.
func packedAppend(dst, p []byte, elems ...[]byte) []byte {
	return packedSplice(dst, p, packedLen(p), 0, elems)
}

// packedInsertAt appends to dst the collection p with elems inserted before rank
// i; i == packedLen(p) adds at the end.
func packedInsertAt(dst, p []byte, i int, elems ...[]byte) []byte {
	return packedSplice(dst, p, i, 0, elems)
}

// packedReplaceAt appends to dst the collection p with the elements from rank i
// on replaced by elems, one for one.
func packedReplaceAt(dst, p []byte, i int, elems ...[]byte) []byte {
	return packedSplice(dst, p, i, len(elems), elems)
}

// packedDeleteAt appends to dst the collection p without the n elements from rank
// i on.
func packedDeleteAt(dst, p []byte, i, n int) []byte {
	return packedSplice(dst, p, i, n, nil)
}

// packedSplice replaces del elements from rank i on by ins. Ranks beyond the end
// are cut to it.
func packedSplice(dst, p []byte, i, del int, ins [][]byte) []byte {
	n := packedLen(p)
	i = min(max(i, 0), n)
	del = min(max(del, 0), n-i)
	body := packedBody(p)
	from := skipElems(body, i)
	to := from + skipElems(body[from:], del)
	dst = binary.AppendUvarint(dst, uint64(n-del+len(ins)))
	dst = append(dst, body[:from]...)
	dst = appendElems(dst, ins)
	return append(dst, body[to:]...)
}

func appendElems(dst []byte, elems [][]byte) []byte {
	for _, e := range elems {
		dst = binary.AppendUvarint(dst, uint64(len(e)))
		dst = append(dst, e...)
	}
	return dst
}

// cutCount splits the count off p.
func cutCount(p []byte) (n int, body []byte) {
	if len(p) > 0 && p[0] < 0x80 && int(p[0]) < len(p) { // the common case
		return int(p[0]), p[1:]
	}
	return packedLen(p), packedBody(p)
}

// packedBody is p after its count.
func packedBody(p []byte) []byte {
	_, w := binary.Uvarint(p)
	if w <= 0 {
		return nil
	}
	return p[w:]
}

// skipElems is the number of bytes the first n elements of body take.
func skipElems(body []byte, n int) int {
	rest := body
	for ; n > 0; n-- {
		_, r, ok := cutElem(rest)
		if !ok {
			break
		}
		rest = r
	}
	return len(body) - len(rest)
}

// cutElem splits the first element off body.
func cutElem(body []byte) (elem, rest []byte, ok bool) {
	if len(body) > 0 && body[0] < 0x80 { // the common case: shorter than 128 bytes
		n := 1 + int(body[0])
		if n > len(body) {
			return nil, nil, false
		}
		return body[1:n:n], body[n:], true
	}
	size, w := binary.Uvarint(body)
	if w <= 0 || size > uint64(len(body)-w) {
		return nil, nil, false
	}
	n := w + int(size)
	return body[w:n:n], body[n:], true
}

// uvarintLen is the number of bytes AppendUvarint uses for v.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
