package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Payer makes each payment exactly once, whatever happens to its connections: it is the
// example of docs/clients.md. A payment is a number of the payer's session; whoever does
// not hear what came of it says it again, to the next node, under the same number, and
// has the first answer.
type Payer struct {
	id    string // of the session, unique for ever; a UUID in earnest
	next  int
	nodes []*redis.Client
	at    int // the node in use
	again int // how often something was said again
	lock  sync.Mutex
}

// Pay adds to an account and returns the balance this very payment led to.
func (p *Payer) Pay(ctx context.Context, account string, amount int) (balance int, err error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.next++
	v, err := p.ask(ctx, "INCRBY", account, amount)
	n, _ := v.(int64)
	return int(n), err
}

// ask says a command under the present number until somebody heard it.
func (p *Payer) ask(ctx context.Context, command ...any) (reply any, err error) {
	for {
		reply, err = p.nodes[p.at].Do(ctx, append([]any{"RKV.ONCE", p.id, p.next}, command...)...).Result()
		if !unheard(err) || ctx.Err() != nil {
			return reply, err
		}
		p.at, p.again = (p.at+1)%len(p.nodes), p.again+1
		time.Sleep(10 * time.Millisecond)
	}
}

// Fate asks what became of a payment that was given up: applied, or never, for good.
func (p *Payer) Fate(ctx context.Context, number int) (string, error) {
	for {
		v, err := p.nodes[p.at].Do(ctx, "RAFT", "OUTCOME", p.id, number).Slice()
		if !unheard(err) || ctx.Err() != nil {
			return fmt.Sprint(v...), err
		}
		p.at = (p.at + 1) % len(p.nodes)
		time.Sleep(10 * time.Millisecond)
	}
}

// unheard: the command may or may not have taken effect, or certainly did not because
// there is no leader. All other errors are answers.
func unheard(err error) bool {
	var broken net.Error
	switch {
	case err == nil:
		return false
	case strings.HasPrefix(err.Error(), "TIMEOUT"), strings.HasPrefix(err.Error(), "CLUSTERDOWN"), strings.HasPrefix(err.Error(), "LOADING"):
		return true
	}
	var reply redis.Error
	return errors.As(err, &broken) || !errors.As(err, &reply) // EOF, reset, refused, closed pool
}

// newPayer begins a session. go-redis's own retries would be harmless, too: they say the same.
func newPayer(id string, addrs []string, first int) *Payer {
	p := &Payer{id: id, at: first}
	for _, a := range addrs {
		p.nodes = append(p.nodes, redis.NewClient(&redis.Options{Addr: a, MaxRetries: -1, DialTimeout: time.Second}))
	}
	return p
}

func (p *Payer) close() {
	for _, n := range p.nodes {
		_ = n.Close()
	}
}

// exactlyOnce: payers on all nodes pay while leaders end. Each balance that is answered
// is seen once, and in the end there is exactly what was paid.
func exactlyOnce(ctx context.Context, r *appRun) (string, error) {
	var addrs []string
	for _, n := range r.c.nodes {
		addrs = append(addrs, n.plain)
	}
	account := r.prefix + ":account"
	var paid, again atomic.Int64
	var mu sync.Mutex
	balances := map[int]bool{}
	var wrong error
	var wg sync.WaitGroup
	for i := range 6 {
		p := newPayer(r.prefix+"-payer-"+strconv.Itoa(i), addrs, i%3)
		defer p.close()
		wg.Go(func() {
			for r.goingOn() && ctx.Err() == nil {
				b, err := p.Pay(ctx, account, 1)
				mu.Lock()
				switch {
				case err != nil:
					wrong = errors.Join(wrong, err)
				case balances[b]:
					wrong = errors.Join(wrong, fmt.Errorf("balance %d was answered twice", b))
				}
				balances[b] = true
				mu.Unlock()
				paid.Add(1)
				time.Sleep(time.Millisecond)
			}
			again.Add(int64(p.again))
			fate, err := p.Fate(ctx, p.next)
			if err != nil || !strings.HasPrefix(fate, "applied") {
				mu.Lock()
				wrong = errors.Join(wrong, fmt.Errorf("the fate of an answered payment is %q, %w", fate, orNone(err)))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	story := fmt.Sprintf("%d payments, %d times said again", paid.Load(), again.Load())
	total, err := r.survivor.admin.Get(ctx, account).Int64()
	switch {
	case err != nil:
		return story, err
	case total != paid.Load():
		return story, errors.Join(wrong, fmt.Errorf("%d was paid and %d arrived", paid.Load(), total))
	case again.Load() == 0:
		return story, errors.Join(wrong, errors.New("nobody had to say anything again: nothing was shown"))
	}
	return story, wrong
}
