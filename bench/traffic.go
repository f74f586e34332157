package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is a fixed rate of commands, half SET and half GET, over keys that exist. The
// rate does not follow the server: a command that is due while the one before it on
// its connection is not answered yet counts its waiting time, too, so that a pause of
// the server is seen by every command that fell into it.
type traffic struct {
	addr  string
	keys  int
	conns int
	rate  float64 // commands per second over all connections; 0: as fast as answers come
	// reads: GETs alone. gap, instead of rate, is what each connection waits after an answer:
	// then a command is timed from when it was sent.
	reads bool
	gap   time.Duration
	// pipeline is how many commands a connection sends at once, in one request (0: one).
	pipeline int
	each     int // commands of each connection, in whole requests; 0: until it is stopped
	// refused counts error replies that say that nothing was done, instead of failing.
	refused *atomic.Int64
	seconds *timeline // nil: nobody asks when something was slow
	// slow are the answers that took slowAnswer and longer, if not nil. For one connection.
	slow *[]span
}

// slowAnswer is more than most commands take, and far less than a pause that matters.
const slowAnswer = time.Millisecond

// tolerant is the same traffic, which counts refusals.
func (l traffic) tolerant(refused *atomic.Int64) traffic {
	l.refused = refused
	return l
}

// refusal reports whether err is a server's word that nothing was done and nothing will
// be; of -TIMEOUT the outcome is unknown.
func refusal(err error) bool {
	for _, prefix := range []string{"CLUSTERDOWN", "OOM", "BUSY", "ERR"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// latencies are sorted times from when a command was due to its answer.
type latencies []time.Duration

// run loads until stop is closed or each connection is through.
func (l traffic) run(stop <-chan struct{}) (latencies, error) {
	var mu sync.Mutex
	var all latencies
	var failed error
	var wg sync.WaitGroup
	for i := range l.conns {
		wg.Go(func() {
			times, err := l.connection(i, stop)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			if failed == nil {
				failed = err // the others' are the same
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all, failed
}

// during loads for a while.
func (l traffic) during(d time.Duration) (latencies, error) {
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	return l.run(stop)
}

// while loads as long as work takes.
func (l traffic) while(work func() error) (latencies, error) {
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(stop)
		done <- work()
	}()
	times, err := l.run(stop)
	return times, errors.Join(err, <-done)
}

func (l traffic) connection(i int, stop <-chan struct{}) (times latencies, err error) {
	c, err := dial(l.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	dice := rand.New(rand.NewPCG(uint64(i), 1))
	every := time.Duration(0)
	if l.rate > 0 {
		every = time.Duration(float64(l.conns*l.depth()) / l.rate * float64(time.Second))
	}
	due := time.Now().Add(time.Duration(i) * every / time.Duration(l.conns))
	for sent := 0; l.each == 0 || sent < l.each; sent += l.depth() {
		select {
		case <-stop:
			return times, nil
		default:
		}
		now := time.Now()
		if every > 0 && now.Before(due) {
			time.Sleep(due.Sub(now))
			now = time.Now() // the client's own late waking is not the server's
		} else if every > 0 {
			now = due
		}
		if times, err = l.request(c, dice, now, times); err != nil {
			return times, err
		}
		due = due.Add(every)
		time.Sleep(l.gap)
	}
	return times, nil
}

func (l traffic) depth() int { return max(l.pipeline, 1) }

// request sends as many commands as the pipeline holds and adds the times of their
// answers, counted from begun.
func (l traffic) request(c *client, dice *rand.Rand, begun time.Time, times latencies) (latencies, error) {
	for range l.depth() {
		key := keyName(dice.IntN(l.keys))
		if l.reads || dice.IntN(2) == 0 {
			c.out = appendCommand(c.out, "GET", key)
		} else {
			c.out = appendCommand(c.out, "SET", key, randomValue(dice))
		}
	}
	if err := c.flush(); err != nil {
		return times, err
	}
	for range l.depth() {
		_, err := readReply(c.in)
		if err != nil && l.refused != nil && refusal(err) {
			l.refused.Add(1)
			continue
		}
		if err != nil {
			return times, err
		}
		took := time.Since(begun)
		times = append(times, took)
		l.seconds.note(took)
		if l.slow != nil && took >= slowAnswer {
			*l.slow = append(*l.slow, span{begun, begun.Add(took)})
		}
	}
	return times, nil
}

// timeline keeps the answers of each second apart: what a percentile is made of. A machine
// that stands still for 40 ms, once in some seconds, makes the p99 of all of them; it does
// not make that of most seconds.
type timeline struct {
	mu      sync.Mutex
	started time.Time
	took    []latencies // by second
}

func newTimeline() *timeline { return &timeline{started: time.Now()} }

func (t *timeline) note(took time.Duration) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	second := int(time.Since(t.started).Seconds())
	for len(t.took) <= second {
		t.took = append(t.took, nil)
	}
	t.took[second] = append(t.took[second], took)
}

// String is the time of day at the beginning, and of each second the longest, in milliseconds.
func (t *timeline) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.started.Format("15:04:05") + ":"
	for _, took := range t.took {
		longest := time.Duration(0)
		if len(took) > 0 {
			longest = slices.Max(took)
		}
		out += fmt.Sprintf(" %d", longest.Milliseconds())
	}
	return out
}

// median is the p99 of the second that is in the middle if they are ordered by it.
func (t *timeline) median() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var each latencies
	for _, took := range t.took {
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		each = append(each, took.at(0.99))
	}
	slices.Sort(each)
	return each.at(0.5)
}

// at is the latency that a part of all commands did not exceed.
func (t latencies) at(part float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(int(part*float64(len(t))), len(t)-1)]
}

func (t latencies) String() string {
	ms := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds()*1e3, 'f', 2, 64) }
	return fmt.Sprintf("%8d commands  p50 %6s  p99 %6s  p99.9 %6s  max %6s ms", len(t),
		ms(t.at(0.5)), ms(t.at(0.99)), ms(t.at(0.999)), ms(t.at(1)))
}

