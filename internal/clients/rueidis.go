package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// openRueidis opens rueidis with its defaults: one constructor for all personas, which finds
// out by itself what it talks to. In RESP2 it has no client-side cache.
func openRueidis(t target, addr string) (rueidis.Client, error) {
	o := rueidis.ClientOption{InitAddress: []string{addr}}
	switch t.Persona {
	case "cluster":
		o.InitAddress = t.Addrs
	case "sentinel":
		o.InitAddress = t.Addrs
		o.Sentinel.MasterSet = t.Master
	}
	if t.Proto == 2 {
		o.AlwaysRESP2, o.DisableCache = true, true
	}
	return rueidis.NewClient(o)
}

func runRueidis(t target, say *talk) error {
	var loops []ops
	for i := range t.loops() {
		c, err := openRueidis(t, t.Addrs[i])
		if err != nil {
			return err
		}
		defer c.Close()
		loops = append(loops, rueidisOps{c})
		if i == 0 {
			rueidisChecks(c, t, say)
		}
	}
	say.runLoad(t, loops)
	return nil
}

func rueidisChecks(c rueidis.Client, t target, say *talk) {
	k := func(name string) string { return t.Prefix + ":" + name }
	// do answers in Go's words; an error is its text.
	do := func(ctx context.Context, words ...string) any {
		x, err := c.Do(ctx, arbitrary(c, words)).ToAny()
		if err != nil {
			return err
		}
		return x
	}
	// alike runs pairs of what is expected and a command.
	alike := func(ctx context.Context, pairs ...any) (err error) {
		for i := 0; i < len(pairs); i += 2 {
			if e := want(pairs[i], do(ctx, pairs[i+1].([]string)...)); e != nil {
				err = errors.Join(err, fmt.Errorf("%v: %w", pairs[i+1], e))
			}
		}
		return err
	}
	type cmd = []string
	perProto := func(two, three any) any {
		if t.Proto == 2 {
			return two
		}
		return three
	}
	say.check("connect", func(ctx context.Context) error { return alike(ctx, "PONG", cmd{"PING"}) })
	say.check("strings", func(ctx context.Context) error {
		return alike(ctx, "OK", cmd{"SET", k("s"), "a\r\n\x00b", "EX", "60"}, "a\r\n\x00b", cmd{"GET", k("s")},
			rueidis.Nil, cmd{"GET", k("none")}, 5, cmd{"INCRBY", k("n"), "5"}, "[5 <nil>]", cmd{"MGET", k("n"), k("none")})
	})
	say.check("hashes", func(ctx context.Context) error {
		return alike(ctx, 2, cmd{"HSET", k("h"), "a", "1", "b", "2"}, perProto("[a 1 b 2]", "map[a:1 b:2]"), cmd{"HGETALL", k("h")})
	})
	say.check("lists", func(ctx context.Context) error {
		return alike(ctx, 3, cmd{"RPUSH", k("l"), "a", "b", "c"}, "[a b c]", cmd{"LRANGE", k("l"), "0", "-1"}, "a", cmd{"LPOP", k("l")})
	})
	say.check("sets", func(ctx context.Context) error {
		return alike(ctx, 2, cmd{"SADD", k("set"), "a", "b"}, "[1 0]", cmd{"SMISMEMBER", k("set"), "a", "z"}, 2, cmd{"SCARD", k("set")})
	})
	say.check("zsets", func(ctx context.Context) error {
		return alike(ctx, 2, cmd{"ZADD", k("z"), "1.5", "a", "-1", "b"},
			perProto("[b -1 a 1.5]", "[[b -1] [a 1.5]]"), cmd{"ZRANGE", k("z"), "0", "-1", "WITHSCORES"}, 1, cmd{"ZRANK", k("z"), "a"})
	})
	say.check("streams", func(ctx context.Context) error {
		return alike(ctx, "OK", cmd{"XGROUP", "CREATE", k("st"), "g", "$", "MKSTREAM"}, "1-1", cmd{"XADD", k("st"), "1-1", "f", "v"},
			perProto("[["+k("st")+" [[1-1 [f v]]]]]", "map["+k("st")+":[[1-1 [f v]]]]"), cmd{"XREADGROUP", "GROUP", "g", "c", "BLOCK", "1000", "STREAMS", k("st"), ">"},
			1, cmd{"XACK", k("st"), "g", "1-1"})
	})
	say.check("pipeline", func(ctx context.Context) error {
		var cmds []rueidis.Completed
		for i := range 500 {
			cmds = append(cmds, c.B().Set().Key(k("p")).Value(strconv.Itoa(i)).Build(), c.B().Get().Key(k("p")).Build())
		}
		for i, r := range c.DoMulti(ctx, cmds...) {
			s, err := r.ToString()
			if err != nil || i%2 == 1 && s != strconv.Itoa(i/2) {
				return fmt.Errorf("reply %d: %s %w", i, s, err)
			}
		}
		return nil
	})
	say.check("transaction", func(ctx context.Context) error { return rueidisTransactions(ctx, c, k("tx")) })
	say.check("script", func(ctx context.Context) error {
		s := rueidis.NewLuaScript("return redis.call('INCRBY', KEYS[1], ARGV[1]) -- " + t.Prefix)
		first, err := s.Exec(ctx, c, []string{k("sc")}, []string{"3"}).ToInt64()
		return errors.Join(err, want(3, first))
	})
	say.check("blocking", func(ctx context.Context) error {
		got := make(chan []string, 1)
		go func() {
			list, _ := c.Do(ctx, c.B().Blpop().Key(k("bl")).Timeout(10).Build()).AsStrSlice()
			got <- list
		}()
		time.Sleep(50 * time.Millisecond)
		return errors.Join(alike(ctx, 1, cmd{"RPUSH", k("bl"), "x"}), want([]string{k("bl"), "x"}, <-got),
			want(rueidis.Nil, c.Do(ctx, c.B().Blpop().Key(k("bl")).Timeout(0.1).Build()).Error()))
	})
	say.check("pubsub", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		heard := ""
		go func() {
			for ctx.Err() == nil {
				c.Do(ctx, c.B().Publish().Channel(k("ch")).Message("hello").Build())
				time.Sleep(20 * time.Millisecond)
			}
		}()
		_ = c.Receive(ctx, c.B().Subscribe().Channel(k("ch")).Build(), func(m rueidis.PubSubMessage) { heard = m.Message; cancel() })
		return want("hello", heard)
	})
	say.check("scan", func(ctx context.Context) error {
		found := map[string]bool{}
		for i := range 200 {
			do(ctx, "SET", k("scan")+strconv.Itoa(i), "x")
		}
		for _, n := range rueidisMasters(ctx, c) {
			for cursor := uint64(0); ; {
				e, err := n.Do(ctx, n.B().Scan().Cursor(cursor).Match(k("scan")+"*").Count(20).Build()).AsScanEntry()
				if err != nil {
					return err
				}
				for _, key := range e.Elements {
					found[key] = true
				}
				if cursor = e.Cursor; cursor == 0 {
					break
				}
			}
		}
		return want(200, len(found))
	})
	if t.Proto == 2 {
		say.say("lacks caching in RESP2")
		return
	}
	say.check("caching", func(ctx context.Context) error { return rueidisCaching(ctx, c, t, k("cached")) })
}

