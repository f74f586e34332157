package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

// redsyncLocks: eight holders on three nodes want one lock, thousands of times, while
// leaders end. Two of them never have it at a time, as long as a holder is done before
// its lock expires.
func redsyncLocks(ctx context.Context, r *appRun) (string, error) {
	const expiry = 2 * time.Second
	var inside, taken, refused, overlaps atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		rdb := redis.NewClient(&redis.Options{Addr: r.c.nodes[i%3].plain})
		defer rdb.Close()
		rs := redsync.New(redsyncgoredis.NewPool(rdb))
		wg.Go(func() {
			for r.goingOn() && ctx.Err() == nil {
				m := rs.NewMutex(r.prefix+":lock", redsync.WithExpiry(expiry), redsync.WithTries(200), redsync.WithRetryDelay(4*time.Millisecond))
				if m.LockContext(ctx) != nil {
					refused.Add(1) // its node is gone, or another holder's lock was left to expire
					time.Sleep(20 * time.Millisecond)
					continue
				}
				if inside.Add(1) > 1 {
					overlaps.Add(1)
				}
				taken.Add(1)
				in := time.Now().Before(m.Until())
				inside.Add(-1)
				if !in {
					refused.Add(1)
				}
				_, _ = m.UnlockContext(ctx)
			}
		})
	}
	wg.Wait()
	story := fmt.Sprintf("%d times taken, %d overlaps, %d refusals", taken.Load(), overlaps.Load(), refused.Load())
	if overlaps.Load() > 0 {
		return story, errors.New("two held the lock")
	}
	if taken.Load() < 200 { // a loaded machine takes it a thousand times
		return story, errors.New("the lock was hardly ever taken")
	}
	return story, nil
}

// limiter allows ARGV[1] calls for each KEYS[1], which is a window of time.
var limiter = redis.NewScript(`
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end
return n <= tonumber(ARGV[1]) and 1 or 0`)

// sessions: web servers on all nodes. Each session's values are read back as they were
// written, on whatever node; the limiter never lets more through than its limit.
func sessions(ctx context.Context, r *appRun) (string, error) {
	const limit, window = 50, 250 * time.Millisecond
	var requests, failed, allowed atomic.Int64
	var mu sync.Mutex
	let := map[string]int{}
	var wrong error
	var wg sync.WaitGroup
	for worker := range 6 {
		var rdbs []*redis.Client
		for _, p := range r.c.nodes {
			rdb := redis.NewClient(&redis.Options{Addr: p.plain, MaxRetries: -1})
			defer rdb.Close()
			rdbs = append(rdbs, rdb)
		}
		wg.Go(func() {
			key, last := fmt.Sprintf("%s:session:%d", r.prefix, worker), ""
			for n := 0; r.goingOn() && ctx.Err() == nil; n++ {
				time.Sleep(time.Millisecond)
				rdb := rdbs[n%3] // no stickiness
				requests.Add(1)
				slot := fmt.Sprintf("%s:limit:%d", r.prefix, time.Now().UnixNano()/int64(window))
				ok, err := limiter.Run(ctx, rdb, []string{slot}, limit).Int()
				switch {
				case err != nil:
					failed.Add(1)
					continue
				case ok == 1:
					allowed.Add(1)
					mu.Lock()
					let[slot]++
					mu.Unlock()
				}
				next := strconv.Itoa(n)
				err = rdb.Set(ctx, key, next, time.Minute).Err()
				if err != nil {
					failed.Add(1)
					last = "" // nobody knows
					continue
				}
				last = next
				got, err := rdbs[(n+1)%3].Get(ctx, key).Result()
				if err == nil && last != "" && got != last {
					mu.Lock()
					wrong = fmt.Errorf("session %d: wrote %s, read %s on another node", worker, last, got)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	story := fmt.Sprintf("%d requests, %d let through, %d failed with their node", requests.Load(), allowed.Load(), failed.Load())
	for slot, n := range let {
		if n > limit {
			wrong = errors.Join(wrong, fmt.Errorf("%s let %d through", slot, n))
		}
	}
	if allowed.Load() == 0 || failed.Load() > requests.Load()/2 {
		wrong = errors.Join(wrong, errors.New("hardly anything worked"))
	}
	return story, wrong
}
