package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long clients may take until they are served again: those of surviving nodes, those
// that have to find the next leader by themselves, and those that can only wait for
// their node to come back. They are for a machine that stands still now and then; the gaps
// themselves are printed.
const (
	surviveLimit = 8 * time.Second
	findLimit    = 16 * time.Second
	returnLimit  = 20 * time.Second
	settled      = 30 // acknowledged writes that prove a loop to be well
)

// phase is one end of a leader and what came of it.
type phase struct {
	name     string
	victim   *process
	from, to time.Time
}

// drill is one client's load while leaders end.
type drill struct {
	c    *cluster
	tgt  target
	talk *talk

	rolling bool // clients are told in time: nothing excuses an error
	phases  []phase
	via     atomic.Pointer[process] // a node that is not about to end

	mu        sync.Mutex
	fed       [][]string // what went into each queue
	published []string
	feedError error
}

// run waits for the load, ends the leader twice, and returns what it looked like to the
// clients and what was wrong about it.
func (d *drill) run(ctx context.Context) (story string, err error) {
	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	lead, err := d.c.leader()
	if err != nil {
		return "", err
	}
	d.via.Store(d.c.others(lead)[0])
	d.fed = make([][]string, d.tgt.loops())
	for loop := range d.tgt.loops() {
		if err := d.well(loop, time.Now(), returnLimit); err != nil {
			return "", fmt.Errorf("before the drill: %w", err)
		}
	}
	var fed sync.WaitGroup
	fed.Go(func() { d.feed(feeding) })
	for _, end := range []struct {
		name   string
		signal syscall.Signal
	}{{"kill", syscall.SIGKILL}, {"hand-over", syscall.SIGTERM}} {
		if err = d.end(end.name, end.signal); err != nil {
			break
		}
	}
	stopFeeding()
	fed.Wait()
	return d.story(), errors.Join(err, d.feedError, d.c.faults())
}

// roll restarts one node after the other, as an upgrade does. Clients that asked for
// maintenance notices go before their node stops: nobody may see an error.
func (d *drill) roll(ctx context.Context) (story string, err error) {
	d.rolling = true
	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	d.via.Store(d.c.nodes[1])
	d.fed = make([][]string, d.tgt.loops())
	var fed sync.WaitGroup
	fed.Go(func() { d.feed(feeding) })
	for _, p := range d.c.nodes {
		d.via.Store(d.c.others(p)[0])
		ph := phase{name: "restart of " + p.String(), victim: p, from: time.Now()}
		err = errors.Join(p.end(syscall.SIGTERM))
		gone := time.Now()
		for loop := range d.tgt.loops() {
			err = errors.Join(err, d.well(loop, gone, surviveLimit))
		}
		err = errors.Join(err, d.c.restart(p))
		ph.to = time.Now()
		d.phases = append(d.phases, ph)
		if err != nil {
			err = fmt.Errorf("%s: %w", ph.name, err)
			break
		}
	}
	stopFeeding()
	fed.Wait()
	return d.story(), errors.Join(err, d.feedError, d.c.faults())
}

// end ends the leader, waits until everybody is well, and brings it back.
func (d *drill) end(name string, signal syscall.Signal) error {
	lead, err := d.c.leader()
	if err != nil {
		return err
	}
	d.via.Store(d.c.others(lead)[0])
	p := phase{name: name, victim: lead, from: time.Now()}
	defer func() {
		p.to = time.Now()
		d.phases = append(d.phases, p)
	}()
	if err := lead.end(signal); err != nil {
		return err
	}
	gone := time.Now()
	for loop := range d.tgt.loops() {
		switch {
		case d.waits(loop, lead):
		case d.tgt.Persona == "plain":
			err = errors.Join(err, d.well(loop, gone, surviveLimit))
		default:
			err = errors.Join(err, d.well(loop, gone, findLimit))
		}
	}
	err = errors.Join(err, d.c.restart(lead))
	back := time.Now()
	for loop := range d.tgt.loops() {
		err = errors.Join(err, d.well(loop, back, returnLimit), d.hears(loop, back))
	}
	if err != nil {
		return fmt.Errorf("%s of %v: %w", name, lead, err)
	}
	return nil
}

