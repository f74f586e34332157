package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The body of an EntryNormal, little endian (docs/adr/0001):
//
//	 0 format u8 = 1 | flags u8 (bit 0: oom) | apply level u16 | group u32 (0)
//	 8 stamp i64  Unix ms, the leader's clock
//	16 seed  u64  the entry's randomness
//	24 units u32 | reserved u32
//	32 unit ...
//	unit: uvarint bytes after this field
//	      uvarint session, seq, low, flags, user, client, ops
//	      op ...
//	op:   uvarint opcode, uvarint argc, argc x (uvarint length, bytes)
//
// The format byte lets a node that meets a newer body stop instead of guessing;
// the level does the same for the meaning of known bytes. A unit is framed by its
// length so that a leader copies forwarded units without looking inside.
const (
	entryFormat     = 1
	entryHeaderSize = 32
	// ApplyLevel is the newest version of apply's semantics this node knows. Entries are
	// written by the cluster's level (Store.Level), which follows when every member
	// knows the newer one.
	ApplyLevel = 1
	// firstLevel is that of a new cluster, and of whoever does not say.
	firstLevel = 1
)

// Errors of the codec and of Apply. Each means that the entry was written by a
// newer or a faulty node: the caller stops the node, it never skips the entry.
var (
	ErrMalformed   = errors.New("malformed entry body")
	ErrUnknown     = errors.New("entry needs a newer version of rkv")
	errUvarintSize = errors.New("uvarint")
)

// EntryFlags are conditions the leader decided for all units of an entry.
type EntryFlags uint8

// EntryOOM tells that the leader was over maxmemory: commands flagged denyoom
// reply -OOM at apply, on every node alike.
const EntryOOM EntryFlags = 1 << 0

// EntryHeader is what the leader adds to the units of an entry.
type EntryHeader struct {
	// Stamp is the leader's clock, Unix ms.
	Stamp int64
	// Seed feeds the random choices of the entry's commands.
	Seed  uint64
	Level uint16
	Flags EntryFlags
	// Units is the number of units that follow.
	Units uint32
}

// UnitHeader identifies a unit: one connection's pipeline chunk.
type UnitHeader struct {
	// Session is the origin node's session, Seq the unit's number in it and Low the
	// origin's oldest number without an answer (docs/adr/0002).
	Session, Seq, Low uint64
	// Flags is reserved; 0.
	Flags uint64
	// User and Client identify the connection; 0: unknown.
	User, Client uint64
	// Ops is the number of operations that follow.
	Ops uint64
}

// Unit is a decoded unit. Ops aliases the entry body.
type Unit struct {
	UnitHeader
	Data []byte
}

// AppendEntryHeader appends the header of an entry body; the encoded units follow.
func AppendEntryHeader(dst []byte, h EntryHeader) []byte {
	dst = append(dst, entryFormat, byte(h.Flags))
	dst = binary.LittleEndian.AppendUint16(dst, h.Level)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Stamp))
	dst = binary.LittleEndian.AppendUint64(dst, h.Seed)
	dst = binary.LittleEndian.AppendUint32(dst, h.Units)
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// BuildEntry makes an entry body of encoded units (AppendUnit). The result is the
// only copy: log, wire and memory share it. No units make a TICK.
func BuildEntry(h EntryHeader, units ...[]byte) []byte {
	size := entryHeaderSize
	for _, u := range units {
		size += len(u)
	}
	h.Units = uint32(len(units))
	dst := AppendEntryHeader(make([]byte, 0, size), h)
	for _, u := range units {
		dst = append(dst, u...)
	}
	return dst
}

// AppendUnit appends one encoded unit; ops holds h.Ops encoded operations.
func AppendUnit(dst []byte, h UnitHeader, ops []byte) []byte {
	fields := [...]uint64{h.Session, h.Seq, h.Low, h.Flags, h.User, h.Client, h.Ops}
	size := len(ops)
	for _, f := range fields {
		size += uvarintLen(f)
	}
	dst = binary.AppendUvarint(dst, uint64(size))
	for _, f := range fields {
		dst = binary.AppendUvarint(dst, f)
	}
	return append(dst, ops...)
}

