package sim

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// client is one connection's worth of behaviour: it does one thing after another
// through some node, and moves to another when that is gone or gives an error.
type client struct {
	w      *world
	number int
	on     *machine
	think  time.Duration
	kinds  []func(*client)
	cur    *op
	ops    int
	stop   bool
	staleP *proc // READONLY: applied index seen last, on which process
	staleI uint64
	lastID string // of a stream's entry, read last
}

// op is one chunk a client sent, with everything needed to judge its reply.
type op struct {
	client     int
	build      func(c *kv.Chunk)
	read       bool
	stale      bool // READONLY
	chunk      *kv.Chunk
	p          *proc
	start, end time.Duration
	state      opState
	err        string
	reply      []byte
	index      uint64 // applied at, or read at
	now        int64  // a read's clock
	then       func(*op)

	// What the op means to the account books (witness.go).
	count, cas int
	push       string
	reg        string // register: key
	set        string // written to it; "": read
	applied    int    // times met in the log
	exec       bool   // a transaction
	term       uint64 // of its node at the start
	queued     string // element added to a queue
	takes      bool   // takes elements off queues
	waits      bool   // an XREAD that may wait
	blocked    bool   // it waits, or has waited
	random     bool   // the reply is each node's own
}

type opState uint8

const (
	opPending opState = iota
	opOK
	opDefinite // refused: has no effect, ever
	opUnknown  // may have had its effect, once
	opLost     // it had its effect, once
)

func (w *world) addClient() *client {
	c := &client{w: w, number: len(w.clients), think: w.between(w.opt.think/4, 2*w.opt.think)}
	all := []func(*client){
		(*client).mess, (*client).mess, (*client).count, (*client).push, (*client).register, (*client).register, (*client).readLinear, (*client).readStale,
		(*client).pipeline, (*client).transaction, (*client).compareAndSet, (*client).hostile, (*client).volatile,
		(*client).anything, (*client).anything, (*client).dumpRestore, (*client).script, (*client).enqueue, (*client).dequeue, (*client).dequeue,
		(*client).group, (*client).follow, (*client).unblock,
	}
	// Swarm: each client does a few of the things only.
	for len(c.kinds) < 3 {
		c.kinds = append(c.kinds, pick(w.rng, all))
	}
	w.clients = append(w.clients, c)
	w.after(w.around(c.think), nil, c.next)
	return c
}

// next does the next thing.
func (c *client) next() {
	if c.stop || c.cur != nil {
		return
	}
	w := c.w
	if w.hush {
		c.again()
		return
	}
	if c.on == nil || c.on.proc == nil || !c.on.proc.s.Running() || w.chance(0.02) {
		c.on = pick(w.rng, w.machines)
		if c.on.proc == nil || !c.on.proc.s.Running() {
			c.on = nil
			w.after(w.around(30*time.Millisecond), nil, c.next)
			return
		}
	}
	pick(w.rng, c.kinds)(c)
}

func (c *client) again() {
	w := c.w
	d := w.around(c.think)
	if w.opt.sleep > 0 && !w.healing && w.chance(0.1) {
		d += w.around(w.opt.sleep)
	}
	w.after(d, nil, c.next)
}

// do sends a chunk.
func (c *client) do(o *op) {
	p := c.on.proc
	if p == nil || p.dead || !p.s.Running() || p.s.Saturated() {
		c.cur = nil
		c.again()
		return
	}
	o.client, o.p, o.start, o.chunk = c.number, p, c.w.now, &kv.Chunk{Waiter: waiter{c, o}}
	o.build(o.chunk)
	if o.waits {
		o.chunk.AllowWait()
	}
	o.term = p.s.Core().Term()
	c.cur = o
	c.ops++
	c.w.judge.ops = append(c.w.judge.ops, o)
	if !o.read {
		p.s.Propose(o.chunk)
	} else if o.stale {
		c.w.after(10*time.Microsecond, p, func() { c.readNow(o, p.s.Now()) })
	} else if !c.readByLease(o) {
		c.barrier(o)
	}
	p.settle()
}

