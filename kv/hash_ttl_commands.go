package kv

// The commands for fields that expire, of Redis 7.4, and those of 8.0 that read or
// write values together with expiries.
var hashTTLCommands = []Command{
	{Name: "hexpire", Group: "hash", Since: "7.4.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 182, Run: func(c *Ctx) { c.expireFieldsAt(1000, true) },
		Summary: "Sets the expiry of fields of a hash in seconds."},
	{Name: "hexpireat", Group: "hash", Since: "7.4.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 183, Run: func(c *Ctx) { c.expireFieldsAt(1000, false) },
		Summary: "Sets the expiry of fields of a hash to a Unix time in seconds."},
	{Name: "hpexpire", Group: "hash", Since: "7.4.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 184, Run: func(c *Ctx) { c.expireFieldsAt(1, true) },
		Summary: "Sets the expiry of fields of a hash in milliseconds."},
	{Name: "hpexpireat", Group: "hash", Since: "7.4.0", Arity: -6, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 185, Run: func(c *Ctx) { c.expireFieldsAt(1, false) },
		Summary: "Sets the expiry of fields of a hash to a Unix time in milliseconds."},
	{Name: "hpersist", Group: "hash", Since: "7.4.0", Arity: -5, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 186, Run: cmdHPersist,
		Summary: "Removes the expiry of fields of a hash."},
	{Name: "hgetdel", Group: "hash", Since: "8.0.0", Arity: -5, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 187, Run: cmdHGetDel,
		Summary: "Returns the values of fields of a hash and deletes them."},
	{Name: "hgetex", Group: "hash", Since: "8.0.0", Arity: -5, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 188, Run: cmdHGetEx,
		Summary: "Returns the values of fields of a hash and sets or removes their expiry."},
	{Name: "hsetex", Group: "hash", Since: "8.0.0", Arity: -6, Flags: FlagWrite | FlagDenyOOM | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 189, Run: cmdHSetEx,
		Summary: "Sets the values of fields of a hash with an expiry."},

	{Name: "hexpiretime", Group: "hash", Since: "7.4.0", Arity: -5, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyFieldTTLs(1000, false) },
		Summary: "Returns the expiry of fields of a hash as a Unix time in seconds."},
	{Name: "hpexpiretime", Group: "hash", Since: "7.4.0", Arity: -5, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyFieldTTLs(1, false) },
		Summary: "Returns the expiry of fields of a hash as a Unix time in milliseconds."},
	{Name: "httl", Group: "hash", Since: "7.4.0", Arity: -5, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyFieldTTLs(1000, true) },
		Summary: "Returns the time fields of a hash have left in seconds."},
	{Name: "hpttl", Group: "hash", Since: "7.4.0", Arity: -5, Flags: FlagReadonly | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.replyFieldTTLs(1, true) },
		Summary: "Returns the time fields of a hash have left in milliseconds."},
}

// What the commands reply for a field.
const (
	fieldMissing   = -2
	fieldNoTTL     = -1
	fieldUntouched = 0
	fieldDone      = 1
	fieldDeleted   = 2
)

// fieldsArg reads FIELDS numfields field ... from argument i to the end, groups of
// size arguments each; else it replies an error.
func (c *Ctx) fieldsArg(i, size int) (fields [][]byte, ok bool) {
	if i+1 >= len(c.Args) || !is(c.Args[i], "fields") {
		c.Out.Error("ERR Mandatory argument FIELDS is missing or not at the right position")
		return nil, false
	}
	n, ok := parseInt(c.Args[i+1])
	if !ok || n < 1 {
		if i == 2 { // commands with nothing but fields say it in other words
			c.Out.Error("ERR Number of fields must be a positive integer")
		} else {
			c.Out.Error("ERR Parameter `numFields` should be greater than 0")
		}
		return nil, false
	}
	fields = c.Args[i+2:]
	if n > int64(len(fields)) || int(n)*size != len(fields) {
		c.Out.Error("ERR The `numfields` parameter must match the number of arguments")
		return nil, false
	}
	c.work(opCost * int(n))
	return fields, true
}

