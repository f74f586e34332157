package kv

// Ctx is one execution of one command. Command functions read Args, use the
// methods below and append exactly one value to Out. They must check everything
// that can fail before the first change: a command that replies an error has
// changed nothing.
type Ctx struct {
	Args [][]byte // Args[0] is the command's name as sent, lower-cased for logged ones
	Out  *Reply

	store *Store
	ks    *keyspace
	db    int
	// now judges expiry and relative times: the stamp for logged commands,
	// max(stamp, node clock) to compute TTLs in reads.
	now    int64
	logged bool
	// needTick is set by a read that met a key due by the node's clock but not by
	// the stamp; the read is repeated after a TICK.
	needTick bool
	// needLog was set by a script that runs as a read and wants to write.
	needLog bool
	// brief is how many steps scripts have left, if they must not take long; tooLong
	// that one needed more.
	brief   int64
	tooLong bool
	// lateMode is what becomes of large values; wantsLate: there is one, and it is to be
	// asked for by ReadLong; lates are those that are still to be written.
	lateMode  lateMode
	wantsLate bool
	lates     []lateValue
	// mayLog: the read is one of a chunk that can still be proposed.
	mayLog bool
	// oom: the entry was proposed while memory was short.
	oom bool
	// script: the command is called by a script, so it must not block.
	script bool
	// inExec: the command is part of a transaction.
	inExec bool
	// missesTo takes the key misses of reads, if they are notified of.
	missesTo *Chunk
	// readsTo takes the keys that scripts read (Chunk.TrackReads).
	readsTo *Chunk
	// mayWait is the unit that waits if the command finds nothing; zero if it must not
	// wait. waits is set once it does.
	mayWait unitID
	waits   *waiter
	// reader is the chunk that waits if XREAD finds nothing; nil if it must not.
	reader *Chunk
	// noting says what lookup notes; hits and misses are what it counted.
	noting       noteKind
	hits, misses int
	noTouch      bool // the client asked for it
	rng          rng
	cmd          *Command
	// user is whose permissions scripts are held to; nil: they may do everything.
	// denied collects refusals on the client's node.
	user   *User
	denied *[]Denial
	// caller is the chunk the command came with, on the client's node only: what its
	// scripts call is noted there.
	caller *Chunk
	// cost is what the command spent beyond its base price (apply slices).
	cost int
	// marked is the key last noted as modified by this unit: put and touched both
	// note it, and hashing it twice would be felt.
	marked   []byte
	markedDB int
}

// Error texts shared by many commands, in Redis's words.
const (
	errWrongType  = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errSyntax     = "ERR syntax error"
	errNotInt     = "ERR value is not an integer or out of range"
	errNotFloat   = "ERR value is not a valid float"
	errNoKey      = "ERR no such key"
	errTooLong    = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errOverflow   = "ERR increment or decrement would overflow"
	errOutOfRange = "ERR value is out of range"
	errOOM        = ErrOOM
)

// ErrOOM refuses commands flagged denyoom while memory is short.
const ErrOOM = "OOM command not allowed when used memory > 'maxmemory'."

// lookup returns the key's value; an expired key is absent. The value's bytes are
// valid until the next change to the keyspace.
func (c *Ctx) lookup(key []byte) (Value, bool) {
	v, ok := c.find(key)
	if c.noting != 0 {
		c.note(key, ok)
	}
	return v, ok
}

func (c *Ctx) find(key []byte) (Value, bool) {
	v, ok := c.ks.get(key)
	if !ok || v.ExpireAt == 0 || v.ExpireAt > c.now {
		if ok && v.hasFieldTTL() && c.fieldsGone(&v) {
			return c.loseFields(key)
		}
		return v, ok
	}
	if c.logged {
		c.ks.delete(key)
		c.touched("expired", key)
	} else if st := &c.store.st; v.ExpireAt > st.Stamp || st.Settings.ActiveExpire == 0 && c.now > st.Stamp {
		c.needTick = true // without active expiry it goes because somebody asks for it
	}
	return Value{}, false
}

// due reports whether the key is kept though its time has come.
func (c *Ctx) due(key []byte) bool {
	v, ok := c.ks.get(key)
	return ok && v.ExpireAt != 0 && v.ExpireAt <= c.now
}

// exists reports whether the key is there.
func (c *Ctx) exists(key []byte) bool { _, ok := c.lookup(key); return ok }

// typed is lookup for a command that works on one type only: when the key holds
// another type it replies WRONGTYPE and returns ok = false.
func (c *Ctx) typed(key []byte, t Type) (v Value, found, ok bool) {
	v, found = c.lookup(key)
	if found && v.Type != t {
		c.Out.Error(errWrongType)
		return Value{}, true, false
	}
	return v, found, true
}