func (c *client) barrier(o *op) {
	o.p.s.ReadBarrier(func(err error) {
		if err != nil {
			c.answered(o, err)
			return
		}
		c.w.after(c.w.between(time.Microsecond, 50*time.Microsecond), o.p, func() { c.readNow(o, o.p.s.Now()) })
	})
}

func (c *client) readNow(o *op, now int64) {
	if o.state != opPending {
		return
	}
	store := o.p.s.Store()
	if store.Read(o.chunk, now) {
		c.w.hit("read waited for a tick")
		o.p.s.Tick(now, func(err error) {
			if err != nil {
				c.answered(o, err)
				return
			}
			c.w.after(time.Microsecond, o.p, func() { c.readNow(o, 0) })
		})
		return
	}
	if o.chunk.Waits() {
		c.blockRead(o, now)
		return
	}
	o.index, o.now = store.Applied(), now
	if o.stale {
		c.w.checked(15)
		if c.staleP == o.p && o.index < c.staleI {
			c.w.fail("I15", "client %d read at %d, then at %d on node %d", c.number, c.staleI, o.index, o.p.m.id)
		}
		c.staleP, c.staleI = o.p, o.index
	}
	c.answered(o, nil)
}

// waiter implements kv.Waiter.
type waiter struct {
	c *client
	o *op
}

func (x waiter) ChunkDone(ch *kv.Chunk) {
	if ch.Err == nil {
		x.o.index = ch.Index
	}
	x.c.answered(x.o, ch.Err)
}

const connectionLost = "connection lost"

// answered is the end of an op.
func (c *client) answered(o *op, err error) {
	if o.state != opPending {
		if o.err != connectionLost {
			c.w.fail("reply", "client %d was answered twice", o.client)
		}
		return
	}
	o.end = c.w.now
	if err == nil {
		o.state = opOK
		o.reply = bytes.Clone(o.chunk.Reply.Bytes())
		if o.p.s.Running() && o.p.s.Core().Term() != o.term {
			if o.exec {
				c.w.hit("MULTI answered across a leader change")
			}
			if o.blocked && !o.read {
				c.w.hit("client blocked across a leader change")
			}
			if o.read {
				c.w.hit("read answered across a leader change")
			}
		}
	} else {
		o.err = err.Error()
		switch {
		case strings.HasPrefix(o.err, "TIMEOUT applied"):
			o.state = opLost
			c.w.hit("reply lost to a snapshot")
		case strings.HasPrefix(o.err, "TIMEOUT"):
			o.state = opUnknown
			c.w.hit("outcome unknown")
		default:
			o.state = opDefinite
			c.w.hit("definite error")
		}
	}
	c.w.note(6, uint64(o.client), uint64(o.state), o.index)
	c.finish(o)
}

// lost is the end of a connection with its process.
func (c *client) lost(p *proc) {
	if o := c.cur; o != nil && o.p == p && o.state == opPending {
		o.state, o.err, o.end = opUnknown, connectionLost, c.w.now
		if o.read {
			o.state = opDefinite
		}
		c.finish(o)
	}
}

func (c *client) finish(o *op) {
	c.cur = nil
	if o.state != opOK {
		c.on = nil
	}
	// The next thing happens later: this may be inside the node.
	c.w.after(0, nil, func() {
		if o.then != nil && o.state == opOK && !c.stop && c.on != nil && c.on.proc == o.p {
			o.then(o)
			return
		}
		c.again()
	})
}

var space = []byte(" ")

// add appends commands given as text, writes and reads alike, in database db.
func add(ch *kv.Chunk, db int, line string, values ...[]byte) {
	args := make([][]byte, 0, 5)
	for text := []byte(line); len(text) > 0; { // the arguments are pieces of it
		var word []byte
		if word, text, _ = bytes.Cut(text, space); string(word) == "?" {
			word, values = values[0], values[1:]
		}
		args = append(args, word)
	}
	appendCommand(ch, db, command(args), args)
}

