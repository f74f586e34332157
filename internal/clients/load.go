package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// ops is what the load needs of a client written in Go.
type ops interface {
	push(ctx context.Context, key, id string) error
	// pop waits up to a second; "" if nothing came.
	pop(ctx context.Context, key string) (string, error)
	// subscribe calls heard until ctx ends, over as many connections as it takes.
	subscribe(ctx context.Context, channel string, heard func(string)) error
}

// load runs one loop for each client until the talk ends.
func (t *talk) runLoad(tgt target, clients []ops) {
	var wg sync.WaitGroup
	for loop, o := range clients {
		wg.Go(func() { t.pushes(tgt, loop, o) })
		wg.Go(func() { t.pops(tgt, loop, o) })
		wg.Go(func() {
			if err := o.subscribe(t.ctx, tgt.Prefix+":news", func(id string) { t.say("heard %d %s", loop, id) }); err != nil && t.ctx.Err() == nil {
				t.say("error %d subscriber: %v", loop, err)
			}
		})
	}
	t.say("load")
	wg.Wait()
}

func (t *talk) pushes(tgt target, loop int, o ops) {
	key := fmt.Sprintf("%s:acked:%d", tgt.Prefix, loop)
	for n := 0; t.ctx.Err() == nil; n++ {
		id := strconv.Itoa(n)
		if err := o.push(context.Background(), key, id); err != nil {
			t.say("error %d push: %v", loop, err)
			time.Sleep(20 * time.Millisecond)
			continue
		}
		t.say("acked %d %s", loop, id)
		time.Sleep(2 * time.Millisecond)
	}
}

func (t *talk) pops(tgt target, loop int, o ops) {
	key := fmt.Sprintf("%s:queue:%d", tgt.Prefix, loop)
	for t.ctx.Err() == nil {
		switch id, err := o.pop(context.Background(), key); {
		case err != nil:
			t.say("error %d pop: %v", loop, err)
			time.Sleep(20 * time.Millisecond)
		case id != "":
			t.say("popped %d %s", loop, id)
		}
	}
}