// put stores the value, its expiry included, and marks the key as modified. The
// bytes are copied; they may alias the arena.
func (c *Ctx) put(key []byte, v Value) {
	hash := c.store.hash(key)
	created := c.ks.setHashed(hash, key, v)
	c.modifiedHashed(hash, key)
	if created && c.store.fx.notify != 0 {
		c.event("new", key)
	}
}

// putNew is put for the commands that in Redis delete what the key held and add it
// anew (RENAME, COPY, RESTORE): to listeners the key is new in any case.
func (c *Ctx) putNew(key []byte, v Value) {
	c.ks.set(key, v)
	c.modified(key)
	if c.store.fx.notify != 0 {
		c.event("new", key)
	}
}

// remove deletes the key and reports whether it was there. The caller looked it up
// before, so an expired key is gone already.
func (c *Ctx) remove(key []byte) bool {
	if !c.ks.delete(key) {
		return false
	}
	c.modified(key)
	return true
}

// setExpire changes when the key expires, Unix ms, 0 for never; false if it is
// missing.
func (c *Ctx) setExpire(key []byte, at int64) bool {
	if !c.ks.setExpire(key, at) {
		return false
	}
	c.modified(key)
	return true
}

// touched records one effect: event (Redis's keyspace event) happened to the key.
// Each change of a key calls it once; it feeds WATCH, the change counter and the
// listeners.
func (c *Ctx) touched(event string, key []byte) {
	c.store.dirty++
	c.modified(key)
	if c.store.fx.notify != 0 {
		c.event(event, key)
	}
	if c.store.fx.feeding() && (event == "expired" || event == "evicted") {
		c.feedGone(key)
	}
	c.noteReady(key)
}

// modified notes the key for WATCH, and that it was used.
func (c *Ctx) modified(key []byte) {
	if !c.isMarked(key) {
		c.modifiedHashed(c.store.hash(key), key)
	}
}

// isMarked reports whether the key is the one that was noted last.
func (c *Ctx) isMarked(key []byte) bool {
	return len(key) > 0 && len(key) == len(c.marked) && &key[0] == &c.marked[0] && c.db == c.markedDB
}

// modifiedHashed is modified for who knows the key's hash.
func (c *Ctx) modifiedHashed(hash uint64, key []byte) {
	if c.isMarked(key) {
		return
	}
	c.marked, c.markedDB = key, c.db
	c.store.st.watch.touch(c.db, hash, c.store.st.Version)
	c.used(hash)
	if fx := &c.store.fx; fx.want&(EffectKey|EffectCommand) != 0 {
		if fx.want&EffectKey != 0 {
			fx.add(Effect{Kind: EffectKey, DB: c.db, Key: key})
		}
		if fx.feeding() {
			fx.feed.keys = append(fx.feed.keys, fedKey{c.db, string(key)})
		}
	}
}

// settings are the replicated settings; read only.
func (c *Ctx) settings() *Settings { return &c.store.st.Settings }

// mutableObj returns v with an object that may be changed in place. If it differs
// from v's (a cut is open) it has been stored under the key already.
func (c *Ctx) mutableObj(key []byte, v Value) Value {
	o := c.store.heap.mutable(v.Obj)
	if o != v.Obj {
		v.Obj = o
		c.ks.set(key, v)
	}
	return v
}

// rand draws from [0, n); n must be positive. In logged commands it is the same on
// every node.
func (c *Ctx) rand(n int) int { return int(c.rng.intn(uint64(n))) }

// work notes that the command touched n elements, about 100 ns each, beyond what
// its arguments and its reply show. Apply ends its lock slices by it.
func (c *Ctx) work(n int) { c.cost += n }

// intArg is argument i as an integer; else it replies an error and returns false.
func (c *Ctx) intArg(i int) (int64, bool) {
	n, ok := parseInt(c.Args[i])
	if !ok {
		c.Out.Error(errNotInt)
	}
	return n, ok
}

// wrongArgs replies that the number of arguments is wrong.
func (c *Ctx) wrongArgs() {
	c.Out.Error(WrongArgs(c.cmd.Name))
}

// WrongArgs is Redis's error for a wrong number of arguments to the command.
func WrongArgs(name string) string {
	return "ERR wrong number of arguments for '" + name + "' command"
}

// syntaxError replies Redis's syntax error.
func (c *Ctx) syntaxError() { c.Out.Error(errSyntax) }

// wrongType replies WRONGTYPE.
func (c *Ctx) wrongType() { c.Out.Error(errWrongType) }
