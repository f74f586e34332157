package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// workload is one of the seven kinds of clients. A value serves one round.
type workload interface {
	// name is also the prefix of its keys.
	name() string
	// workers is how many sessions run at the same time.
	workers() int
	// work runs one session until the round is over.
	work(s *session)
	// final reads the end state through one node, after everything was healed.
	final(s *session)
	// judge returns what is wrong, and how many parts of the history nobody could decide.
	judge(ops []Op) (violations []string, undecided int)
}

func allWorkloads() []workload {
	return []workload{
		&register{}, &list{}, &bank{}, &counter{}, &queue{}, &ttl{}, &lock{},
	}
}

// newSession returns a client of its own; half of all speak RESP3.
func (r *round) newSession(h *History, worker int, pinned *Node) *session {
	return &session{r: r, h: h, worker: worker, proto: 2 + worker%2, pinned: pinned, rng: r.newRand()}
}

// running is a workload in a round.
type running struct {
	workload
	h History
}

func (r *round) startWork(w *running) {
	for i := range w.workers() {
		r.clients.Add(1)
		s := r.newSession(&w.h, i, nil)
		go func() {
			defer r.clients.Done()
			defer s.close()
			w.work(s)
		}()
	}
}

// finalReads lets the workload read through each node; nothing disturbs any more, so
// whatever is not answered is a violation of its own.
func (r *round) finalReads(w *running) (violations []string) {
	before := len(w.h.all())
	for i, n := range r.c.members() {
		s := r.newSession(&w.h, 1000+i, n)
		w.final(s)
		s.close()
	}
	for _, op := range w.h.all()[before:] {
		if op.Outcome != OK {
			violations = append(violations, fmt.Sprintf("a healed n%d does not serve: %s %s: %s", op.Node, op.Kind, op.Key, op.Err))
		}
	}
	return violations
}

// rotating hands out keys: each is used for a while and then left behind, so that what
// has to be judged together stays small.
type rotating struct {
	prefix string
	width  int // keys in use at a time
	life   int // uses of a key

	mu   sync.Mutex
	uses []int
	gen  []int
}

func (k *rotating) next(slot int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.uses == nil {
		k.uses, k.gen = make([]int, k.width), make([]int, k.width)
	}
	if k.uses[slot]++; k.uses[slot] > k.life {
		k.uses[slot] = 1
		k.gen[slot]++
	}
	return fmt.Sprintf("%s:%d:%d", k.prefix, slot, k.gen[slot])
}

// retire ends a key's use early: each unknown outcome makes its history harder to judge.
func (k *rotating) retire(slot, uses int) {
	k.mu.Lock()
	k.uses[slot] += uses
	k.mu.Unlock()
}

// all returns every key there was.
func (k *rotating) all() (keys []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for slot := range k.uses {
		for g := range k.gen[slot] + 1 {
			keys = append(keys, fmt.Sprintf("%s:%d:%d", k.prefix, slot, g))
		}
	}
	return keys
}

// eval runs a script, by its digest first as libraries do.
func eval(ctx context.Context, c *redis.Conn, script *redis.Script, keys []string, args ...any) (any, error) {
	return script.Run(ctx, c, keys, args...).Result()
}

// latest is a point of a history that may only grow with time.
type latest struct {
	start, end time.Duration
	value      int64
	op         Op
}

// backwards finds pairs in which an operation that began after another one's end got a
// smaller value, or the same one where strict. Points of reads are not strict
// among themselves.
func backwards(points []latest, strict func(earlier, later Op) bool) (violations []string) {
	byStart := append([]latest(nil), points...)
	byEnd := append([]latest(nil), points...)
	sortBy(byStart, func(p latest) time.Duration { return p.start })
	sortBy(byEnd, func(p latest) time.Duration { return p.end })
	var top *latest
	i := 0
	for _, p := range byStart {
		for ; i < len(byEnd) && byEnd[i].end < p.start; i++ {
			if top == nil || byEnd[i].value > top.value || byEnd[i].value == top.value && strict(byEnd[i].op, p.op) {
				top = &byEnd[i]
			}
		}
		if top != nil && (p.value < top.value || p.value == top.value && strict(top.op, p.op)) {
			violations = append(violations, fmt.Sprintf("%s got %d at n%d from %v to %v, though %s had got %d at n%d by %v",
				p.op.Kind, p.value, p.op.Node, p.start, p.end, top.op.Kind, top.value, top.op.Node, top.end))
		}
	}
	return violations
}
