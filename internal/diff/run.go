package diff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Options say what Run compares and for how long.
type Options struct {
	Redis, RKV string // host:port
	Seed       uint64
	Commands   int           // how many at least
	Time       time.Duration // or how long; 0: no bound
	Length     int           // of a sequence
	Report     func(d Difference)
	// Most ends the run after so many unexplained differences.
	Most int
	// Progress hears the result so far after each sequence; nil: nobody.
	Progress func(Result)
}

// Result is what a run found.
type Result struct {
	Commands, Explained, Unexplained int
}

// Difference is a shrunk sequence whose last command shows a difference.
type Difference struct {
	Seed      uint64
	Proto     int
	Commands  [][]string
	Redis, We Value
}

func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, RESP%d:\n", d.Seed, d.Proto)
	for _, c := range d.Commands {
		b.WriteString(" ")
		for _, a := range c {
			b.WriteString(" " + strconv.Quote(a))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "  redis: %.300s\n  rkv:   %.300s", d.Redis, d.We)
	return b.String()
}

// conn is a connection that sends many commands at once.
type conn struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}, nil
}

func (c *conn) send(cmds [][]string) error {
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	for _, args := range cmds {
		fmt.Fprintf(c.w, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(c.w, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	return c.w.Flush()
}

func (c *conn) receive(n int) ([]Value, error) {
	values := make([]Value, 0, n)
	for ; n > 0; n-- {
		v, err := readValue(c.r)
		if err != nil {
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

// runner compares sequences.
type runner struct {
	redis, rkv *conn
	Options
	Result
	oracle string // redis-server's version
}

// Run compares until enough commands ran, the time is over or ctx has ended.
func Run(ctx context.Context, o Options) (Result, error) {
	x := &runner{Options: o}
	var err error
	if x.redis, err = dial(o.Redis); err != nil {
		return x.Result, err
	}
	defer x.redis.Close()
	if x.rkv, err = dial(o.RKV); err != nil {
		return x.Result, err
	}
	defer x.rkv.Close()
	grammar, err := x.meet()
	if err != nil {
		return x.Result, err
	}
	started := time.Now()
	for seed := o.Seed; x.Result.Commands < o.Commands && (o.Time == 0 || time.Since(started) < o.Time) && x.Unexplained < o.Most && ctx.Err() == nil; seed++ {
		g := newGenerator(grammar, seed)
		g.oracle = x.oracle
		if err := x.sequence(g, seed); err != nil {
			return x.Result, fmt.Errorf("seed %d: %w", seed, err)
		}
		if o.Progress != nil {
			o.Progress(x.Result)
		}
	}
	return x.Result, nil
}

var versionLine = regexp.MustCompile(`redis_version:(\d+\.\d+)`)

// meet asks the oracle for its version, which rkv is told to imitate, and its grammar.
func (x *runner) meet() (Grammar, error) {
	if err := x.redis.send([][]string{{"COMMAND", "DOCS"}, {"INFO", "server"}}); err != nil {
		return nil, err
	}
	answers, err := x.redis.receive(2)
	if err != nil {
		return nil, err
	}
	m := versionLine.FindStringSubmatch(answers[1].Text)
	if m == nil {
		return nil, errors.New("redis-server does not say its version")
	}
	x.oracle = m[1]
	if err := x.rkv.send([][]string{{"CONFIG", "SET", "redis-version", min(x.oracle, "7.4")}}); err != nil {
		return nil, err
	}
	answer, err := x.rkv.receive(1)
	if err == nil && answer[0].Kind == '-' {
		err = fmt.Errorf("rkv does not imitate %s: %s", x.oracle, answer[0].Text)
	}
	if err != nil {
		return nil, err
	}
	return ReadGrammar(answers[0])
}

// prologue empties both servers and sets the protocol and the thresholds.
func prologue(seed uint64, proto int) [][]string {
	entries, ints := "128", "512"
	if seed%2 == 1 { // large forms early
		entries, ints = "4", "4"
	}
	return [][]string{
		{"HELLO", strconv.Itoa(proto)}, {"FLUSHALL"},
		{"CONFIG", "SET", "hash-max-listpack-entries", entries, "zset-max-listpack-entries", entries, "set-max-intset-entries", ints},
		{"CONFIG", "SET", "proto-max-bulk-len", "33554432"}, // ours; it bounds offsets of bits, too
	}
}

// epilogue looks at what is left: the value of every key.
func epilogue() (cmds [][]string) {
	for _, f := range families[:len(families)-1] {
		for _, n := range []string{"1", "2", "3"} {
			cmds = append(cmds, []string{"TYPE", f[:2] + n}, []string{"OBJECT", "ENCODING", f[:2] + n}, []string{"ZRANGE", f[:2] + n, "0", "-1", "WITHSCORES"},
				[]string{"DEBUG", "DIGEST-VALUE", f[:2] + n}, []string{"PTTL", f[:2] + n})
		}
	}
	return append(cmds, []string{"DBSIZE"})
}

func (x *runner) sequence(g *generator, seed uint64) error {
	proto := 2 + int(seed/2%2)
	cmds := make([][]string, x.Length)
	for i := range cmds {
		cmds[i] = g.command()
	}
	x.Result.Commands += len(cmds)
	at, explained, _, _, err := x.compare(cmds, seed, proto)
	x.Explained += explained
	if err != nil || at < 0 {
		return err
	}
	// Once more: what is due in between depends on the clock.
	if at, _, _, _, err = x.compare(cmds, seed, proto); err != nil || at < 0 {
		return err
	}
	d, err := x.shrink(cmds, at, seed, proto)
	if err != nil || d == nil {
		return err
	}
	x.Unexplained++
	x.Report(*d)
	return nil
}

// compare runs the sequence on both and returns the index of the first unexplained
// difference, -1 if there is none; in the epilogue it is beyond the sequence.
func (x *runner) compare(cmds [][]string, seed uint64, proto int) (at, explainedCount int, a, b Value, err error) {
	pro := prologue(seed, proto)
	all := append(append(append([][]string(nil), pro...), cmds...), epilogue()...)
	if err := x.redis.send(all); err != nil {
		return -1, 0, a, b, err
	}
	if err := x.rkv.send(all); err != nil {
		return -1, 0, a, b, err
	}
	theirs, err := x.redis.receive(len(all))
	if err != nil {
		return -1, 0, a, b, fmt.Errorf("redis: %w", err)
	}
	ours, err := x.rkv.receive(len(all))
	if err != nil {
		return -1, 0, a, b, fmt.Errorf("rkv, at %q: %w", all[len(ours)], err)
	}
	why := ""
	for i := len(pro); i < len(all); i++ {
		if same(all[i], theirs[i], ours[i]) {
			why = ""
			continue
		}
		if why = explained(x.oracle, all[:i+1], theirs[i], ours[i], why); why != "" {
			explainedCount++
			continue
		}
		return i - len(pro), explainedCount, theirs[i], ours[i], nil
	}
	return -1, explainedCount, a, b, nil
}

// shrink removes commands as long as a difference stays.
func (x *runner) shrink(cmds [][]string, at int, seed uint64, proto int) (*Difference, error) {
	cmds = cmds[:min(at+1, len(cmds))]
	try := func(c [][]string) (bool, error) {
		at, _, _, _, err := x.compare(c, seed, proto)
		return at >= 0, err
	}
	for size := max(1, len(cmds)/2); ; size = max(1, size/2) {
		for from := 0; from < len(cmds); {
			shorter := append(append([][]string(nil), cmds[:from]...), cmds[min(from+size, len(cmds)):]...)
			bad, err := try(shorter)
			if err != nil {
				return nil, err
			}
			if bad {
				cmds = shorter
			} else {
				from += size
			}
		}
		if size == 1 {
			break
		}
	}
	at, _, a, b, err := x.compare(cmds, seed, proto)
	if err != nil || at < 0 {
		return nil, err
	}
	if at >= len(cmds) {
		at -= len(cmds)
		cmds = append(cmds, epilogue()[at])
	}
	return &Difference{Seed: seed, Proto: proto, Commands: cmds, Redis: a, We: b}, nil
}
