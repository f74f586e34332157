package kv

import (
	"encoding/binary"
	"math"
)

// DUMP and RESTORE. A payload is Redis's:
//
//	type u8 | value as in an RDB file | version u16 LE | CRC-64 of all before u64 LE
//
// The version is the lowest that knows the type, so that older servers load what
// they can hold: 10 (Redis 7.0) for all but what is younger.
var dumpCommands = []Command{
	{Name: "dump", Group: "generic", Since: "2.6.0", Arity: 2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdDump,
		Summary: "Serializes a value for RESTORE."},
	{Name: "restore", Group: "generic", Since: "2.6.0", Arity: -4, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 91, Run: cmdRestore,
		Summary: "Makes a key from what DUMP serialized."},
}

const (
	dumpFooter  = 2 + 8
	dumpVersion = 10
	// inflatePerByte bounds what the compressed strings of a payload may stand for,
	// in all, as a multiple of proto-max-bulk-len: LZF can blow bytes up 88 times.
	inflatePerByte = 4
)

// cmdDump is DUMP key.
func cmdDump(c *Ctx) {
	v, found := c.lookup(c.Args[1])
	if !found {
		c.Out.Null()
		return
	}
	c.work(valueWork(v))
	if !c.late(v) {
		writeDump(c.Out, v)
	}
}

// writeDump appends a value's payload as a bulk.
func writeDump(out *Reply, v Value) {
	// The payload is written where it stays: its length is put in front later.
	out.makeRoom(dumpRoom(v))
	head := out.beginLate('$', dumpRoom(v))
	b, err := appendDump(out.b, v)
	if err != nil {
		out.Truncate(head.at)
		out.Error("ERR " + err.Error())
		return
	}
	out.b = append(b, '\r', '\n')
	out.endLate(head, len(b)-head.end)
}

// dumpValue is the payload of a value.
func dumpValue(v Value) ([]byte, error) { return appendDump(make([]byte, 0, dumpRoom(v)), v) }

func appendDump(dst []byte, v Value) ([]byte, error) {
	w := NewRDBWriter(nil)
	w.b = dst
	if err := w.dumped(v); err != nil {
		return nil, err
	}
	from := len(dst)
	b := binary.LittleEndian.AppendUint16(w.b, rdbVersionOf(w.b[from]))
	return binary.LittleEndian.AppendUint64(b, crc64Update(0, b[from:])), nil
}

// dumpRoom is about what the payload takes, seldom less: what is large must not be
// copied again and again while it grows.
func dumpRoom(v Value) int {
	n := 64 + len(v.str())
	if v.Obj == nil || v.Obj.t == nil {
		return n
	}
	n += int(v.Obj.t.root.size)
	switch v.Type {
	case TypeSet, TypeHash:
		n -= hashSize * v.Obj.t.len()
	case TypeStream: // of the ID only what differs from its node's
		n -= 6 * v.Obj.t.len()
	}
	return n
}

// rdbVersionOf is the first RDB version with a type of value.
func rdbVersionOf(code byte) uint16 {
	switch {
	case code > rdbStreamListpacks3:
		return 12
	case code > rdbStreamListpacks2:
		return 11
	}
	return dumpVersion
}

// restoreArgs are the arguments of RESTORE behind the payload.
type restoreArgs struct {
	ttl               int64
	replace, absolute bool
	idle, freq        int64 // -1: not given
}