// fill writes n keys with MSETs of a hundred, over several connections.
func fill(addr string, n int) error {
	const conns, perCommand, window = 4, 100, 16
	failed := make(chan error, conns)
	for i := range conns {
		go func() {
			failed <- func() error {
				c, err := dial(addr)
				if err != nil {
					return err
				}
				defer c.Close()
				dice := rand.New(rand.NewPCG(uint64(i), 2))
				sent, answered := 0, 0
				for lo := i * perCommand; lo < n; lo += conns * perCommand {
					args := []string{"MSET"}
					for k := lo; k < min(lo+perCommand, n); k++ {
						args = append(args, keyName(k), randomValue(dice))
					}
					c.out = appendCommand(c.out, args...)
					if sent++; sent-answered < window {
						continue
					}
					if err := c.flush(); err != nil {
						return err
					}
					for ; sent-answered > window/2; answered++ {
						if _, err := readReply(c.in); err != nil {
							return err
						}
					}
				}
				if err := c.flush(); err != nil {
					return err
				}
				for ; answered < sent; answered++ {
					if _, err := readReply(c.in); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	var err error
	for range conns {
		err = errors.Join(err, <-failed)
	}
	return err
}

// benchKeys are those that the grid's cells choose from.
const benchKeys = 1_000_000

// fillOnce gives a server all of them, unless it has them already: a GET of what is not
// there costs less. What that leaves behind would fall on the next cell, so it waits for a
// rewrite of the log, and touches most pages: after a fork the first access to each costs
// Redis a page fault, for a GET writes down when it was.
func fillOnce(r *running) error {
	if r.filled {
		return nil
	}
	r.filled = true
	if r.plain {
		value := randomValue(rand.New(rand.NewPCG(0, 2)))
		return r.push(benchKeys, func(i int) []string { return []string{"SET", keyName(i), value} })
	}
	if err := fill(r.addr, benchKeys); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond) // Redis looks every 100 ms whether it is time
	if err := r.await(func(m map[string]string) bool {
		return m["aof_rewrite_in_progress"] == "0" && m["rdb_bgsave_in_progress"] == "0"
	}); err != nil {
		return err
	}
	return r.push(benchKeys/5, func(i int) []string { return []string{"GET", keyName(5 * i)} })
}

// keyName is 16 bytes, as redis-benchmark names keys.
func keyName(i int) string { return fmt.Sprintf("key:%012d", i) }

// randomValue is 64 bytes that compress to about 48.
func randomValue(dice *rand.Rand) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var b [64]byte
	for i := 0; i < len(b); i += 8 {
		for j, x := 0, dice.Uint64(); j < 8; j, x = j+1, x>>6 {
			b[i+j] = letters[x&63]
		}
	}
	return string(b[:])
}

// client is a connection and what is to be sent on it.
type client struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

// answerTimeout ends a bench whose server does not answer any more.
const answerTimeout = 60 * time.Second

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	return &client{Conn: conn, in: bufio.NewReaderSize(conn, 1<<16)}, nil
}

func (c *client) flush() error {
	if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

func appendCommand(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, a := range args {
		b = append(strconv.AppendInt(append(b, '$'), int64(len(a)), 10), "\r\n"...)
		b = append(append(b, a...), "\r\n"...)
	}
	return b
}