// waits: the loop's client knows nobody but the victim.
func (d *drill) waits(loop int, victim *process) bool {
	return d.tgt.Persona == "plain" && d.tgt.Addrs[loop] == victim.plain
}

// well waits until the loop was answered again and again since.
func (d *drill) well(loop int, since time.Time, limit time.Duration) error {
	err := await(limit, func() bool {
		n := 0
		for _, e := range d.talk.of("acked", loop) {
			if e.at.After(since) {
				n++
			}
		}
		return n >= settled
	})
	if err != nil {
		return fmt.Errorf("loop %d is not served: %w; last error: %s", loop, err, d.lastError(loop))
	}
	return nil
}

func (d *drill) lastError(loop int) string {
	if list := d.talk.of("error", loop); len(list) > 0 {
		return list[len(list)-1].text
	}
	return "none"
}

// hears waits until the loop's subscriber hears what is published now.
func (d *drill) hears(loop int, since time.Time) error {
	err := await(returnLimit, func() bool {
		list := d.talk.of("heard", loop)
		return len(list) > 0 && list[len(list)-1].at.After(since)
	})
	if err != nil {
		return fmt.Errorf("loop %d hears nothing: %w", loop, err)
	}
	return nil
}

// feed fills the queues and publishes news through nodes that live.
func (d *drill) feed(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		id := strconv.Itoa(n)
		for loop := range d.tgt.loops() {
			d.note(d.via.Load().admin.RPush(context.Background(), fmt.Sprintf("%s:queue:%d", d.tgt.Prefix, loop), id).Err())
			d.mu.Lock()
			d.fed[loop] = append(d.fed[loop], id)
			d.mu.Unlock()
		}
		d.note(d.via.Load().admin.Publish(context.Background(), d.tgt.Prefix+":news", id).Err())
		d.mu.Lock()
		d.published = append(d.published, id)
		d.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (d *drill) note(err error) {
	if err != nil {
		d.mu.Lock()
		d.feedError = errors.Join(d.feedError, fmt.Errorf("feeding through a surviving node: %w", err))
		d.mu.Unlock()
	}
}

// story tells the longest time without an answer, and the errors, of each phase.
func (d *drill) story() string {
	var parts []string
	for _, p := range d.phases {
		var gap time.Duration
		var list []event
		for loop := range d.tgt.loops() {
			if d.waits(loop, p.victim) && !d.rolling {
				continue
			}
			gap = max(gap, d.gap(loop, p))
			list = append(list, d.errorsIn(loop, p)...)
		}
		part := fmt.Sprintf("%s: gap %d ms, %d errors", p.name, gap.Milliseconds(), len(list))
		if len(list) > 0 {
			part += fmt.Sprintf(" (%.60s)", commonest(list))
		}
		if *errs {
			part += timed(list, p.from)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// timed is every error with its time in the phase.
func timed(list []event, from time.Time) (text string) {
	for _, e := range list {
		text += fmt.Sprintf("\n       %6d ms %s", e.at.Sub(from).Milliseconds(), e.text)
	}
	return text
}

// commonest is the text that most of the errors have.
func commonest(errs []event) (text string) {
	count := map[string]int{}
	for _, e := range errs {
		if count[e.text]++; count[e.text] > count[text] {
			text = e.text
		}
	}
	return text
}

func (d *drill) gap(loop int, p phase) (longest time.Duration) {
	last := p.from
	for _, e := range d.talk.of("acked", loop) {
		if e.at.After(p.from) && e.at.Before(p.to) {
			longest = max(longest, e.at.Sub(last))
			last = e.at
		}
	}
	return longest
}

func (d *drill) errorsIn(loop int, p phase) (list []event) {
	for _, e := range d.talk.of("error", loop) {
		if e.at.After(p.from) && e.at.Before(p.to) {
			list = append(list, e)
		}
	}
	return list
}

// judge compares what the client was told with what is there, once it has ended.
func (d *drill) judge(ctx context.Context) error {
	var all []error
	for loop := range d.tgt.loops() {
		all = append(all, d.judgeErrors(loop), d.judgeWrites(ctx, loop), d.judgeQueue(ctx, loop), d.judgeNews(loop))
	}
	return errors.Join(all...)
}

// excused: errors of the loop's client were to be expected at that moment.
func (d *drill) excused(loop int, at time.Time) bool {
	if d.rolling {
		return false
	}
	for _, p := range d.phases {
		if d.disturbs(loop, p) && at.After(p.from) && at.Before(p.to) {
			return true
		}
	}
	return false
}

// disturbs: the phase broke the loop's connection.
func (d *drill) disturbs(loop int, p phase) bool {
	return d.tgt.Persona != "plain" || d.waits(loop, p.victim)
}

func (d *drill) disturbances(loop int) (n int) {
	for _, p := range d.phases {
		if d.disturbs(loop, p) {
			n++
		}
	}
	return n
}

func (d *drill) judgeErrors(loop int) error {
	for _, e := range d.talk.of("error", loop) {
		if !d.excused(loop, e.at) {
			return fmt.Errorf("loop %d: %s", loop, e.text)
		}
	}
	return nil
}

// judgeWrites: what was acknowledged is there; once, unless the client sent it again.
func (d *drill) judgeWrites(ctx context.Context, loop int) error {
	there, err := d.c.nodes[0].admin.LRange(ctx, fmt.Sprintf("%s:acked:%d", d.tgt.Prefix, loop), 0, -1).Result()
	if err != nil {
		return err
	}
	count := tally(there)
	for _, e := range d.talk.of("acked", loop) {
		switch n := count[e.text]; {
		case n == 0:
			return fmt.Errorf("loop %d: %s was acknowledged and is lost", loop, e.text)
		case n > 1 && d.disturbances(loop) == 0:
			return fmt.Errorf("loop %d: %s is there %d times", loop, e.text, n)
		}
	}
	return nil
}

// judgeQueue: what was popped was popped once; what is neither popped nor left went to
// a client whose connection broke, at most one each time.
func (d *drill) judgeQueue(ctx context.Context, loop int) error {
	left, err := d.c.nodes[0].admin.LRange(ctx, fmt.Sprintf("%s:queue:%d", d.tgt.Prefix, loop), 0, -1).Result()
	if err != nil {
		return err
	}
	var popped []string
	for _, e := range d.talk.of("popped", loop) {
		popped = append(popped, e.text)
	}
	if len(popped) == 0 {
		return fmt.Errorf("loop %d popped nothing", loop)
	}
	count, rest, lost := tally(popped), tally(left), 0
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.fed[loop] {
		switch n := count[id] + rest[id]; {
		case n > 1:
			return fmt.Errorf("loop %d: %s was popped %d times and is there %d times", loop, id, count[id], rest[id])
		case n == 0:
			lost++
		}
	}
	// One reply may be lost with each connection, and one when the load is stopped.
	if lost > d.disturbances(loop)+1 {
		return fmt.Errorf("loop %d: %d elements of the queue are lost", loop, lost)
	}
	return nil
}

// judgeNews: nobody hears a message twice, and who kept its connection hears all of them.
func (d *drill) judgeNews(loop int) error {
	var heard []string
	for _, e := range d.talk.of("heard", loop) {
		heard = append(heard, e.text)
	}
	count := tally(heard)
	d.mu.Lock()
	defer d.mu.Unlock()
	missed := 0
	for i, id := range d.published {
		switch n := count[id]; {
		case n > 1:
			return fmt.Errorf("loop %d heard %s %d times", loop, id, n)
		case n == 0 && i < len(d.published)-20: // the last ones may come after the end
			missed++
		}
	}
	if missed > 0 && d.disturbances(loop) == 0 {
		return fmt.Errorf("loop %d kept its connection and missed %d messages", loop, missed)
	}
	return nil
}

func tally(list []string) map[string]int {
	n := make(map[string]int, len(list))
	for _, x := range list {
		n[x]++
	}
	return n
}