const (
	dbMess = iota
	dbBooks
	dbRegisters
)

func (c *client) unique() string { return fmt.Sprintf("c%d.%d", c.number, c.ops) }

func (c *client) value() []byte {
	n := c.w.rng.IntN(20)
	if c.w.chance(0.1) {
		n = c.w.rng.IntN(c.w.opt.bigValue)
	}
	return append([]byte(c.unique()), bytes.Repeat([]byte{'x'}, n)...)
}

// mess does any command on few keys of all types: what counts is that all nodes and
// the replay agree.
func (c *client) mess() {
	w := c.w
	k := func() string { return fmt.Sprintf("k%d", w.rng.IntN(8)) }
	lines := []string{
		"set ? ?", "append ? ?", "setrange ? 5 ?", "getset ? ?",
	}
	k1, k2, v, n := k(), k(), c.value(), w.rng.IntN(100)
	var line string
	var vals [][]byte
	switch w.rng.IntN(14) {
	case 0, 1:
		line, vals = pick(w.rng, lines), [][]byte{[]byte(k1), v}
	case 2:
		line = "incrby n" + k1 + fmt.Sprintf(" %d", n)
	case 3:
		line, vals = "rpush l"+k1+" ? a b", [][]byte{v}
	case 4:
		line = "lpop l" + k1
	case 5:
		line, vals = fmt.Sprintf("sadd s%s m%d ?", k1, n), [][]byte{v}
	case 6:
		line = "spop s" + k1
	case 7:
		line, vals = fmt.Sprintf("hset h%s f%d ?", k1, n%10), [][]byte{v}
	case 8:
		line = fmt.Sprintf("zadd z%s %d m%d", k1, n, n%7)
	case 9:
		line = "del " + k1 + " l" + k2 + " s" + k2
	case 10:
		line = "rename " + k1 + " " + k2
	case 11:
		line = "lrange l" + k1 + " 0 -1"
	case 12:
		line = "zrange z" + k1 + " 0 -1"
	case 13:
		if w.chance(0.05) {
			line = "flushdb"
		} else {
			line = "strlen " + k1
		}
	}
	read := kv.Lookup([]byte(strings.Fields(line)[0])).Flags&kv.FlagWrite == 0
	c.do(&op{read: read, build: func(ch *kv.Chunk) { add(ch, dbMess, line, vals...) }})
}

func (c *client) count() {
	c.do(&op{count: 1, build: func(ch *kv.Chunk) { add(ch, dbBooks, "incr n") }})
}

func (c *client) push() {
	id := c.unique()
	c.do(&op{push: id, build: func(ch *kv.Chunk) { add(ch, dbBooks, "rpush l "+id) }})
}

func (c *client) register() {
	key := fmt.Sprintf("r%d", c.w.rng.IntN(5))
	if c.w.chance(0.5) {
		c.do(&op{reg: key, read: true, build: func(ch *kv.Chunk) { add(ch, dbRegisters, "get "+key) }})
		return
	}
	v := c.unique()
	c.do(&op{reg: key, set: v, build: func(ch *kv.Chunk) { add(ch, dbRegisters, "set "+key+" "+v) }})
}

func (c *client) readLinear() {
	c.do(&op{read: true, build: func(ch *kv.Chunk) {
		add(ch, dbBooks, "get n")
		add(ch, dbBooks, "llen l")
		add(ch, dbMess, "get k1")
		add(ch, dbMess, "hgetall hk1")
	}})
}

func (c *client) readStale() {
	c.do(&op{read: true, stale: true, build: func(ch *kv.Chunk) {
		add(ch, dbBooks, "get n")
		add(ch, dbRegisters, "get r0")
		add(ch, dbMess, "smembers sk2")
	}})
}

