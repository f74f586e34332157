package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// What MONITOR shows and CLIENT does is a node's own affair. Through a follower it has to be
// what it is on the leader: the same conversation is held with both, and what differs by
// nature (times, ports, numbers of clients) is struck out before the two are compared.

// runAlike holds the conversations with the leader and with a follower; again if the
// leader was another one afterwards.
func runAlike(h *harness) (string, error) {
	c, err := h.needCluster()
	if err != nil {
		return "", err
	}
	for range 3 {
		lead, err := c.leader()
		if err != nil {
			return "", err
		}
		lines, failed := alike(lead, c.others(lead)[0])
		if now, err := c.leader(); err != nil || now == lead {
			return fmt.Sprintf("%d lines alike", lines), errors.Join(failed, err)
		}
	}
	return "", errors.New("the leader changed each time: nothing was compared")
}

func alike(lead, follower *process) (lines int, failed error) {
	for _, talk := range []struct {
		name string
		hold func(ctx context.Context, addr string) (string, error)
	}{{"MONITOR", monitored}, {"CLIENT LIST", listed}, {"CLIENT KILL", killed}, {"CLIENT PAUSE", paused}, {"other CLIENT commands", clientWords}} {
		ctx, cancel := context.WithTimeout(context.Background(), runLimit)
		onLeader, err1 := talk.hold(ctx, lead.plain)
		onFollower, err2 := talk.hold(ctx, follower.plain)
		cancel()
		if err := errors.Join(err1, err2); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", talk.name, err))
		}
		if onLeader != onFollower {
			failed = errors.Join(failed, fmt.Errorf("%s: on the leader\n%s\non a follower\n%s", talk.name, onLeader, onFollower))
		}
		lines += strings.Count(onLeader, "\n")
	}
	return lines, failed
}

// one is a client of one connection: what it says is said in order.
func one(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1, MaxRetries: -1, DisableIdentity: true, Protocol: 2,
		ReadTimeout: time.Minute})
}

// said is what a command answered, errors included.
func said(ctx context.Context, c *redis.Client, words ...any) string {
	v, err := c.Do(ctx, words...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Sprintf("%v: %v\n", words, err)
	}
	return fmt.Sprintf("%v: %v\n", words, v)
}

var (
	monitorHead = regexp.MustCompile(`^\+\d+\.\d{6} \[(\d+) (?:127\.0\.0\.1:\d+|(lua))\]`)
	hello       = regexp.MustCompile(`\b(id|role):\w+`)
	natural     = regexp.MustCompile(`\b(id|addr|laddr|fd|age|idle|qbuf|qbuf-free|rbs|rbp|obl|oll|omem|tot-mem|argv-mem|multi-mem)=\S*`)
)

