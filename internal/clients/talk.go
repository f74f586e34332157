package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// target is where a client is sent.
type target struct {
	Persona string   `json:"persona"` // plain, cluster or sentinel
	Proto   int      `json:"proto"`
	Addrs   []string `json:"addrs"` // that persona's listeners, by node
	Master  string   `json:"master"`
	Prefix  string   `json:"prefix"` // of every key of the run
}

// loops is how many loops of load the client has: one for each node on the plain persona,
// where a client knows one address, otherwise one that has to find its way.
func (t target) loops() int {
	if t.Persona == "plain" {
		return len(t.Addrs)
	}
	return 1
}

// talk is what a client says. Lines are words, the last one may be a text:
//
//	ok CHECK             a check passed
//	fail CHECK TEXT      it did not
//	lacks CHECK TEXT     the client cannot do this
//	load                 the load begins
//	acked LOOP ID        an RPUSH of ID to PREFIX:acked:LOOP was answered
//	error LOOP TEXT      one was not
//	popped LOOP ID       BLPOP of PREFIX:queue:LOOP brought ID
//	heard LOOP ID        a subscriber of PREFIX:news heard ID
//	note TEXT            something worth to be shown
type talk struct {
	mu     sync.Mutex
	events []event
	checks int
	failed []string
	lacks  []string
	notes  []string
	load   chan struct{}
	ctx    context.Context // ends when the load is to stop
}

type event struct {
	at   time.Time
	kind string
	loop int
	text string
}

func newTalk(ctx context.Context) *talk {
	return &talk{load: make(chan struct{}), ctx: ctx}
}

// say takes one line.
func (t *talk) say(format string, args ...any) {
	word, rest, _ := strings.Cut(fmt.Sprintf(format, args...), " ")
	t.mu.Lock()
	defer t.mu.Unlock()
	switch word {
	case "ok":
		t.checks++
	case "fail":
		t.failed = append(t.failed, rest)
	case "lacks":
		t.lacks = append(t.lacks, rest)
	case "note":
		t.notes = append(t.notes, rest)
	case "load":
		close(t.load)
	case "acked", "error", "popped", "heard":
		var loop int
		number, text, _ := strings.Cut(rest, " ")
		_, _ = fmt.Sscan(number, &loop)
		t.events = append(t.events, event{time.Now(), word, loop, text})
	default:
		t.failed = append(t.failed, "said "+word+" "+rest)
	}
}

// check runs one check of a client written in Go.
func (t *talk) check(name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		t.say("fail %s %v", name, err)
		return
	}
	t.say("ok %s", name)
}

// of are the events of a kind so far.
func (t *talk) of(kind string, loop int) (list []event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.events {
		if e.kind == kind && e.loop == loop {
			list = append(list, e)
		}
	}
	return list
}