// fieldExpiry turns a number into a moment, Unix ms; else it replies an error.
func (c *Ctx) fieldExpiry(number []byte, unit int64, relative bool) (at int64, ok bool) {
	n, ok := parseInt(number)
	base := int64(0)
	if relative {
		base = c.now
	}
	switch {
	case !ok:
		c.Out.Error(errNotInt)
	case n < 0:
		c.Out.Error("ERR invalid expire time, must be >= 0")
	case n > fieldTTLMax/unit || n*unit > fieldTTLMax-base:
		c.invalidExpire()
	default:
		return n*unit + base, true
	}
	return 0, false
}

// expireFieldsAt is HEXPIRE and its kin: key time [NX|XX|GT|LT] FIELDS numfields
// field [field ...]. A moment that has passed deletes the field.
func (c *Ctx) expireFieldsAt(unit int64, relative bool) {
	key := c.Args[1]
	h, ok := c.openHash(key)
	if !ok {
		return
	}
	at, ok := c.fieldExpiry(c.Args[2], unit, relative)
	if !ok {
		return
	}
	var cond expireCondition
	i := 3
	switch opt := c.Args[3]; {
	case is(opt, "nx"):
		cond.nx = true
	case is(opt, "xx"):
		cond.xx = true
	case is(opt, "gt"):
		cond.gt = true
	case is(opt, "lt"):
		cond.lt = true
	default:
		i--
	}
	fields, ok := c.fieldsArg(i+1, 1)
	if !ok {
		return
	}
	c.Out.Array(len(fields))
	var done changedFields
	for _, field := range fields {
		switch old, exists := h.ttlOf(field); {
		case !exists:
			c.Out.Int(fieldMissing)
		case !cond.allows(at, old):
			c.Out.Int(fieldUntouched)
		default:
			c.Out.Int(done.expire(&h, field, at))
		}
	}
	done.save(&h)
}

// changedFields counts what a command did to a hash.
type changedFields struct{ expired, persisted, deleted, set int }

// expire sets when a field expires, or deletes it if the moment has passed.
func (n *changedFields) expire(h *hashView, field []byte, at int64) (reply int64) {
	if at <= h.c.now {
		h.del(field)
		n.deleted++
		return fieldDeleted
	}
	h.setTTL(field, at)
	n.expired++
	return fieldDone
}

// save stores the hash and records the effects, if there are any.
func (n *changedFields) save(h *hashView) {
	if *n == (changedFields{}) {
		h.release()
		return
	}
	left := h.len()
	h.save(left)
	for _, e := range [...]struct {
		count int
		event string
	}{{n.set, "hset"}, {n.expired, "hexpire"}, {n.persisted, "hpersist"}, {n.deleted, "hdel"}} {
		if e.count > 0 {
			h.c.touched(e.event, h.key)
		}
	}
	if left == 0 {
		h.c.touched("del", h.key)
	}
}

// cmdHPersist is HPERSIST key FIELDS numfields field [field ...].
func cmdHPersist(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	fields, ok := c.fieldsArg(2, 1)
	if !ok {
		return
	}
	c.Out.Array(len(fields))
	var done changedFields
	for _, field := range fields {
		switch at, exists := h.ttlOf(field); {
		case !exists:
			c.Out.Int(fieldMissing)
		case at == 0:
			c.Out.Int(fieldNoTTL)
		default:
			h.setTTL(field, 0)
			done.persisted++
			c.Out.Int(fieldDone)
		}
	}
	done.save(&h)
}

// replyFieldTTLs is HTTL, HPTTL, HEXPIRETIME and HPEXPIRETIME key FIELDS numfields
// field [field ...]; seconds are rounded up.
func (c *Ctx) replyFieldTTLs(unit int64, relative bool) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	fields, ok := c.fieldsArg(2, 1)
	if !ok {
		return
	}
	c.Out.Array(len(fields))
	for _, field := range fields {
		at, exists := h.ttlOf(field)
		switch {
		case !exists:
			c.Out.Int(fieldMissing)
			continue
		case at == 0:
			c.Out.Int(fieldNoTTL)
			continue
		}
		if relative {
			at = max(at-c.now, 0)
		}
		c.Out.Int((at + unit - 1) / unit)
	}
}