// pipeline is one chunk of mixed reads and writes.
func (c *client) pipeline() {
	n := 1 + c.w.rng.IntN(8)
	v, id := c.value(), c.unique()
	c.do(&op{count: n, push: id, build: func(ch *kv.Chunk) {
		for i := range n {
			add(ch, dbBooks, "incr n")
			add(ch, dbBooks, "get n")
			add(ch, dbMess, fmt.Sprintf("set k%d ?", i%8), v)
		}
		add(ch, dbBooks, "rpush l "+id)
		add(ch, dbMess, "get k1")
	}})
}

func (c *client) transaction() {
	id := c.unique()
	c.do(&op{exec: true, count: 2, push: id, build: func(ch *kv.Chunk) {
		ch.BeginExec(nil)
		add(ch, dbBooks, "incr n")
		add(ch, dbBooks, "rpush l "+id)
		add(ch, dbBooks, "incr n")
		add(ch, dbBooks, "get n")
		ch.EndExec()
	}})
}

// compareAndSet watches, reads, and adds one in a transaction: no increment may get
// lost.
func (c *client) compareAndSet() {
	p := c.on.proc
	watch := p.s.Store().Watch(dbBooks, []byte("w"))
	c.do(&op{read: true, build: func(ch *kv.Chunk) { add(ch, dbBooks, "get w") }, then: func(o *op) {
		n := 0
		if i := bytes.IndexByte(o.reply, '\n'); o.reply[0] == '$' && i > 0 {
			fmt.Sscan(string(o.reply[i+1:]), &n)
		}
		c.do(&op{cas: 1, build: func(ch *kv.Chunk) {
			ch.BeginExec([]kv.Watch{watch})
			add(ch, dbBooks, fmt.Sprintf("set w %d", n+1))
			ch.EndExec()
		}})
	}})
}

// hostile proposes what would grow without bound, or is as large as may be.
func (c *client) hostile() {
	w := c.w
	big := bytes.Repeat([]byte{'y'}, w.opt.maxEntry-w.rng.IntN(3000))
	line, vals := "", [][]byte{big}
	switch w.rng.IntN(5) {
	case 0:
		line = "set big ?"
	case 1:
		line, vals = "setrange big 8388608 ?", [][]byte{[]byte("z")}
	case 2:
		line, vals = "setrange big 999999999999 ?", [][]byte{[]byte("z")}
	case 3:
		line = "append big2 ?"
		if w.chance(0.5) {
			line, vals = "del big2 big", nil
		}
	case 4:
		line, vals = "incrby big 9223372036854775807", nil
	}
	if strings.HasPrefix(line, "setrange big 838") && !w.chance(0.001) {
		line, vals = "del big big2", nil
	}
	c.do(&op{build: func(ch *kv.Chunk) { add(ch, dbMess, line, vals...) }})
}

// volatile uses keys that expire.
func (c *client) volatile() {
	w := c.w
	k := fmt.Sprintf("e%d", w.rng.IntN(4))
	switch w.rng.IntN(3) {
	case 0:
		line, v := fmt.Sprintf("set %s ? px %d", k, 1+w.rng.IntN(w.opt.ttl)), c.value()
		c.do(&op{build: func(ch *kv.Chunk) { add(ch, dbMess, line, v) }})
	case 1:
		c.do(&op{read: true, build: func(ch *kv.Chunk) { add(ch, dbMess, "get "+k) }})
	case 2:
		line := fmt.Sprintf("pexpire %s %d", k, 1+w.rng.IntN(w.opt.ttl))
		c.do(&op{build: func(ch *kv.Chunk) { add(ch, dbMess, line) }})
	}
}

func (w *world) pendingReads(p *proc) bool {
	for _, c := range w.clients {
		if c.cur != nil && c.cur.p == p && c.cur.read {
			return true
		}
	}
	return false
}
