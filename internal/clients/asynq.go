package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

// asynqOnSurvivor: workers and producers know a node that lives. Nothing of what happens
// to the others may show: each task runs exactly once.
func asynqOnSurvivor(ctx context.Context, r *appRun) (string, error) {
	return asynqTasks(ctx, r, asynq.RedisClientOpt{Addr: r.survivor.plain}, 0)
}

// asynqOnSentinels: they follow the leader. asynq promises "at least once": a worker whose
// connection breaks does not know whether it took a task, or whether its end was noted.
func asynqOnSentinels(ctx context.Context, r *appRun) (string, error) {
	opt := asynq.RedisFailoverClientOpt{MasterName: masterName}
	for _, p := range r.c.nodes {
		opt.SentinelAddrs = append(opt.SentinelAddrs, p.sentinel)
	}
	return asynqTasks(ctx, r, opt, asynqWorkers*appFaults)
}

const asynqWorkers = 8

// book counts what was handed in and what was done, by number.
type book struct {
	mu     sync.Mutex
	handed map[string]bool
	done   map[string]int
}

func newBook() *book { return &book{handed: map[string]bool{}, done: map[string]int{}} }

func (b *book) hand(id string) { b.mu.Lock(); b.handed[id] = true; b.mu.Unlock() }
func (b *book) did(id string)  { b.mu.Lock(); b.done[id]++; b.mu.Unlock() }

// count tells how many were handed in, how many of them were not done (yet), and how
// many were done again.
func (b *book) count() (handed, missing, again int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.handed {
		if b.done[id] == 0 {
			missing++
		}
	}
	for _, n := range b.done {
		again += n - 1
	}
	return len(b.handed), missing, again
}

// settle waits until everything was done, and judges.
func (b *book) settle(ctx context.Context, mayRepeat int) (string, error) {
	for {
		handed, missing, again := b.count()
		story := fmt.Sprintf("%d jobs, %d lost, %d run again", handed, missing, again)
		switch {
		case again > mayRepeat:
			return story, fmt.Errorf("more than %d were run again", mayRepeat)
		case handed == 0:
			return story, errors.New("nothing was handed in")
		case missing == 0:
			return story, nil
		}
		select {
		case <-ctx.Done():
			return story, errors.New("jobs are lost")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func asynqTasks(ctx context.Context, r *appRun, opt asynq.RedisConnOpt, mayRepeat int) (string, error) {
	b := newBook()
	queue := r.prefix[1:len(r.prefix)-1] + "q"
	server := asynq.NewServer(opt, asynq.Config{Concurrency: asynqWorkers, Queues: map[string]int{queue: 1},
		LogLevel: asynq.FatalLevel, Logger: silent{}, TaskCheckInterval: 200 * time.Millisecond,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 200 * time.Millisecond }})
	if err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		b.did(string(t.Payload()))
		time.Sleep(time.Millisecond)
		return nil
	})); err != nil {
		return "", err
	}
	defer server.Shutdown()
	client := asynq.NewClient(opt)
	defer client.Close()
	var next atomic.Int64
	var refused atomic.Pointer[error]
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for r.goingOn() && next.Load() < 20000 {
				id := strconv.FormatInt(next.Add(1), 10)
				for err := errors.New("not yet"); err != nil; {
					_, err = client.Enqueue(asynq.NewTask("job", []byte(id)), asynq.TaskID(r.prefix+id), asynq.Queue(queue), asynq.Retention(time.Hour))
					if errors.Is(err, asynq.ErrTaskIDConflict) { // an earlier try had arrived
						err = nil
					}
					if err != nil {
						refused.Store(&err)
						time.Sleep(20 * time.Millisecond)
					}
				}
				b.hand(id)
				time.Sleep(time.Millisecond)
			}
		})
	}
	producers.Wait()
	if err := refused.Load(); err != nil && mayRepeat == 0 {
		return "", fmt.Errorf("enqueueing through a surviving node: %w", *err)
	}
	return b.settle(ctx, mayRepeat)
}

type silent struct{}

func (silent) Debug(...any) {}
func (silent) Info(...any)  {}
func (silent) Warn(...any)  {}
func (silent) Error(...any) {}
func (silent) Fatal(...any) {}
