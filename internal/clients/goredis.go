package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// goRedis opens go-redis as users do. ClusterStateReloadInterval is the one setting
// away from the defaults: go-redis looks for another master only when that has passed
// (60 s), refused connections or not.
func goRedis(t target, addr string) redis.UniversalClient {
	switch t.Persona {
	case "cluster":
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: t.Addrs, Protocol: t.Proto,
			ClusterStateReloadInterval: time.Second})
	case "sentinel":
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: t.Master, SentinelAddrs: t.Addrs, Protocol: t.Proto})
	}
	return redis.NewClient(&redis.Options{Addr: addr, Protocol: t.Proto})
}

func runGoRedis(t target, say *talk) error {
	var loops []ops
	for i := range t.loops() {
		rdb := goRedis(t, t.Addrs[i])
		defer rdb.Close()
		loops = append(loops, goRedisOps{rdb})
		if i == 0 {
			goRedisChecks(rdb, t, say)
		}
	}
	say.runLoad(t, loops)
	return nil
}

// want is an error unless the two print alike.
func want(expected, got any) error {
	if a, b := fmt.Sprint(expected), fmt.Sprint(got); a != b {
		return fmt.Errorf("expected %s, got %s", a, b)
	}
	return nil
}

func goRedisChecks(rdb redis.UniversalClient, t target, say *talk) {
	k := func(name string) string { return t.Prefix + ":" + name }
	say.check("connect", func(ctx context.Context) error { return rdb.Ping(ctx).Err() })
	say.check("strings", func(ctx context.Context) error {
		return errors.Join(
			want("OK", rdb.Set(ctx, k("s"), "a\r\n\x00b", time.Minute).Val()),
			want("a\r\n\x00b", rdb.Get(ctx, k("s")).Val()),
			want(redis.Nil, rdb.Get(ctx, k("none")).Err()),
			want(5, rdb.IncrBy(ctx, k("n"), 5).Val()),
			want(7.5, rdb.IncrByFloat(ctx, k("n"), 2.5).Val()),
			want("[7.5 <nil>]", rdb.MGet(ctx, k("n"), k("none")).Val()),
			want(true, rdb.TTL(ctx, k("s")).Val() > 50*time.Second),
			want("7.5", rdb.GetDel(ctx, k("n")).Val()))
	})
	say.check("big", func(ctx context.Context) error {
		big := strings.Repeat("0123456789", 300_000)
		return errors.Join(rdb.Set(ctx, k("big"), big, 0).Err(), want(true, rdb.Get(ctx, k("big")).Val() == big))
	})
	say.check("hashes", func(ctx context.Context) error {
		return errors.Join(
			want(2, rdb.HSet(ctx, k("h"), "a", 1, "b", 2).Val()),
			want("map[a:1 b:2]", rdb.HGetAll(ctx, k("h")).Val()),
			want(6, rdb.HIncrBy(ctx, k("h"), "a", 5).Val()),
			want("[6 <nil>]", rdb.HMGet(ctx, k("h"), "a", "z").Val()))
	})
	say.check("lists", func(ctx context.Context) error {
		return errors.Join(
			want(3, rdb.RPush(ctx, k("l"), "a", "b", "c").Val()),
			want("[a b c]", rdb.LRange(ctx, k("l"), 0, -1).Val()),
			want("c", rdb.LMove(ctx, k("l"), k("l2"), "right", "left").Val()),
			want("a", rdb.LPop(ctx, k("l")).Val()))
	})
	say.check("sets", func(ctx context.Context) error {
		return errors.Join(
			want(2, rdb.SAdd(ctx, k("set"), "a", "b", "a").Val()),
			want("map[a:{} b:{}]", rdb.SMembersMap(ctx, k("set")).Val()),
			want("[true false]", rdb.SMIsMember(ctx, k("set"), "a", "z").Val()))
	})
	say.check("zsets", func(ctx context.Context) error {
		return errors.Join(
			want(2, rdb.ZAdd(ctx, k("z"), redis.Z{Score: 1.5, Member: "a"}, redis.Z{Score: -1, Member: "b"}).Val()),
			want("[{-1 b} {1.5 a}]", rdb.ZRangeWithScores(ctx, k("z"), 0, -1).Val()),
			want(1, rdb.ZRank(ctx, k("z"), "a").Val()),
			want("[{-1 b}]", rdb.ZPopMin(ctx, k("z")).Val()))
	})
	say.check("streams", func(ctx context.Context) error { return goRedisStreams(ctx, rdb, k("st")) })
	say.check("pipeline", func(ctx context.Context) error {
		cmds, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 500 {
				p.Set(ctx, k("p"), i, 0)
				p.Get(ctx, k("p"))
			}
			return nil
		})
		for i := 1; i < len(cmds) && err == nil; i += 2 {
			err = want(i/2, cmds[i].(*redis.StringCmd).Val())
		}
		return err
	})
	say.check("transaction", func(ctx context.Context) error { return goRedisTransactions(ctx, rdb, k("tx")) })
	say.check("script", func(ctx context.Context) error {
		s := redis.NewScript("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1]), '" + t.Prefix + "'}") // unheard of: EVALSHA, NOSCRIPT, EVAL
		return errors.Join(
			want(fmt.Sprintf("[%s 3 %s]", k("sc"), t.Prefix), s.Run(ctx, rdb, []string{k("sc")}, 3).Val()),
			want(fmt.Sprintf("[%s 6 %s]", k("sc"), t.Prefix), s.EvalSha(ctx, rdb, []string{k("sc")}, 3).Val()))
	})
	say.check("blocking", func(ctx context.Context) error {
		got := make(chan []string, 1)
		go func() { got <- rdb.BLPop(ctx, 10*time.Second, k("bl")).Val() }()
		time.Sleep(50 * time.Millisecond)
		return errors.Join(
			rdb.RPush(ctx, k("bl"), "x").Err(),
			want([]string{k("bl"), "x"}, <-got),
			want(redis.Nil, rdb.BLPop(ctx, time.Second, k("bl")).Err()))
	})
	say.check("pubsub", func(ctx context.Context) error {
		s := rdb.Subscribe(ctx, k("ch"))
		defer s.Close()
		if _, err := s.Receive(ctx); err != nil {
			return err
		}
		if err := rdb.Publish(ctx, k("ch"), "hello").Err(); err != nil {
			return err
		}
		m, err := s.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		return want("hello", m.Payload)
	})
	say.check("scan", func(ctx context.Context) error { return goRedisScan(ctx, rdb, k("scan")) })
	say.say("lacks caching no client-side cache of its own")
}