// ParseEntryHeader checks and decodes the header of an entry body, but for its level:
// whether that is known is for whom applies it to say.
func ParseEntryHeader(body []byte) (EntryHeader, error) {
	if len(body) < entryHeaderSize {
		return EntryHeader{}, fmt.Errorf("%w: %d bytes, header has %d", ErrMalformed, len(body), entryHeaderSize)
	}
	h := EntryHeader{
		Flags: EntryFlags(body[1]),
		Level: binary.LittleEndian.Uint16(body[2:]),
		Stamp: int64(binary.LittleEndian.Uint64(body[8:])),
		Seed:  binary.LittleEndian.Uint64(body[16:]),
		Units: binary.LittleEndian.Uint32(body[24:]),
	}
	group := binary.LittleEndian.Uint32(body[4:])
	reserved := binary.LittleEndian.Uint32(body[28:])
	switch {
	case body[0] != entryFormat:
		return h, fmt.Errorf("%w: format %d, known is %d", ErrUnknown, body[0], entryFormat)
	case h.Flags&^EntryOOM != 0 || group != 0 || reserved != 0:
		return h, fmt.Errorf("%w: flags %#x, group %d, reserved %d", ErrUnknown, h.Flags, group, reserved)
	}
	return h, nil
}

// UnitIter walks the units of an entry body:
//
//	it, err := ParseUnits(body)
//	for it.Next() { use it.Unit }
//	err = it.Err()
type UnitIter struct {
	Header EntryHeader
	Unit   Unit
	rest   []byte
	left   uint32
	err    error
}

// ParseUnits checks the entry's header and returns an iterator over its units. It
// never panics and never allocates in proportion to what the bytes claim.
func ParseUnits(body []byte) (UnitIter, error) {
	h, err := ParseEntryHeader(body)
	if err != nil {
		return UnitIter{err: err}, err
	}
	return UnitIter{Header: h, rest: body[entryHeaderSize:], left: h.Units}, nil
}

// Next moves to the next unit; false at the end or at an error.
func (it *UnitIter) Next() bool {
	if it.err != nil {
		return false
	}
	if it.left == 0 {
		if len(it.rest) != 0 {
			it.err = fmt.Errorf("%w: %d bytes after the last unit", ErrMalformed, len(it.rest))
		}
		return false
	}
	it.left--
	it.rest, it.err = it.Unit.parse(it.rest)
	return it.err == nil
}

// Err is the error that ended the walk, nil at a regular end.
func (it *UnitIter) Err() error { return it.err }

// ParseUnit decodes the unit at the start of b and returns what follows it. The
// operations inside are not looked at: see CheckUnit.
func ParseUnit(b []byte) (u Unit, rest []byte, err error) {
	rest, err = u.parse(b)
	return u, rest, err
}

// parse is ParseUnit in place: a unit that was just written field by field is slow to copy.
func (u *Unit) parse(b []byte) (rest []byte, err error) {
	data, rest, err := takeBytes(b)
	if err != nil {
		return nil, fmt.Errorf("%w: unit's length", ErrMalformed)
	}
	fields := [...]*uint64{&u.Session, &u.Seq, &u.Low, &u.Flags, &u.User, &u.Client, &u.Ops}
	for _, f := range fields {
		if len(data) > 0 && data[0] < 0x80 { // most of them
			*f, data = uint64(data[0]), data[1:]
		} else if *f, data, err = takeUvarint(data); err != nil {
			return nil, fmt.Errorf("%w: unit's header", ErrMalformed)
		}
	}
	u.Data = data
	if u.Flags != 0 {
		return nil, fmt.Errorf("%w: unit flags %#x", ErrUnknown, u.Flags)
	}
	return rest, nil
}