// cmdRestore is RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME
// seconds] [FREQ frequency]. The latter two are this node's knowledge of how the key was
// used; it keeps them while its policy goes by uses.
func cmdRestore(c *Ctx) {
	key := c.Args[1]
	a, ok := c.restoreOptions()
	if !ok {
		return
	}
	if !a.replace && c.exists(key) {
		c.Out.Error("BUSYKEY Target key name already exists.")
		return
	}
	if a.ttl, ok = c.intArg(2); !ok {
		return
	}
	if a.ttl < 0 || !a.absolute && a.ttl > math.MaxInt64-c.now {
		c.Out.Error("ERR Invalid TTL value, must be >= 0")
		return
	}
	payload, version, ok := openPayload(c.Args[3])
	if !ok {
		c.Out.Error("ERR DUMP payload version or checksum are wrong")
		return
	}
	v, err := c.restoreValue(payload, version)
	if err != nil || v.Type == TypeNone {
		c.Out.Error("ERR Bad data format")
		return
	}
	if v.ExpireAt = a.ttl; a.ttl != 0 && !a.absolute {
		v.ExpireAt += c.now
	}
	c.work(valueWork(v) + len(payload)/bytesPerCost)
	switch {
	case v.ExpireAt == 0 || v.ExpireAt > c.now:
		c.putNew(key, v)
		c.touched("restore", key)
		if a.idle >= 0 || a.freq >= 0 {
			c.store.access.set(c.db, c.store.hash(key), c.now, a.idle, a.freq)
		}
	case c.exists(key):
		c.remove(key)
		c.touched("del", key)
	}
	c.Out.OK()
}

func (c *Ctx) restoreOptions() (a restoreArgs, ok bool) {
	a.idle, a.freq = -1, -1
	for i := 4; i < len(c.Args); i++ {
		more := i+1 < len(c.Args)
		switch opt := c.Args[i]; {
		case is(opt, "replace"):
			a.replace = true
		case is(opt, "absttl"):
			a.absolute = true
		case is(opt, "idletime") && more && a.freq < 0:
			i++
			n, ok := c.intArg(i)
			if !ok {
				return a, false
			}
			if a.idle = n; n < 0 {
				c.Out.Error("ERR Invalid IDLETIME value, must be >= 0")
				return a, false
			}
		case is(opt, "freq") && more && a.idle < 0:
			i++
			n, ok := c.intArg(i)
			if !ok {
				return a, false
			}
			if a.freq = n; n < 0 || n > 255 {
				c.Out.Error("ERR Invalid FREQ value, must be >= 0 and <= 255")
				return a, false
			}
		default:
			c.syntaxError()
			return a, false
		}
	}
	return a, true
}

// openPayload checks version and CRC.
func openPayload(p []byte) (body []byte, version int, ok bool) {
	if len(p) < dumpFooter {
		return nil, 0, false
	}
	n := len(p) - dumpFooter
	version = int(binary.LittleEndian.Uint16(p[n:]))
	sum := binary.LittleEndian.Uint64(p[n+2:])
	if version > rdbMaxVersion || sum != crc64Update(0, p[:n+2]) {
		return nil, 0, false
	}
	return p[:n], version, true
}

// restoreValue decodes type and value; the whole of p must be used up.
func (c *Ctx) restoreValue(p []byte, version int) (Value, error) {
	limit := c.settings().ProtoMaxBulkLen
	in := rdbInput{buf: p, more: func() bool { return false }, bounded: true, inflate: inflatePerByte * limit}
	d := rdbValueDecoder{in: &in, h: c.store.heap, settings: c.settings(), version: version, strict: true}
	code, err := in.byte()
	if err != nil {
		return Value{}, err
	}
	v, err := d.value(code)
	switch {
	case err != nil:
		return Value{}, err
	case in.pos != len(in.buf):
		return Value{}, in.errorf("%d bytes behind the value", len(in.buf)-in.pos)
	case int64(len(v.str())) > limit:
		return Value{}, in.errorf("string beyond proto-max-bulk-len")
	}
	return d.underThresholds(v), nil
}

// underThresholds moves a collection that may not be packed here into trees.
func (d *rdbValueDecoder) underThresholds(v Value) Value {
	n, limit := packedLen(v.Bytes), int64(math.MaxInt64)
	switch {
	case v.Enc == EncIntset && int64(intsetLen(v.Bytes)) > d.settings.SetMaxIntsetEntries:
		return d.spread(Value{Type: TypeSet, Bytes: packedOf(nil, intsetTexts(v.Bytes)...)})
	case v.Enc != EncPacked:
		return v
	case v.Type == TypeHash:
		n, limit = n/2, d.settings.HashMaxListpackEntries
	case v.Type == TypeSet:
		limit = d.settings.SetMaxListpackEntries
	case v.Type == TypeZSet:
		n, limit = n/2, d.settings.ZSetMaxListpackEntries
	}
	if int64(n) > limit {
		return d.spread(v)
	}
	return v
}
