package kv

import (
	"encoding/binary"
	"fmt"
	"math"
)

// RDBWriter produces an RDB file piece by piece: Header, Aux, then per database
// SelectDB and its Keys, then End. Without an emit function everything stays in
// Bytes; with one, pieces go to it as they fill, so that memory does not grow with the
// file. The first error sticks and is returned by End.
type RDBWriter struct {
	b    []byte
	emit func(raw []byte, keys int) error
	// piece is the size at which b is emitted.
	piece int
	// keys counts those that begin in b; crc covers what was emitted.
	keys int
	crc  uint64
	err  error
	pack []byte // scratch for listpacks
}

// rdbBlock is the size at which a piece is emitted, unless the writer has another, and
// that of the pieces of a long string: large enough for the call not to matter, small
// enough for who takes it to rest often (about 100 us of work).
const rdbBlock = 32 << 10

// NewRDBWriter returns a writer that hands pieces to emit, or that keeps all of it
// if emit is nil. A piece is valid only during the call; keys is the number of keys
// that begin in it.
func NewRDBWriter(emit func(raw []byte, keys int) error) *RDBWriter {
	return &RDBWriter{emit: emit, piece: rdbBlock}
}

// Bytes is what was written and not emitted.
func (w *RDBWriter) Bytes() []byte { return w.b }

// Header writes magic and version.
func (w *RDBWriter) Header(version int) { w.b = fmt.Appendf(w.b, "%s%04d", rdbMagic, version) }

// Aux writes an auxiliary field.
func (w *RDBWriter) Aux(name string, value []byte) {
	w.b = append(w.b, rdbOpAux)
	w.b = appendRDBString(w.b, []byte(name))
	w.string(value)
}

// SelectDB makes db the database of the keys that follow, and hints at their number.
func (w *RDBWriter) SelectDB(db, keys, expires int) {
	w.b = appendRDBLen(append(w.b, rdbOpSelectDB), uint64(db))
	w.b = appendRDBLen(append(w.b, rdbOpResizeDB), uint64(keys))
	w.b = appendRDBLen(w.b, uint64(expires))
}

// Key writes one key. A value that is in no form this package makes is an error.
func (w *RDBWriter) Key(key []byte, v Value) error {
	if w.err != nil {
		return w.err
	}
	code, ok := rdbTypeOf(v)
	if !ok {
		w.err = fmt.Errorf("RDB: key %.64q: type %d in encoding %d cannot be written", key, v.Type, v.Enc)
		return w.err
	}
	w.keys++
	if v.Type == TypeStream {
		w.streamAux(v.Obj)
	}
	if v.ExpireAt != 0 {
		w.b = binary.LittleEndian.AppendUint64(append(w.b, rdbOpExpireMs), uint64(v.ExpireAt))
	}
	w.b = append(w.b, code)
	w.string(key)
	if v.Enc == EncEdited || v.Enc == EncText {
		w.marked(v)
	} else {
		w.value(code, v)
	}
	w.flush(w.piece)
	return w.err
}

// marked writes a short string whose encoding its bytes do not tell, so that our loader
// gives it back: by a length in more bytes than it needs. To Redis it is a string like
// any other.
func (w *RDBWriter) marked(v Value) {
	n := len(v.Bytes)
	if v.Enc == EncEdited {
		w.b = binary.BigEndian.AppendUint32(append(w.b, 0x80), uint32(n))
	} else {
		w.b = append(w.b, 0x40, byte(n))
	}
	w.b = append(w.b, v.Bytes...)
}

// dumped writes a value as DUMP does, its type in front, in a form that Redis 7.0
// reads if there is one: a packed set is written element by element.
func (w *RDBWriter) dumped(v Value) error {
	code, ok := rdbTypeOf(v)
	switch {
	case !ok:
		w.err = fmt.Errorf("RDB: type %d in encoding %d cannot be written", v.Type, v.Enc)
	case code == rdbSetListpack:
		w.b = appendRDBLen(append(w.b, rdbSet), uint64(packedLen(v.Bytes)))
		it := iterPacked(v.Bytes)
		for m, ok := it.next(); ok; m, ok = it.next() {
			w.string(m)
		}
	default:
		if code == rdbStreamListpacks3 {
			code = rdbStreamListpacks2
		}
		w.b = append(w.b, code)
		w.value(code, v)
	}
	return w.err
}

// End writes the end mark and the CRC and emits the last piece.
func (w *RDBWriter) End() error {
	w.b = append(w.b, rdbOpEOF)
	w.b = binary.LittleEndian.AppendUint64(w.b, crc64Update(w.crc, w.b))
	w.flush(1)
	return w.err
}

// flush emits the piece if it holds limit bytes.
func (w *RDBWriter) flush(limit int) {
	if w.emit == nil || w.err != nil || len(w.b) < limit {
		return
	}
	w.crc = crc64Update(w.crc, w.b)
	w.err = w.emit(w.b, w.keys)
	w.b, w.keys = w.b[:0], 0
}