// monitored is what MONITOR shows of a client's commands, from the first marker to the last.
func monitored(ctx context.Context, addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "+OK" {
		return "", fmt.Errorf("MONITOR answered %q", lines.Text())
	}
	c := one(addr)
	defer c.Close()
	said(ctx, c, "ECHO", "begin")
	for _, words := range [][]any{
		{"SELECT", 3}, {"SET", "{mon}", "a\x00\"\r\n\xff"}, {"GET", "{mon}"}, {"CONFIG", "GET", "save"}, {"AUTH", "default", "secret"},
		{"MULTI"}, {"INCR", "{mon}n"}, {"GET", "{mon}n"}, {"EXEC"},
		{"EVAL", "redis.call('INCR', KEYS[1]); return redis.pcall('GET', KEYS[1])", 1, "{mon}n"},
		{"EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "{mon}n"},
		{"BLPOP", "{mon}none", "0.01"}, {"WRONG", "command"}, {"GET"}, {"PUBLISH", "{mon}", "x"}, {"DEL", "{mon}", "{mon}n"}, {"ECHO", "end"},
	} {
		said(ctx, c, words...)
	}
	var all strings.Builder
	for began := false; lines.Scan(); {
		line := monitorHead.ReplaceAllString(lines.Text(), "[$1 $2]")
		began = began || strings.HasSuffix(line, `"ECHO" "begin"`)
		if began {
			all.WriteString(line + "\n")
		}
		if strings.HasSuffix(line, `"ECHO" "end"`) {
			return all.String(), nil
		}
	}
	return all.String(), fmt.Errorf("MONITOR ended: %w", orNone(lines.Err()))
}

// listed is CLIENT LIST and CLIENT INFO of clients in many states.
func listed(ctx context.Context, addr string) (string, error) {
	const name = "alike"
	states := [][][]any{
		{{"SET", "{al}", 1}},
		{{"SELECT", 5}, {"GET", "{al}"}},
		{{"WATCH", "{al}", "{al}2"}, {"MULTI"}, {"SET", "{al}", 1}, {"GET", "{al}"}},
		{{"HELLO", 3}, {"CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP"}},
		{{"CLIENT", "NO-EVICT", "ON"}, {"CLIENT", "NO-TOUCH", "ON"}, {"CLIENT", "SETINFO", "LIB-NAME", "alike"}, {"CLIENT", "SETINFO", "LIB-VER", "1.2"}},
		{{"READONLY"}, {"EVAL", "return redis.call('GET', KEYS[1])", 1, "{al}"}},
	}
	asks := one(addr)
	defer asks.Close()
	var all strings.Builder
	for i, words := range states {
		c := one(addr)
		defer c.Close()
		all.WriteString(said(ctx, c, "CLIENT", "SETNAME", fmt.Sprint(name, i)))
		for _, w := range words {
			said(ctx, c, w...)
		}
		if i != 2 { // in MULTI it would be queued
			all.WriteString(natural.ReplaceAllString(said(ctx, c, "CLIENT", "INFO"), "$1"))
		}
	}
	sub := one(addr).Subscribe(ctx, "{al}a", "{al}b")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		return "", err
	}
	// Who leaves is gone a moment later: the list of who is there settles.
	for _, words := range [][]any{{"CLIENT", "LIST"}, {"CLIENT", "LIST", "TYPE", "pubsub"}, {"CLIENT", "LIST", "TYPE", "normal"}} {
		for line := range strings.Lines(said(ctx, asks, words...)) {
			if strings.Contains(line, "name="+name) || strings.Contains(line, "sub=2") {
				all.WriteString(natural.ReplaceAllString(line, "$1"))
			}
		}
	}
	all.WriteString(said(ctx, asks, "CLIENT", "LIST", "TYPE", "nonsense"))
	all.WriteString(said(ctx, asks, "CLIENT", "LIST", "ID", "x"))
	return all.String(), nil
}

// killed is whom CLIENT KILL ends, and what it answers.
func killed(ctx context.Context, addr string) (string, error) {
	asks := one(addr)
	defer asks.Close()
	own := asks.ClientID(ctx).Val()
	var all strings.Builder
	for _, how := range []string{"ID", "ADDR", "LADDR and USER", "old form", "TYPE", "MAXAGE", "nobody"} {
		victim, bystander := one(addr), one(addr)
		id := victim.ClientID(ctx).Val()
		bystander.ClientID(ctx)
		words := []any{"CLIENT", "KILL"}
		switch how {
		case "ID":
			words = append(words, "ID", id)
		case "ADDR":
			words = append(words, "ADDR", victimAddr(ctx, victim))
		case "LADDR and USER":
			words = append(words, "ID", id, "LADDR", addr, "USER", "default")
		case "old form":
			words = append(words, victimAddr(ctx, victim))
		case "TYPE":
			words = append(words, "ID", id, "TYPE", "normal", "SKIPME", "yes")
		case "MAXAGE":
			words = append(words, "ID", id, "MAXAGE", 100000)
		default:
			words = append(words, "ID", id, "TYPE", "pubsub")
		}
		v, err := asks.Do(ctx, words...).Result()
		time.Sleep(20 * time.Millisecond)
		fmt.Fprintf(&all, "%s: %v %v; the victim is there: %v, the bystander: %v\n", how, v, err,
			victim.ClientID(ctx).Val() == id, bystander.Ping(ctx).Err() == nil)
		_, _ = victim.Close(), bystander.Close()
	}
	for _, words := range [][]any{
		{"CLIENT", "KILL", "ID", "0"}, {"CLIENT", "KILL", "ID", "x"}, {"CLIENT", "KILL", "127.0.0.1:1"}, {"CLIENT", "KILL", "USER", "unknown"},
		{"CLIENT", "KILL", "TYPE", "nonsense"}, {"CLIENT", "KILL", "SKIPME", "maybe"}, {"CLIENT", "KILL"}, {"CLIENT", "KILL", "ID", own, "SKIPME", "yes"},
	} {
		all.WriteString(strings.ReplaceAll(said(ctx, asks, words...), fmt.Sprint(own), "own"))
	}
	return all.String(), nil
}

