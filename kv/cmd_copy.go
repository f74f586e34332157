package kv

import (
	"bytes"
	"math"
	"strconv"
)

// The commands that carry keys from database to database.
var copyCommands = []Command{
	{Name: "copy", Group: "generic", Since: "6.2.0", Arity: -3, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 89, Run: cmdCopy,
		Summary: "Gives a second key the same value."},
	{Name: "move", Group: "generic", Since: "1.0.0", Arity: 3, Flags: FlagWrite | FlagFast,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 90, Run: cmdMove,
		Summary: "Takes a key over to another database."},
	{Name: "swapdb", Group: "server", Since: "4.0.0", Arity: 3, Flags: FlagWrite | FlagFast,
		Op: 150, Run: cmdSwapDB,
		Summary: "Lets two databases change places."},
}

const (
	errSameObject = "ERR source and destination objects are the same"
	errDBIndex    = "ERR DB index is out of range"
)

// dbArg is an argument as the number of a database; else it replies an error.
func (c *Ctx) dbArg(arg []byte) (db int, ok bool) {
	n, ok := parseInt(arg)
	switch {
	case !ok:
		c.Out.Error(errNotInt)
	case n < math.MinInt32 || n > math.MaxInt32:
		c.Out.Error("ERR value is out of range, value must between " +
			strconv.Itoa(math.MinInt32) + " and " + strconv.Itoa(math.MaxInt32))
	case n < 0 || n >= int64(len(c.store.dbs)):
		c.Out.Error(errDBIndex)
	default:
		return int(n), true
	}
	return 0, false
}

// cmdCopy is COPY source destination [DB database] [REPLACE].
func cmdCopy(c *Ctx) {
	from, to := c.Args[1], c.Args[2]
	source, target, replace := c.db, c.db, false
	for i := 3; i < len(c.Args); i++ {
		switch {
		case is(c.Args[i], "replace"):
			replace = true
		case is(c.Args[i], "db") && i+1 < len(c.Args):
			var ok bool
			if target, ok = c.dbArg(c.Args[i+1]); !ok {
				return
			}
			i++
		default:
			c.syntaxError()
			return
		}
	}
	if source == target && bytes.Equal(from, to) {
		c.Out.Error(errSameObject)
		return
	}
	if !c.exists(from) {
		c.Out.Int(0)
		return
	}
	c.selectDB(target)
	taken := c.exists(to)
	c.selectDB(source)
	if taken && !replace {
		c.Out.Int(0)
		return
	}
	v, _ := c.lookup(from) // only now: removing what expired moves bytes
	c.work(valueWork(v))
	if v.Obj != nil {
		v.Obj = c.store.heap.copyObject(v.Obj)
	}
	c.selectDB(target)
	c.putNew(to, v)
	c.touched("copy_to", to)
	c.selectDB(source)
	c.Out.Int(1)
}

// valueWork is the work that going through a value takes. COPY, which need not, is
// charged for the changes to come, each of which may copy a block.
func valueWork(v Value) int {
	if v.Obj == nil || v.Obj.t == nil {
		return len(v.str()) / bytesPerCost
	}
	n := v.Obj.t.len()
	if v.Obj.t2 != nil {
		n *= 2
	}
	return n
}

// cmdMove is MOVE key db. The value moves as it is, with its expiry.
func cmdMove(c *Ctx) {
	key, source := c.Args[1], c.db
	target, ok := c.dbArg(c.Args[2])
	if !ok {
		return
	}
	if source == target {
		c.Out.Error(errSameObject)
		return
	}
	if !c.exists(key) {
		c.Out.Int(0)
		return
	}
	c.selectDB(target)
	taken := c.exists(key)
	c.selectDB(source)
	if taken {
		c.Out.Int(0)
		return
	}
	v, _ := c.lookup(key)
	c.selectDB(target)
	c.put(key, v)
	c.selectDB(source)
	c.remove(key)
	c.touched("move_from", key)
	c.selectDB(target)
	c.touched("move_to", key)
	c.selectDB(source)
	c.Out.Int(1)
}

// cmdSwapDB is SWAPDB index1 index2. Only the roots change places.
func cmdSwapDB(c *Ctx) {
	s := c.store
	a, ok := parseInt(c.Args[1])
	if !ok || int64(int32(a)) != a {
		c.Out.Error("ERR invalid first DB index")
		return
	}
	b, ok := parseInt(c.Args[2])
	if !ok || int64(int32(b)) != b {
		c.Out.Error("ERR invalid second DB index")
		return
	}
	if n := int64(len(s.dbs)); a < 0 || a >= n || b < 0 || b >= n {
		c.Out.Error(errDBIndex)
		return
	}
	if a != b {
		s.dbs[a], s.dbs[b] = s.dbs[b], s.dbs[a]
		s.st.watch.swap[a], s.st.watch.swap[b] = s.st.Version, s.st.Version
		c.selectDB(c.db)
		c.flushed(int(a))
		c.flushed(int(b))
		s.noteDatabase(int(a))
		s.noteDatabase(int(b))
	}
	s.dirty++
	c.Out.OK()
}
