package main

import (
	"context"
	"fmt"
)

// bullmq runs BullMQ's producer and worker in Node.js. On the plain persona they know a
// node that lives; on the Sentinel persona ioredis follows the leader, and sends again
// what was under way: a job may then be run by two workers, as BullMQ's documents say.
func bullmq(persona string) func(ctx context.Context, r *appRun) (string, error) {
	return func(ctx context.Context, r *appRun) (string, error) {
		if err := r.h.needPrograms(); err != nil {
			return "", err
		}
		t := r.h.target(r.c, "bullmq", persona, 3)
		mayRepeat := 8 * appFaults // workers' jobs at a time
		if persona == "plain" {
			t.Addrs, mayRepeat = []string{r.survivor.plain}, 0
		}
		producing, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			<-r.calm
			stop()
		}()
		say := newTalk(producing)
		ended := make(chan error, 1)
		go func() { ended <- program(node, "bullmq.mjs")(t, say) }()
		select {
		case err := <-ended:
			b := newBook()
			for _, e := range say.of("acked", 0) {
				b.hand(e.text)
			}
			for _, e := range say.of("popped", 0) {
				b.did(e.text)
			}
			if len(say.failed) > 0 {
				return "", fmt.Errorf("%v", say.failed)
			}
			if errs := say.of("error", 0); persona == "plain" && len(errs) > 0 {
				return "", fmt.Errorf("through a surviving node: %s", errs[0].text)
			}
			if err != nil {
				return "", err
			}
			done, cancel := context.WithCancel(ctx)
			cancel() // it said all it has to say
			return b.settle(done, mayRepeat)
		case <-ctx.Done():
			return "", fmt.Errorf("BullMQ does not end: %d added, %d processed", len(say.of("acked", 0)), len(say.of("popped", 0)))
		}
	}
}