func goRedisStreams(ctx context.Context, rdb redis.UniversalClient, key string) error {
	if err := rdb.XGroupCreateMkStream(ctx, key, "g", "$").Err(); err != nil {
		return err
	}
	id := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []any{"f", "v"}}).Val()
	got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Block: time.Second}).Result()
	if err != nil || len(got) != 1 || len(got[0].Messages) != 1 {
		return fmt.Errorf("XREADGROUP: %v %w", got, err)
	}
	info := rdb.XInfoStreamFull(ctx, key, 10).Val()
	return errors.Join(
		want(id, got[0].Messages[0].ID), want("map[f:v]", got[0].Messages[0].Values),
		want(1, rdb.XPending(ctx, key, "g").Val().Count),
		want(1, len(info.Groups)),
		want(1, rdb.XAck(ctx, key, "g", id).Val()),
		want(1, rdb.XLen(ctx, key).Val()))
}

func goRedisTransactions(ctx context.Context, rdb redis.UniversalClient, key string) error {
	cmds, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key, 1, 0)
		p.Incr(ctx, key)
		return nil
	})
	if err != nil {
		return err
	}
	set := func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, key, "mine", 0).Err() })
		return err
	}
	return errors.Join(
		want(2, cmds[1].(*redis.IntCmd).Val()),
		want(redis.TxFailedErr, rdb.Watch(ctx, func(tx *redis.Tx) error {
			return errors.Join(rdb.Incr(ctx, key).Err(), set(tx))
		}, key)),
		rdb.Watch(ctx, set, key),
		want("mine", rdb.Get(ctx, key).Val()))
}

func goRedisScan(ctx context.Context, rdb redis.UniversalClient, prefix string) error {
	for i := range 300 {
		if err := rdb.Set(ctx, fmt.Sprint(prefix, i), i, 0).Err(); err != nil {
			return err
		}
	}
	found := map[string]bool{}
	each := func(ctx context.Context, c *redis.Client) error {
		it := c.Scan(ctx, 0, prefix+"*", 20).Iterator()
		for it.Next(ctx) {
			found[it.Val()] = true
		}
		return it.Err()
	}
	var err error
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, each)
	case *redis.Client:
		err = each(ctx, c)
	}
	return errors.Join(err, want(300, len(found)))
}

type goRedisOps struct{ rdb redis.UniversalClient }

func (o goRedisOps) push(ctx context.Context, key, id string) error {
	return o.rdb.RPush(ctx, key, id).Err()
}

func (o goRedisOps) pop(ctx context.Context, key string) (string, error) {
	got, err := o.rdb.BLPop(ctx, time.Second, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return got[1], nil
}

func (o goRedisOps) subscribe(ctx context.Context, channel string, heard func(string)) error {
	s := o.rdb.Subscribe(ctx, channel)
	defer s.Close()
	for messages := s.Channel(); ; {
		select {
		case m := <-messages:
			heard(m.Payload)
		case <-ctx.Done():
			return nil
		}
	}
}