// string writes a string; a long one goes out in pieces, without a copy of it.
func (w *RDBWriter) string(s []byte) {
	if len(s) < rdbBlock || w.emit == nil {
		w.b = appendRDBString(w.b, s)
		return
	}
	w.b = appendRDBLen(w.b, uint64(len(s)))
	w.flush(1)
	for len(s) > 0 && w.err == nil {
		n := min(len(s), rdbBlock)
		w.crc = crc64Update(w.crc, s[:n])
		w.err = w.emit(s[:n], 0)
		s = s[n:]
	}
}

// appendRDBLen appends a length or count.
func appendRDBLen(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(dst, byte(n))
	case n < 1<<14:
		return append(dst, 0x40|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0x80), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0x81), n)
}

// appendRDBString appends a string, as an integer where it is a short one.
func appendRDBString(dst, s []byte) []byte {
	if len(s) <= 11 {
		if n, ok := parseInt(s); ok && n >= math.MinInt32 && n <= math.MaxInt32 {
			switch {
			case n >= math.MinInt8 && n <= math.MaxInt8:
				return append(dst, 0xc0, byte(n))
			case n >= math.MinInt16 && n <= math.MaxInt16:
				return binary.LittleEndian.AppendUint16(append(dst, 0xc1), uint16(n))
			}
			return binary.LittleEndian.AppendUint32(append(dst, 0xc2), uint32(n))
		}
	}
	return append(appendRDBLen(dst, uint64(len(s))), s...)
}

// rdbTypeOf is the type a value is written as.
func rdbTypeOf(v Value) (code byte, ok bool) {
	switch v.Type {
	case TypeString:
		return rdbString, v.Enc == EncRaw || v.Enc == EncBigString || v.Enc == EncEdited || v.Enc == EncText
	case TypeList:
		return pick(v, rdbListQuicklist2, rdbList)
	case TypeSet:
		if v.Enc == EncIntset {
			return rdbSetIntset, true
		}
		return pick(v, rdbSetListpack, rdbSet)
	case TypeZSet:
		return pick(v, rdbZSetListpack, rdbZSet2)
	case TypeHash:
		if v.hasFieldTTL() {
			if v.Obj.aux == hashIsSmall {
				return rdbHashListpackEx, true
			}
			return rdbHashMetadata, true
		}
		return pick(v, rdbHashListpack, rdbHash)
	case TypeStream:
		return rdbStreamListpacks3, v.Enc == EncTree
	}
	return 0, false
}

func pick(v Value, packed, tree byte) (byte, bool) {
	if v.Enc == EncPacked {
		return packed, true
	}
	return tree, v.Enc == EncTree
}

func (w *RDBWriter) value(code byte, v Value) {
	switch code {
	case rdbString:
		if v.Enc == EncBigString {
			w.string(v.Obj.str)
		} else {
			w.string(v.Bytes)
		}
	case rdbListQuicklist2:
		w.b = append(w.b, 1, rdbNodePacked)
		w.string(w.listpack(v.Bytes))
	case rdbSetListpack, rdbHashListpack:
		w.string(w.listpack(v.Bytes))
	case rdbZSetListpack:
		w.string(w.zsetListpack(v.Bytes))
	case rdbSetIntset:
		w.string(v.Bytes) // our layout is Redis's
	case rdbHashMetadata:
		w.expiringHash(v.Obj)
	case rdbHashListpackEx:
		w.expiringListpack(v.Obj)
	case rdbZSet2:
		w.zsetTree(v.Obj)
	case rdbStreamListpacks2, rdbStreamListpacks3:
		w.stream(v.Obj, code)
	default:
		w.tree(code, v.Obj.t)
	}
}

// listpack is the packed collection as a listpack.
func (w *RDBWriter) listpack(p []byte) []byte {
	b, n := appendListpackAll(beginListpack(w.pack[:0]), p)
	w.pack = endListpack(b, 0, n)
	return w.pack
}

// zsetListpack has scores as text.
func (w *RDBWriter) zsetListpack(p []byte) []byte {
	w.pack = beginListpack(w.pack[:0])
	n := 0
	var text [32]byte
	it := iterPacked(p)
	for {
		member, _ := it.next()
		score, ok := it.next()
		if !ok {
			break
		}
		w.pack = appendListpack(w.pack, member)
		w.pack = appendListpack(w.pack, appendD2String(text[:0], readScore(score)))
		n += 2
	}
	w.pack = endListpack(w.pack, 0, n)
	return w.pack
}

// tree writes a list, set or hash: count, then the elements.
func (w *RDBWriter) tree(code byte, t *tree) {
	w.b = appendRDBLen(w.b, uint64(t.len()))
	for it := t.first(); it.valid() && w.err == nil; it.nextLeaf() {
		leaf := it.p.leaf()
		for i := range leaf.n {
			key, val := leaf.entry(i)
			if code != rdbList {
				w.string(hashedMember(key))
			}
			if code != rdbSet {
				w.string(val)
			}
		}
		w.flush(w.piece)
	}
}

// zsetTree writes members and scores in the order of scores.
func (w *RDBWriter) zsetTree(o *object) {
	w.b = appendRDBLen(w.b, uint64(o.t.len()))
	for it := o.t.first(); it.valid() && w.err == nil; it.next() {
		member, score := splitScored(it.key())
		w.string(member)
		w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(score))
		w.flush(w.piece)
	}
}