// CheckUnit verifies an encoded unit completely: framing, known opcodes, argument
// counts. A leader calls it on units that other nodes forward, so that no entry
// can be committed that apply would have to refuse.
func CheckUnit(b []byte) (UnitHeader, error) {
	u, rest, err := ParseUnit(b)
	if err != nil {
		return u.UnitHeader, err
	}
	if len(rest) != 0 {
		return u.UnitHeader, fmt.Errorf("%w: %d bytes after the unit", ErrMalformed, len(rest))
	}
	data := u.Data
	for n := uint64(0); n < u.Ops; n++ {
		var o op
		if data, err = o.parse(data); err != nil {
			return u.UnitHeader, err
		}
		if err := o.check(u.Ops - n - 1); err != nil {
			return u.UnitHeader, err
		}
	}
	if len(data) != 0 {
		return u.UnitHeader, fmt.Errorf("%w: %d bytes after the last operation", ErrMalformed, len(data))
	}
	return u.UnitHeader, nil
}

// The control operations (docs/adr/0001).
const (
	opOpen      Opcode = 1  // node u64, boot u64, level u16 as decimal text; without a level: the first
	opSelect    Opcode = 2  // db as decimal text
	opExec      Opcode = 3  // count of following operations (4 bytes LE), watches
	opConfigSet Opcode = 4  // name, value, name, value ...
	opUnblock   Opcode = 8  // seq as decimal text, how (UnblockTimeout ...)
	opPresence  Opcode = 9  // session, presence as decimal text
	opEvict     Opcode = 10 // a watch per key (Watch.append)
	opLevel     Opcode = 11 // level u16 as decimal text
	opACLLoad   Opcode = 5  // a line per user: "user name rule ..."
	firstOpcode Opcode = 16
)

// op is one decoded operation. args aliases the body.
type op struct {
	code Opcode
	cmd  *Command // nil for control operations
	args [][]byte
}

// parse decodes the operation at the start of b into o, reusing o.args, and
// returns what follows it.
func (o *op) parse(b []byte) ([]byte, error) {
	code, b, err := takeUvarint(b)
	if err != nil {
		return nil, fmt.Errorf("%w: opcode", ErrMalformed)
	}
	argc, b, err := takeUvarint(b)
	if err != nil || argc > uint64(len(b)) {
		return nil, fmt.Errorf("%w: argument count of opcode %d", ErrMalformed, code)
	}
	if code > 0xffff {
		return nil, fmt.Errorf("%w: opcode %d", ErrUnknown, code)
	}
	o.code, o.cmd, o.args = Opcode(code), nil, o.args[:0]
	if o.code >= firstOpcode {
		if o.cmd = LookupOp(o.code); o.cmd == nil {
			return nil, fmt.Errorf("%w: opcode %d", ErrUnknown, code)
		}
		o.args = append(o.args, o.cmd.argv0...)
	}
	for ; argc > 0; argc-- {
		var arg []byte
		if arg, b, err = takeBytes(b); err != nil {
			return nil, fmt.Errorf("%w: argument of opcode %d", ErrMalformed, code)
		}
		o.args = append(o.args, arg)
	}
	return b, nil
}

// check verifies what apply relies on beyond the framing; following is the number
// of operations behind this one in its unit.
func (o *op) check(following uint64) error {
	ok := true
	switch o.code {
	case opOpen:
		_, _, _, ok = o.open()
	case opSelect:
		_, ok = o.db()
	case opExec:
		var count int
		count, _, ok = o.exec()
		ok = ok && uint64(count) <= following
	case opUnblock:
		_, _, ok = o.unblock()
	case opPresence:
		_, _, ok = o.presence()
	case opConfigSet:
		ok = len(o.args) >= 2 && len(o.args)%2 == 0
	case opEvict:
		ok = o.evict()
	case opLevel:
		_, ok = o.level()
	case opACLLoad:
	default:
		if o.cmd == nil {
			return fmt.Errorf("%w: opcode %d", ErrUnknown, o.code)
		}
		ok = o.cmd.ArityOK(len(o.args))
	}
	if !ok {
		return fmt.Errorf("%w: arguments of opcode %d", ErrMalformed, o.code)
	}
	return nil
}

