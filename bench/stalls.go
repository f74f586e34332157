package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

// stalls measures how long other clients wait while one sends a command that has a
// million elements to go through, on a durable Redis and on the leader of three nodes.
// One client reads a small key every millisecond, another writes one every two: a long
// command that is read holds up the first, one in the log both.
func stalls(o options, base string) error {
	rows, err := o.heavies()
	if err != nil {
		return err
	}
	// A snapshot, or Redis's fork for a new log, would pass for the command's pause.
	peers := []peer{redis(o, base, "always", 0, "--auto-aof-rewrite-percentage", "0"),
		rkvCluster(o, base, "leader", "--snapshot-log-size", "64gb")}
	results := map[resultKey]*stallResult{}
	for round := range o.rounds {
		for _, which := range [][]int{{0, 1}, {1, 0}}[round%2] {
			fmt.Printf("turn %d of %d: %s\n", round+1, o.rounds, peers[which].Name)
			if err := stallTurn(o, peers[which], rows, results); err != nil {
				return fmt.Errorf("%s: %w", peers[which].Name, err)
			}
		}
	}
	if err := writeStalls(o.json, results); err != nil {
		return err
	}
	printStalls(os.Stdout, results, [2]string{peers[0].Name, peers[1].Name}, rows)
	return nil
}

// heavies are the commands that -only asks for.
func (o options) heavies() ([]heavy, error) {
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	rows := slices.DeleteFunc(heavies(o.keys), func(h heavy) bool { return h.name != control && !pattern.MatchString(h.name) })
	if len(rows) == 1 && o.only != "" && !pattern.MatchString(control) {
		return nil, fmt.Errorf("-only %q matches no command", o.only)
	}
	return rows, nil
}

// repeats is how often a turn sends each command. What the disk did once is more than all
// of a command that takes next to no time: of those, three times as many repetitions are
// needed to see what the command does.
const (
	repeats      = 3
	briefRepeats = 9
	brief        = 10 // ms
)

// stallTurn starts a server and sends it every command.
func stallTurn(o options, p peer, rows []heavy, results map[resultKey]*stallResult) (err error) {
	r, err := p.start()
	if err != nil {
		return err
	}
	defer func() {
		r.keep = r.keep || err != nil
		err = errors.Join(err, r.stop())
	}()
	s := &staller{running: r, o: o, filled: map[string]bool{}}
	for _, h := range rows {
		k := resultKey{p.Name, h.name}
		if results[k] == nil {
			results[k] = &stallResult{}
		}
		if err := s.row(h, results[k]); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		fmt.Printf("  %-40s %s\n", h.name, results[k])
	}
	return nil
}

// staller is a server under test.
type staller struct {
	*running
	o      options
	filled map[string]bool
}

func (s *staller) row(h heavy, result *stallResult) error {
	if len(s.procs) > 1 {
		// A long command may have cost the leader its place.
		if err := s.pick(s.o, "leader"); err != nil {
			return err
		}
	}
	c, err := dial(s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	more := repeats
	for n := 0; n < more; n++ {
		if err := s.prepare(c, h); err != nil {
			return err
		}
		sample, refusals, err := s.repetition(c, h)
		result.Errors += refusals
		if isRefused(err) || errors.Is(err, os.ErrDeadlineExceeded) {
			result.Refused = err.Error()
			return nil
		}
		if err != nil {
			return err
		}
		result.Samples = append(result.Samples, sample)
		if n == repeats-1 && result.command() < brief {
			more = briefRepeats
		}
	}
	return nil
}

// prepare sees to it that the command finds what it found the last time.
func (s *staller) prepare(c *client, h heavy) error {
	if h.alone {
		if err := c.do("FLUSHALL"); err != nil {
			return err
		}
		clear(s.filled)
	}
	if h.small && !s.filled["small"] {
		if err := fill(s.addr, s.o.keys); err != nil {
			return err
		}
		s.filled["small"] = true
	}
	for _, key := range h.masters() {
		if err := s.fillMaster(key); err != nil {
			return fmt.Errorf("filling %s: %w", key, err)
		}
	}
	for _, args := range h.before {
		if err := c.do(args...); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	return s.settle()
}

func (s *staller) fillMaster(key string) error {
	f, ok := fillingOf(key, s.o.keys)
	if !ok {
		return errors.New("nobody knows with what")
	}
	if s.filled[key] {
		return nil
	}
	s.filled[key] = true
	return s.push((s.o.keys+f.per-1)/f.per, func(i int) []string {
		return f.command(i*f.per, min((i+1)*f.per, s.o.keys))
	})
}

// settle waits until every node has applied what there is, or the followers' share of
// what was prepared would count as the command's.
func (s *staller) settle() error {
	for started := time.Now(); len(s.procs) > 1; time.Sleep(10 * time.Millisecond) {
		same := map[string]bool{}
		for i := range s.procs {
			m, err := info(fmt.Sprintf("127.0.0.1:%d", s.o.port+i))
			if err != nil {
				return err
			}
			same[m["raft_applied_index"]] = true
			same[m["raft_last_index"]] = true
		}
		if len(same) == 1 {
			break
		}
		if time.Since(started) > answerTimeout {
			return fmt.Errorf("the nodes have not applied the same after %s: %v", answerTimeout, same)
		}
	}
	time.Sleep(stallRest)
	return nil
}

// stallRest passes before the probes begin, then before the command, and after it: what
// it leaves to be done later is part of what others notice. In all there are about
// 300 ms between two commands.
const stallRest = 100 * time.Millisecond

// repetition sends the command once, beside both probes.
func (s *staller) repetition(c *client, h heavy) (sample stallSample, refusals int, err error) {
	probes := [2]probe{
		{args: []string{"GET", "small:read"}, every: time.Millisecond},
		{args: []string{"SET", "small:written", "x"}, every: 2 * time.Millisecond},
	}
	stop := make(chan struct{})
	var answers [2]chan probed
	for i, p := range probes {
		answers[i] = make(chan probed, 1)
		go func() { answers[i] <- p.run(s.addr, stop) }()
	}
	time.Sleep(stallRest)
	from := time.Now()
	err = c.do(h.command...)
	took := time.Since(from)
	time.Sleep(stallRest)
	to := time.Now()
	close(stop)
	sample.Command = took.Seconds() * 1e3
	for i, into := range []*seen{&sample.GET, &sample.SET} {
		got := <-answers[i]
		times := got.within(from, to)
		*into = seen{Pause: times.at(1).Seconds() * 1e3, P99: times.at(0.99).Seconds() * 1e3}
		refusals += got.refused
		err = errors.Join(err, got.err)
	}
	return sample, refusals, err
}

// do has the command executed and reads its reply to the end.
func (c *client) do(args ...string) error {
	c.out = appendCommand(c.out, args...)
	if err := c.flush(); err != nil {
		return err
	}
	return discardReply(c.in)
}
