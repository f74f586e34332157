package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// probe is a client that asks for little at a fixed pace, whether or not it was answered:
// a question that is due while the server does something else is sent all the same, and
// waits as that of another client would. Were it sent after the answer before, one long
// pause would leave a queue that looks like more of them.
type probe struct {
	args  []string
	every time.Duration
}

// asked is one question. Its time is from when it was sent, which is when it was due or
// when the machine let the client run: the client's own late waking is not the server's.
type asked struct {
	sent time.Time
	took time.Duration
}

// probed is what a probe saw.
type probed struct {
	all     []asked
	refused int   // error replies
	err     error // the connection failed
}

// run asks until stop is closed, and waits for the answers.
func (p probe) run(addr string, stop <-chan struct{}) (seen probed) {
	c, err := dial(addr)
	if err != nil {
		return probed{err: err}
	}
	defer c.Close() // and so ends a sender that is still writing
	// Room for a minute's questions: a sender that waits here would ask too late.
	sent := make(chan time.Time, int(answerTimeout/p.every))
	failed := make(chan error, 1)
	go func() {
		defer close(sent)
		failed <- p.send(c, sent, stop)
	}()
	for at := range sent {
		if err := c.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
			return probed{err: err}
		}
		switch err := discardReply(c.in); {
		case isRefused(err):
			seen.refused++
		case err != nil:
			return probed{err: fmt.Errorf("probe %s: %w", p.args[0], err)}
		}
		seen.all = append(seen.all, asked{at, time.Since(at)})
	}
	seen.err = <-failed
	return seen
}

func (p probe) send(c *client, sent chan<- time.Time, stop <-chan struct{}) error {
	question := appendCommand(nil, p.args...)
	pace := time.NewTicker(p.every) // drops the ticks that were slept through
	defer pace.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-pace.C:
		}
		sent <- time.Now()
		if _, err := c.Write(question); err != nil {
			return err
		}
	}
}

// within are the times of questions that were open between from and to.
func (s probed) within(from, to time.Time) (times latencies) {
	for _, a := range s.all {
		if a.sent.Before(to) && a.sent.Add(a.took).After(from) {
			times = append(times, a.took)
		}
	}
	slices.Sort(times)
	return times
}

// refusedError is a server's error reply.
type refusedError string

func (e refusedError) Error() string { return string(e) }

func isRefused(err error) bool {
	var r refusedError
	return errors.As(err, &r)
}

// discardReply reads a reply and keeps nothing of it: a million elements must not cost
// the client so much that it slows down its own probes.
func discardReply(r *bufio.Reader) (refused error) {
	for left := 1; left > 0; left-- {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 3 {
			return fmt.Errorf("no reply: %q", line)
		}
		n, text := 0, line[1:len(line)-2]
		if line[0] == '$' || line[0] == '*' {
			if n, err = strconv.Atoi(string(text)); err != nil {
				return fmt.Errorf("no reply: %q", line)
			}
		}
		switch {
		case line[0] == '-':
			refused = refusedError(text)
		case line[0] == '*':
			left += max(n, 0)
		case line[0] == '$' && n >= 0:
			if _, err := r.Discard(n + 2); err != nil {
				return err
			}
		}
	}
	return refused
}