func (o *op) open() (node, boot uint64, level uint16, ok bool) {
	if len(o.args) != 2 && len(o.args) != 3 {
		return 0, 0, 0, false
	}
	node, ok1 := parseUint(o.args[0])
	boot, ok2 := parseUint(o.args[1])
	known, ok3 := uint64(firstLevel), true
	if len(o.args) == 3 {
		known, ok3 = parseUint(o.args[2])
	}
	return node, boot, uint16(known), ok1 && ok2 && ok3 && known >= firstLevel && known <= math.MaxUint16
}

func (o *op) level() (level uint16, ok bool) {
	if len(o.args) != 1 {
		return 0, false
	}
	n, ok := parseUint(o.args[0])
	return uint16(n), ok && n >= firstLevel && n <= math.MaxUint16
}

func (o *op) unblock() (seq uint64, how string, ok bool) {
	if len(o.args) != 2 {
		return 0, "", false
	}
	seq, ok = parseUint(o.args[0])
	how = string(o.args[1])
	return seq, how, ok && (how == UnblockTimeout || how == UnblockError || how == UnblockStop)
}

func (o *op) presence() (session uint64, presence int, ok bool) {
	if len(o.args) != 2 {
		return 0, 0, false
	}
	session, ok1 := parseUint(o.args[0])
	p, ok2 := parseUint(o.args[1])
	return session, int(p & 0xff), ok1 && ok2 && p <= presenceGone
}

func (o *op) db() (int, bool) {
	if len(o.args) != 1 {
		return 0, false
	}
	n, ok := parseUint(o.args[0])
	return int(n & 0xffff), ok && n <= 0xffff
}

// exec decodes EXEC's count and the watches' encodings (parseWatch).
func (o *op) exec() (count int, watches [][]byte, ok bool) {
	if len(o.args) == 0 || len(o.args[0]) != 4 && len(o.args[0]) != 8 {
		return 0, nil, false
	}
	n := binary.LittleEndian.Uint32(o.args[0])
	for _, w := range o.args[1:] {
		if _, ok := parseWatch(w); !ok {
			return 0, nil, false
		}
	}
	return int(n), o.args[1:], n < 1<<31
}

// execAgo is by how many ms the transaction's time is behind the stamp at its begin.
func (o *op) execAgo() int64 {
	if len(o.args) == 0 || len(o.args[0]) != 8 {
		return 0
	}
	return int64(binary.LittleEndian.Uint32(o.args[0][4:]))
}

// appendOp appends one operation.
func appendOp(dst []byte, code Opcode, args ...[]byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(code))
	dst = binary.AppendUvarint(dst, uint64(len(args)))
	for _, a := range args {
		dst = binary.AppendUvarint(dst, uint64(len(a)))
		dst = append(dst, a...)
	}
	return dst
}

// takeUvarint decodes a uvarint in its shortest form: one number has one encoding,
// so equal units are equal bytes.
func takeUvarint(b []byte) (uint64, []byte, error) {
	if len(b) > 0 && b[0] < 0x80 { // the common case
		return uint64(b[0]), b[1:], nil
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, nil, errUvarintSize
	}
	return v, b[n:], nil
}

func takeBytes(b []byte) (p, rest []byte, err error) {
	if len(b) > 0 && b[0] < 0x80 && int(b[0]) < len(b) { // the common case
		end := 1 + int(b[0])
		return b[1:end:end], b[end:], nil
	}
	n, b, err := takeUvarint(b)
	if err != nil || n > uint64(len(b)) {
		return nil, nil, errUvarintSize
	}
	return b[:n:n], b[n:], nil
}
