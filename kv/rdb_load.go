package kv

import (
	"bytes"
)

// RDBLoader decodes an RDB stream, pushed in pieces of any size, into a Loader:
//
//	d := NewRDBLoader(loader)
//	defer d.Abort()
//	err := reader.Restore(d.Feed) // or any source of bytes
//	err = d.Finish()
//	err = loader.Commit(index)
//
// Feed, Finish and Abort are those of rdbPush.
type RDBLoader struct {
	rdbPush
	// Keys counts the keys added, Skipped those left out because they were empty.
	Keys, Skipped uint64

	l        *Loader
	foreign  bool
	version  int
	db       int
	hasState bool
	dec      rdbValueDecoder
	key      []byte
	scratch  []byte
	// gone is rdbAuxStream for the key that follows.
	gone []byte
}

// NewRDBLoader decodes a snapshot, which must hold the system state. The bytes have
// been verified (snapshot.Reader.Verify): elements are not searched for repetitions.
func NewRDBLoader(l *Loader) *RDBLoader { return newRDBLoader(l, false) }

// NewRDBImporter decodes a file of another origin into a Loader that has its
// system state already. Fields of ours in it are ignored, and repeated elements
// are an error.
func NewRDBImporter(l *Loader) *RDBLoader { return newRDBLoader(l, true) }

func newRDBLoader(l *Loader, foreign bool) *RDBLoader {
	d := &RDBLoader{l: l, foreign: foreign}
	d.start(d.run)
	return d
}

// run decodes the whole file.
func (d *RDBLoader) run() error {
	var err error
	if d.version, err = d.in.header(); err != nil {
		return err
	}
	for {
		if err := d.shortStrings(); err != nil {
			return err
		}
		op, err := d.in.byte()
		if err != nil {
			return err
		}
		if op == rdbOpEOF {
			return d.end()
		}
		if op == rdbOpExpireMs || op == rdbOpExpire || op == rdbOpFreq || op == rdbOpIdle || op < rdbFirstOp {
			err = d.entry(op)
		} else {
			err = d.field(op)
		}
		if err != nil {
			return err
		}
	}
}

func (d *RDBLoader) end() error {
	if !d.foreign && !d.hasState {
		return d.in.errorf("no %s in the file", rdbAuxState)
	}
	return d.in.end(d.version)
}

// field decodes what is not a key.
func (d *RDBLoader) field(op byte) error {
	switch op {
	case rdbOpAux:
		return d.aux()
	case rdbOpSelectDB:
		db, err := d.in.count()
		if err != nil {
			return err
		}
		d.db = db
		return nil
	case rdbOpResizeDB:
		return d.resize()
	case rdbOpSlotInfo:
		return d.skipLengths(3)
	}
	return unsupportedRDB(op, nil)
}

// resize takes the counts of the database that follows. Only our own files are in
// hash order, and only they are believed.
func (d *RDBLoader) resize() error {
	keys, err := d.in.count()
	if err != nil {
		return err
	}
	if !d.foreign {
		if err := d.l.Reserve(d.db, uint64(keys)); err != nil {
			return err
		}
	}
	return d.skipLengths(1)
}

func (d *RDBLoader) skipLengths(n int) error {
	for ; n > 0; n-- {
		if _, err := d.in.count(); err != nil {
			return err
		}
	}
	return nil
}

func (d *RDBLoader) aux() error {
	name, err := d.in.string(&d.key)
	if err != nil {
		return err
	}
	isState, isGone := string(name) == rdbAuxState, string(name) == rdbAuxStream
	value, err := d.in.string(&d.scratch)
	if err == nil && isGone && !d.foreign {
		d.gone = bytes.Clone(value)
		return nil
	}
	if err != nil || !isState || d.foreign {
		return err
	}
	if d.hasState {
		return d.in.errorf("second %s", rdbAuxState)
	}
	d.hasState = true
	return d.l.SetState(value)
}

// entry decodes one key: its expiry and eviction data, if any, type, key, value.
func (d *RDBLoader) entry(op byte) (err error) {
	var expireAt int64
	for ; op >= rdbFirstOp; op, err = d.in.byte() {
		switch op {
		case rdbOpExpireMs:
			expireAt, err = d.expiry(8)
		case rdbOpExpire:
			expireAt, err = d.expiry(4)
		case rdbOpFreq:
			_, err = d.in.byte()
		case rdbOpIdle:
			_, err = d.in.count()
		default:
			err = d.in.errorf("opcode %d before a key", op)
		}
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	key, err := d.in.string(&d.scratch)
	if err != nil {
		return err
	}
	d.key = append(d.key[:0], key...) // the value may be in the next block
	return d.value(op, expireAt)
}

// shortStrings decodes what most files consist of, strings without an expiry whose key is
// shorter than 64 bytes and whose value has up to 16,383, as long as they lie in the block
// at hand in one piece and their lengths in no more bytes than they need. It stops before
// whatever is anything else.
func (d *RDBLoader) shortStrings() error {
	if d.l.heap == nil || d.gone != nil {
		return nil
	}
	for {
		b := d.in.buf[d.in.pos:]
		if len(b) < 2 || b[0] != rdbString || b[1] > 0x3f {
			return nil
		}
		n := 2 + int(b[1])
		if len(b) < n+2 {
			return nil
		}
		key, b := b[2:n:n], b[n:]
		switch {
		case b[0] <= 0x3f:
			n, b = n+1+int(b[0]), b[1:1+min(int(b[0]), len(b)-1)]
		case b[0] <= 0x7f && (b[0] > 0x40 || b[1] > embstrMax): // else see RDBWriter.marked
			size := int(b[0]&0x3f)<<8 | int(b[1])
			n, b = n+2+size, b[2:2+min(size, len(b)-2)]
		default:
			return nil
		}
		if n > len(d.in.buf)-d.in.pos {
			return nil
		}
		d.in.pos += n
		d.Keys++
		if err := d.l.Add(d.db, key, Value{Type: TypeString, Enc: EncRaw, Bytes: b}); err != nil {
			return err
		}
	}
}

func (d *RDBLoader) expiry(width int) (int64, error) {
	b, err := d.in.fixed(width)
	if err != nil {
		return 0, err
	}
	at := littleInt(b)
	if width == 4 {
		at *= 1000
	}
	// Redis deletes a key with a negative expiry when it sees it. So do we, and 0
	// is "none" to us.
	return max(at, 1), nil
}

func (d *RDBLoader) value(code byte, expireAt int64) error {
	if d.l.heap == nil {
		return d.in.errorf("key before the system state")
	}
	d.dec.in, d.dec.h, d.dec.strict = &d.in, d.l.heap, d.foreign
	d.dec.settings, d.dec.version = &d.l.st.Settings, d.version
	v, err := d.dec.value(code)
	if err != nil {
		if u, ok := err.(*UnsupportedRDBError); ok {
			u.Key = bytes.Clone(d.key)
		}
		return err
	}
	if v.Type == TypeNone { // an empty collection, which old versions could leave behind
		d.Skipped++
		return nil
	}
	if gone := d.gone; gone != nil {
		d.gone = nil
		if v.Type != TypeStream || !restoreGone(v.Obj, gone) {
			return d.in.errorf("%s of %d bytes", rdbAuxStream, len(gone))
		}
	}
	v.ExpireAt = expireAt
	d.Keys++
	return d.l.Add(d.db, d.key, v)
}