// replyFields replies the values of the fields.
func (h *hashView) replyFields(fields [][]byte) {
	h.c.Out.Array(len(fields))
	for _, field := range fields {
		if val, ok := h.get(field); ok {
			h.c.Out.Bulk(val)
		} else {
			h.c.Out.Null()
		}
	}
}

// cmdHGetDel is HGETDEL key FIELDS numfields field [field ...].
func cmdHGetDel(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	fields, ok := c.fieldsArg(2, 1)
	if !ok {
		return
	}
	// One by one: a field named twice is gone the second time.
	c.Out.Array(len(fields))
	var done changedFields
	for _, field := range fields {
		val, ok := h.get(field)
		if !ok {
			c.Out.Null()
			continue
		}
		c.Out.Bulk(val)
		h.del(field)
		done.deleted++
	}
	done.save(&h)
}

// fieldOptions are what HGETEX and HSETEX accept before FIELDS.
type fieldOptions struct {
	exp           expireOption
	persist, keep bool
	fnx, fxx      bool
	at            int64
	fields        [][]byte
}

// parse reads the options and the fields, groups of size arguments each; else it
// replies an error.
func (o *fieldOptions) parse(c *Ctx, size int) (ok bool) {
	i := 2
	for ; i < len(c.Args) && !is(c.Args[i], "fields"); i++ {
		chosen := o.exp.ms != 0 || o.persist || o.keep
		switch opt := c.Args[i]; {
		case size == 2 && is(opt, "fnx") && !o.fxx:
			o.fnx = true
		case size == 2 && is(opt, "fxx") && !o.fnx:
			o.fxx = true
		case size == 1 && is(opt, "persist") && !chosen:
			o.persist = true
		case size == 2 && is(opt, "keepttl") && !chosen:
			o.keep = true
		case !chosen && o.exp.parse(c.Args, i):
			i++
		default:
			c.syntaxError()
			return false
		}
	}
	if o.fields, ok = c.fieldsArg(i, size); !ok {
		return false
	}
	if o.exp.ms != 0 {
		o.at, ok = c.fieldExpiry(o.exp.number, o.exp.ms, o.exp.relative)
	}
	return ok
}

// cmdHGetEx is HGETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST] FIELDS numfields
// field [field ...].
func cmdHGetEx(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	var o fieldOptions
	if !o.parse(c, 1) {
		return
	}
	h.replyFields(o.fields)
	var done changedFields
	for _, field := range o.fields {
		old, exists := h.ttlOf(field)
		switch {
		case exists && o.exp.ms != 0:
			done.expire(&h, field, o.at)
		case exists && o.persist && old != 0:
			h.setTTL(field, 0)
			done.persisted++
		}
	}
	done.save(&h)
}

// cmdHSetEx is HSETEX key [FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS
// numfields field value [field value ...]: all fields or none.
func cmdHSetEx(c *Ctx) {
	h, ok := c.openHash(c.Args[1])
	if !ok {
		return
	}
	var o fieldOptions
	if !o.parse(c, 2) {
		return
	}
	for i := 0; i < len(o.fields); i += 2 {
		if _, exists := h.get(o.fields[i]); exists && o.fnx || !exists && o.fxx {
			c.Out.Int(0)
			return
		}
	}
	h.expect(o.fields)
	var done changedFields
	for i := 0; i < len(o.fields); i += 2 {
		h.set(o.fields[i], o.fields[i+1], o.keep)
		done.set++
		if o.exp.ms != 0 {
			done.expire(&h, o.fields[i], o.at)
		}
	}
	done.save(&h)
	c.Out.Int(1)
}
