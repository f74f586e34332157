package sim

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// Queues: some push unique elements, others wait for them (docs/adr/0010), with time-outs,
// unblocked by somebody, or gone before they are served. Beside the replay the judge
// accounts for every element: none is delivered twice, and none is missing but for those
// that somebody took whose reply was lost.

const dbQueues = 3

// pushed elements look like this, in whatever reply or key.
var element = regexp.MustCompile(`q:\d+\.\d+`)

// enqueue adds an element where somebody may wait.
func (c *client) enqueue() {
	id := "q:" + c.unique()[1:]
	line := pick(c.w.rng, []string{
		"rpush q1 ", "lpush q1 ", "rpush q2 ", "zadd z1 1 ", "zadd z1 -1 ",
		"eval return(redis.call('rpush',KEYS[1],ARGV[1])) 1 q1 ",
	}) + id
	exec := c.w.chance(0.2)
	c.do(&op{queued: id, exec: exec, build: func(ch *kv.Chunk) {
		if exec {
			ch.BeginExec(nil)
			add(ch, dbQueues, "incr n")
		}
		add(ch, dbQueues, line)
		if exec {
			ch.EndExec()
		}
	}})
}

// dequeue takes an element, and waits for one if there is none.
func (c *client) dequeue() {
	w := c.w
	timeout := pick(w.rng, []string{"0.01", "0.1", "0.5", "1", "3"})
	take := true
	var line string
	switch w.rng.IntN(12) {
	case 0, 1, 2:
		line = "blpop q1 q2 " + timeout
	case 3:
		line = "brpop q2 q1 " + timeout
	case 4, 5:
		line, take = "blmove q1 q2 left right "+timeout, false
	case 6:
		line, take = "brpoplpush q2 q1 "+timeout, false
	case 7:
		line = "blmpop " + timeout + " 2 q2 q1 left count 2"
	case 8:
		line = "bzpopmin z1 " + timeout
	case 9:
		line = "bzpopmax z1 " + timeout
	case 10:
		line = "bzmpop " + timeout + " 1 z1 min count 3"
	case 11:
		line = pick(w.rng, []string{"lpop q1 2", "zpopmin z1"})
	}
	o := &op{takes: take, build: func(ch *kv.Chunk) { add(ch, dbQueues, line) }}
	if w.chance(0.15) {
		w.after(w.around(300*time.Millisecond), nil, func() { c.leave(o) })
	}
	c.do(o)
}

// leave is a client that goes while it waits for the answer.
func (c *client) leave(o *op) {
	if o.state != opPending || o.p == nil || o.p.dead || o.p.pausedUntil > c.w.now || !o.p.s.Running() || c.cur != o {
		return
	}
	if o.blocked {
		c.w.hit("client left while it was blocked")
	}
	o.p.s.Leave(o.chunk)
	o.state, o.err, o.end = opUnknown, connectionLost, c.w.now
	c.finish(o)
	o.p.settle()
}

// unblock ends the wait of another client of the same node.
func (c *client) unblock() {
	for _, x := range c.w.clients {
		o := x.cur
		if o == nil || !o.blocked || o.read || o.p != c.on.proc {
			continue
		}
		seq, how := o.chunk.Seq, pick(c.w.rng, []string{kv.UnblockTimeout, kv.UnblockError})
		c.w.hit("client unblocked by another")
		c.do(&op{build: func(ch *kv.Chunk) { ch.AppendUnblock(seq, how) }})
		return
	}
	c.enqueue()
}

// group reads a stream with others, each entry for one of them.
func (c *client) group() {
	w := c.w
	var line string
	switch w.rng.IntN(4) {
	case 0:
		line = "xgroup create s g $ mkstream"
	case 1:
		line = "xadd s * f " + c.unique()
	default:
		line = fmt.Sprintf("xreadgroup group g c%d count 2 block %d streams s >", c.number%3, 1+w.rng.IntN(2000))
	}
	c.do(&op{build: func(ch *kv.Chunk) { add(ch, dbQueues, line) }})
}

// follow reads what comes behind what it read last, and waits for it on its node.
func (c *client) follow() {
	if c.lastID == "" {
		c.lastID = "0-0"
	}
	line := fmt.Sprintf("xread count 3 block %d streams s %s", 1+c.w.rng.IntN(2000), c.lastID)
	c.do(&op{read: true, waits: true, build: func(ch *kv.Chunk) { add(ch, dbQueues, line) }, then: func(o *op) {
		if ids := streamID.FindAllString(string(o.reply), -1); len(ids) > 0 {
			c.lastID = ids[len(ids)-1]
		}
		c.again()
	}})
}

var streamID = regexp.MustCompile(`\d{10,}-\d+`)

// blockRead is an XREAD that found nothing: it is told when to try again, and ends with
// what it saw last.
func (c *client) blockRead(o *op, now int64) {
	w := c.w
	o.index, o.now = o.p.s.Store().Applied(), now
	if o.blocked {
		return
	}
	o.blocked = true
	w.hit("XREAD waits")
	w.after(time.Duration(o.chunk.WaitLimit())*time.Millisecond, o.p, func() {
		if o.state != opPending {
			return
		}
		o.p.s.Store().EndWait(o.chunk)
		o.chunk.Answer((*kv.Reply).NullArray)
		c.answered(o, nil)
	})
}

// ChunkReady implements kv.ReadWaiter.
func (x waiter) ChunkReady(*kv.Chunk) {
	x.c.w.after(x.c.w.between(time.Microsecond, time.Millisecond), x.o.p, func() {
		if x.o.state == opPending {
			x.c.readNow(x.o, x.o.p.s.Now())
		}
	})
}

// ChunkBlocked implements kv.BlockWaiter.
func (x waiter) ChunkBlocked(*kv.Chunk) {
	x.o.blocked = true
	x.c.w.hit("client blocked")
}

// queues accounts for the elements: left is what the queues hold at the end.
func (j *judge) queues(left string) {
	w := j.w
	there := map[string]int{}
	for _, id := range element.FindAllString(left, -1) {
		there[id]++
	}
	taken := map[string]int{}
	maybe := 0 // elements that went with a reply nobody got
	for _, o := range j.ops {
		if !o.takes {
			continue
		}
		switch o.state {
		case opOK:
			for _, id := range element.FindAllString(string(o.reply), -1) {
				if taken[id]++; taken[id] > 1 {
					w.fail("I13", "element %s was popped twice, the second time by client %d", id, o.client)
				}
			}
		case opUnknown, opLost, opPending:
			maybe += 3
		}
	}
	missing := 0
	for _, o := range j.ops {
		if o.queued == "" {
			continue
		}
		n := there[o.queued] + taken[o.queued]
		switch {
		case n > 1:
			w.fail("I13", "element %s is there %d times and was popped %d times", o.queued, there[o.queued], taken[o.queued])
		case n > 0 && o.state == opDefinite:
			w.fail("I12", "element %s is there although client %d was told %q", o.queued, o.client, o.err)
		case n == 0 && (o.state == opOK || o.state == opLost) && !strings.HasPrefix(string(o.reply), "-"):
			missing++
		}
	}
	if missing > maybe {
		w.fail("I10", "%d elements are missing; %d at most went with replies that were lost", missing, maybe)
	}
}
