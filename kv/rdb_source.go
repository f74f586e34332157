package kv

import "strconv"

// Blocks produces the cut as an RDB file (version 11), in pieces of about 32 KiB,
// with the number of keys that begin in each: it makes a Cut the source of a
// snapshot (snapshot.Source). raw is valid only during the call. A collection or
// string of many MiB spans pieces, so memory does not depend on the data. Two cuts
// of equal state produce equal bytes.
func (c *Cut) Blocks(emit func(raw []byte, keys int) error) error {
	return c.blocks(NewRDBWriter(emit), func() {}, c.cut.each)
}

// Spend is Blocks for a cut that is not read again: it lets go of what was read, so that
// writers copy and keep only what is still to come. Its pieces are of some 4 KiB, and emit
// is called with nothing, too: each call is the chance to rest (docs/adr/0034).
func (c *Cut) Spend(emit func(raw []byte, keys int) error) error {
	w := NewRDBWriter(emit)
	w.piece = spendPiece
	rest := func() {
		if w.err == nil {
			w.err = emit(nil, 0)
		}
	}
	return c.blocks(w, rest, c.cut.spend)
}

// spendPiece is when a reader that goes on beside clients is asked whether it may: small
// values are forty records then, each in memory that nobody may have touched for long. To
// touch a page takes some machines as long as a command (docs/adr/0034).
const spendPiece = 4 << 10

func (c *Cut) blocks(w *RDBWriter, rest func(), each func(db int, fn func(key []byte, v Value) error) error) error {
	w.Header(rdbVersion)
	w.Aux("redis-ver", []byte("7.2.0"))
	w.Aux("redis-bits", []byte("64"))
	w.Aux("ctime", strconv.AppendInt(nil, c.Stamp/1000, 10))
	w.Aux(rdbAuxState, c.st.encodeResting(rest))
	for db := range c.Databases {
		if c.cut.len(db) == 0 {
			continue
		}
		w.SelectDB(db, c.cut.len(db), c.cut.expires(db))
		err := each(db, w.Key)
		if err != nil {
			return err
		}
	}
	return w.End()
}