func arbitrary(c rueidis.Client, words []string) rueidis.Completed {
	b := c.B().Arbitrary(words[0])
	for i, w := range words[1:] {
		if len(w) > 0 && w[0] == '{' { // our keys begin so
			b = b.Keys(w)
		} else {
			b = b.Args(words[1+i])
		}
	}
	switch words[0] {
	case "XREADGROUP", "BLPOP":
		return b.Blocking()
	}
	return b.Build()
}

// rueidisMasters are the nodes to scan: the ones with slots, or the one there is.
func rueidisMasters(ctx context.Context, c rueidis.Client) (list []rueidis.Client) {
	for _, n := range c.Nodes() {
		if info, err := n.Do(ctx, n.B().Role().Build()).ToArray(); err == nil {
			if role, _ := info[0].ToString(); role == "master" {
				return []rueidis.Client{n}
			}
		}
		list = append(list, n)
	}
	return list
}

func rueidisTransactions(ctx context.Context, c rueidis.Client, key string) error {
	c.Do(ctx, c.B().Set().Key(key).Value("1").Build())
	try := func(disturb bool) (err error) {
		return c.Dedicated(func(d rueidis.DedicatedClient) error {
			if err := d.Do(ctx, d.B().Watch().Key(key).Build()).Error(); err != nil {
				return err
			}
			if disturb {
				c.Do(ctx, c.B().Incr().Key(key).Build())
			}
			replies := d.DoMulti(ctx, d.B().Multi().Build(), d.B().Set().Key(key).Value("mine").Build(), d.B().Exec().Build())
			return replies[2].Error()
		})
	}
	lost, won := try(true), try(false)
	got, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
	return errors.Join(want(true, rueidis.IsRedisNil(lost)), won, err, want("mine", got))
}

// rueidisCaching: the second read comes from the client's cache, and a write by somebody
// else, on another node if possible, takes it out.
func rueidisCaching(ctx context.Context, c rueidis.Client, t target, key string) error {
	writer, err := openRueidis(t, t.Addrs[len(t.Addrs)-1])
	if err != nil {
		return err
	}
	defer writer.Close()
	set := func(v string) error { return writer.Do(ctx, writer.B().Set().Key(key).Value(v).Build()).Error() }
	get := func() rueidis.RedisResult { return c.DoCache(ctx, c.B().Get().Key(key).Cache(), time.Minute) }
	if err := set("1"); err != nil {
		return err
	}
	// The node may apply the write after the key is tracked and before it is read: then
	// the first read's value is invalidated, as it would be if it were older.
	if err := await(5*time.Second, func() bool { return get().IsCacheHit() }); err != nil {
		return fmt.Errorf("no hit: %w", err)
	}
	v, err := get().ToString()
	if err := errors.Join(err, want("1", v), set("2")); err != nil {
		return err
	}
	return await(5*time.Second, func() bool {
		v, _ := get().ToString()
		return v == "2"
	})
}

type rueidisOps struct{ c rueidis.Client }

func (o rueidisOps) push(ctx context.Context, key, id string) error {
	return o.c.Do(ctx, o.c.B().Rpush().Key(key).Element(id).Build()).Error()
}

func (o rueidisOps) pop(ctx context.Context, key string) (string, error) {
	got, err := o.c.Do(ctx, o.c.B().Blpop().Key(key).Timeout(1).Build()).AsStrSlice()
	switch {
	case rueidis.IsRedisNil(err):
		return "", nil
	case err != nil:
		return "", err
	}
	return got[1], nil
}

// subscribe begins again when the connection is lost, as users of Receive have to.
func (o rueidisOps) subscribe(ctx context.Context, channel string, heard func(string)) error {
	for ctx.Err() == nil {
		_ = o.c.Receive(ctx, o.c.B().Subscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) { heard(m.Message) })
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}