// victimAddr is where the client's connection comes from.
func victimAddr(ctx context.Context, c *redis.Client) string {
	text, _ := c.Do(ctx, "CLIENT", "INFO").Text()
	for word := range strings.FieldsSeq(text) {
		if at, ok := strings.CutPrefix(word, "addr="); ok {
			return at
		}
	}
	return ""
}

// paused is what CLIENT PAUSE holds back. Time tells only one thing on a loaded machine: who
// is answered before a pause can have ended was not held back by it.
func paused(ctx context.Context, addr string) (string, error) {
	const brief, long = 300 * time.Millisecond, time.Minute
	asks := one(addr)
	defer asks.Close()
	var all strings.Builder
	under := func(mode string, waits bool, words ...any) {
		c := one(addr)
		defer c.Close()
		c.Ping(ctx) // its connection stands before the pause
		pause := long
		if waits {
			pause = brief
		}
		began := time.Now()
		all.WriteString(said(ctx, asks, "CLIENT", "PAUSE", pause.Milliseconds(), mode))
		answer := said(ctx, c, words...)
		fmt.Fprintf(&all, "%s %s; held back: %v\n", mode, strings.TrimSpace(answer), time.Since(began) >= pause)
		all.WriteString(said(ctx, asks, "CLIENT", "UNPAUSE"))
	}
	writes := [][]any{{"SET", "{al}", 1}, {"PUBLISH", "{al}", "x"}, {"EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "{al}"}, {"PFCOUNT", "{al}hll"}}
	reads := [][]any{{"GET", "{al}"}, {"PING"}, {"EVAL_RO", "return 1", 0}, {"LRANGE", "{al}l", 0, -1}}
	for _, words := range writes {
		under("WRITE", true, words...)
		under("ALL", true, words...)
	}
	for _, words := range reads {
		under("WRITE", false, words...)
		under("ALL", true, words...)
	}
	for _, words := range [][]any{{"CLIENT", "PAUSE"}, {"CLIENT", "PAUSE", "x"}, {"CLIENT", "PAUSE", "1", "SOME"}} {
		all.WriteString(said(ctx, asks, words...))
	}
	return all.String(), nil
}

// clientWords are the other subcommands.
func clientWords(ctx context.Context, addr string) (string, error) {
	c, other := one(addr), one(addr)
	defer c.Close()
	defer other.Close()
	var all strings.Builder
	for _, words := range [][]any{
		{"CLIENT", "GETNAME"}, {"CLIENT", "SETNAME", "a b"}, {"CLIENT", "SETNAME", "n"}, {"CLIENT", "GETNAME"}, {"CLIENT", "GETREDIR"},
		{"CLIENT", "TRACKING", "ON"}, {"CLIENT", "TRACKINGINFO"}, {"CLIENT", "CACHING", "YES"}, {"HELLO", 3, "SETNAME", "m"}, {"CLIENT", "TRACKING", "ON", "OPTIN"},
		{"CLIENT", "CACHING", "YES"}, {"CLIENT", "TRACKINGINFO"}, {"CLIENT", "TRACKING", "OFF"}, {"CLIENT", "UNBLOCK", 123456789}, {"CLIENT", "UNBLOCK", 1, "x"},
		{"CLIENT", "NO-EVICT", "maybe"}, {"CLIENT", "REPLY", "maybe"}, {"CLIENT", "SETINFO", "x", "y"}, {"CLIENT", "NONSENSE"}, {"CLIENT", "HELP"}, {"RESET"},
	} {
		all.WriteString(hello.ReplaceAllString(said(ctx, c, words...), "$1"))
	}
	for _, how := range []string{"TIMEOUT", "ERROR"} {
		answer := make(chan string, 1)
		id := other.ClientID(ctx).Val()
		go func() { answer <- said(ctx, other, "BLPOP", "{al}nothing", 10) }()
		err := await(5*time.Second, func() bool { return c.ClientUnblock(ctx, id).Val() == 1 })
		if how == "ERROR" && err == nil {
			<-answer
			go func() { answer <- said(ctx, other, "BLPOP", "{al}nothing", 10) }()
			err = await(5*time.Second, func() bool { return c.ClientUnblockWithError(ctx, id).Val() == 1 })
		}
		if err != nil {
			return all.String(), fmt.Errorf("CLIENT UNBLOCK %s: %w", how, err)
		}
		all.WriteString(how + " " + <-answer)
	}
	return all.String(), nil
}
