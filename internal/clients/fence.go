package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// vault is what a lock protects: something outside the cluster, which cannot know who
// holds the lock. It takes a write only if no younger holder's came before.
type vault struct {
	mu      sync.Mutex
	newest  int64
	taken   int
	refused int // writes of holders whose lock had gone without their noticing
}

func (v *vault) write(fence int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if fence < v.newest {
		v.refused++
		return
	}
	v.newest = fence
	v.taken++
}

// fences checks the promise: a number that is asked for after another was answered is greater,
// and no two are the same.
type fences struct {
	mu     sync.Mutex
	newest int64
	seen   map[int64]bool
	wrong  error
}

func (f *fences) floor() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

func (f *fences) answered(floor, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case n <= floor:
		f.wrong = errors.Join(f.wrong, fmt.Errorf("fence %d was given after %d had been answered", n, floor))
	case f.seen[n]:
		f.wrong = errors.Join(f.wrong, fmt.Errorf("fence %d was given twice", n))
	}
	f.seen[n] = true
	f.newest = max(f.newest, n)
}

const (
	fencedLockLives = 150 * time.Millisecond
	fencedHold      = 10 * time.Millisecond
)

// holder takes the lock again and again, and every few times sleeps past its end, as a
// process does that collects garbage.
type holder struct {
	p     *Payer // its nodes, and its session: a question whose answer was lost is the same question again
	lock  string
	token string
	v     *vault
	f     *fences
	held  int
}

func (h *holder) once(ctx context.Context) error {
	floor := h.f.floor()
	h.p.next++
	reply, err := h.p.ask(ctx, "RKV.FENCE", "SET", h.lock, h.token, "NX", "PX", fencedLockLives.Milliseconds())
	if err != nil {
		return err
	}
	list, ok := reply.([]any)
	if !ok || len(list) != 2 {
		return fmt.Errorf("RKV.FENCE answered %v", reply)
	}
	fence, _ := list[0].(int64)
	h.f.answered(floor, fence)
	if list[1] == nil {
		time.Sleep(5 * time.Millisecond) // somebody else has it
		return nil
	}
	h.held++
	if h.held%4 == 0 {
		time.Sleep(2 * fencedLockLives)
	} else {
		time.Sleep(fencedHold)
	}
	h.v.write(fence)
	return unlock.Run(ctx, h.p.nodes[h.p.at], []string{h.lock}, h.token).Err()
}

// unlock deletes the lock if it is still its holder's. A connection that breaks may leave
// it, or have it run twice: it goes by itself.
var unlock = redis.NewScript("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")

// fencedLock: holders through all nodes while leaders end. Each lock comes with a number by
// which the vault tells the holder from those who only believe to be.
func fencedLock(ctx context.Context, r *appRun) (string, error) {
	var addrs []string
	for _, n := range r.c.nodes {
		addrs = append(addrs, n.plain)
	}
	v, f := &vault{}, &fences{seen: map[int64]bool{}}
	holders := make([]*holder, 6)
	var wg sync.WaitGroup
	failed := make(chan error, len(holders))
	for i := range holders {
		p := newPayer(fmt.Sprintf("%s-holder-%d", r.prefix, i), addrs, i%3)
		defer p.close()
		h := &holder{p: p, lock: r.prefix + ":fenced", token: fmt.Sprint(i), v: v, f: f}
		holders[i] = h
		wg.Go(func() {
			for r.goingOn() && ctx.Err() == nil {
				if err := h.once(ctx); err != nil && !unheard(err) {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	wrong := f.wrong
	for err := range failed {
		wrong = errors.Join(wrong, err)
	}
	held, again := 0, 0
	for _, h := range holders {
		held, again = held+h.held, again+h.p.again
	}
	story := fmt.Sprintf("%d numbers, %d locks, %d late writes refused, %d times said again", len(f.seen), held, v.refused, again)
	switch {
	case v.taken == 0 || v.refused == 0:
		wrong = errors.Join(wrong, errors.New("nobody was late: nothing was shown"))
	case again == 0:
		wrong = errors.Join(wrong, errors.New("nobody had to say anything again: nothing was shown"))
	}
	return story, wrong
}
