package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// conversations are what a client may say in one write. KEY is a prefix of its own.
var conversations = map[string]string{
	"strings": `SET KEYa 1|INCR KEYa|GET KEYa|APPEND KEYa x|INCR KEYa|GETRANGE KEYa 0 0|SETRANGE KEYa 5 y|GET KEYa|
		GETSET KEYa z|SET KEYa v NX|SET KEYa v XX GET|GETDEL KEYa|GET KEYa|MSET KEYa 1 KEYb 2|MGET KEYa KEYb KEYc|
		SET KEYa v PX 100000|EXISTS KEYa KEYa|TYPE KEYa|PERSIST KEYa|TTL KEYa|EXPIRE KEYa notanumber|SET KEYa`,
	"hashes": `HSET KEYh a 1 b 2|HGETALL KEYh|HINCRBYFLOAT KEYh a 1.5|HMGET KEYh a z|HEXPIRE KEYh 1000 FIELDS 2 a z|
		HRANDFIELD KEYh 0|HDEL KEYh a b|EXISTS KEYh|GET KEYh|HSET KEYh a`,
	"lists": `RPUSH KEYl a b c|LRANGE KEYl 0 -1|LPOS KEYl b|LMOVE KEYl KEYm LEFT RIGHT|LINSERT KEYl BEFORE c x|LSET KEYl 9 x|
		LMPOP 2 KEYn KEYl LEFT COUNT 2|LLEN KEYl|HGET KEYl a`,
	"sets": `SADD KEYs a b c|SISMEMBER KEYs a|SMISMEMBER KEYs a z|SCARD KEYs|SINTERCARD 2 KEYs KEYt|SREM KEYs a b|SMEMBERS KEYs|
		SDIFFSTORE KEYu KEYs KEYt|SPOP KEYs 0`,
	"zsets": `ZADD KEYz 1.5 a -inf b 3 c|ZRANGE KEYz 0 -1 WITHSCORES|ZSCORE KEYz b|ZRANK KEYz c WITHSCORE|ZADD KEYz INCR 2 a|
		ZRANGEBYSCORE KEYz (1 +inf LIMIT 0 1|ZPOPMIN KEYz 2|ZADD KEYz NX XX 1 a|ZMPOP 1 KEYz MAX|ZRANDMEMBER KEYz`,
	"streams": `XADD KEYx 1-1 f v|XADD KEYx 1-1 f v|XGROUP CREATE KEYx g 0|XREADGROUP GROUP g c COUNT 1 STREAMS KEYx >|XPENDING KEYx g|
		XACK KEYx g 1-1|XRANGE KEYx - +|XLEN KEYx|XREAD STREAMS KEYx 0|XINFO STREAM KEYx|XREADGROUP GROUP none c STREAMS KEYx >`,
	"multi": `MULTI|SET KEYa 1|INCR KEYa|GET KEYa|PING|SELECT 1|SET KEYa other|SELECT 0|GET KEYa|EXEC|
		MULTI|SET KEYa|EXEC|MULTI|INCR KEYa|DISCARD|GET KEYa|EXEC|DISCARD|MULTI|MULTI|EXEC|
		MULTI|LPUSH KEYa x|INCR KEYa|EXEC|MULTI|BLPOP KEYnone 0|EVAL "return redis.call('incr',KEYS[1])" 1 KEYa|EXEC`,
	"watch": `SET KEYw 1|WATCH KEYw|MULTI|INCR KEYw|EXEC|WATCH KEYw|SET KEYw 5|MULTI|INCR KEYw|EXEC|GET KEYw|
		WATCH KEYw|UNWATCH|SET KEYw 6|MULTI|INCR KEYw|EXEC|WATCH KEYnone|SET KEYnone 1|MULTI|PING|EXEC|MULTI|WATCH KEYw|EXEC`,
	"scripts": `EVAL "return {1,'a',false,{true}}" 0|EVAL "redis.setresp(3) return redis.call('hgetall',KEYS[1])" 1 KEYh|
		EVAL "redis.call('set',KEYS[1],ARGV[1]) return redis.call('get',KEYS[1])" 1 KEYa v|EVALSHA 0000000000000000000000000000000000000000 0|
		EVAL "return redis.error_reply('MY err')" 0|EVAL "return redis.call('lpush',KEYS[1],1)" 1 KEYa|EVAL "return redis.pcall('lpush',KEYS[1],1)" 1 KEYa|
		SCRIPT LOAD "return 'loaded'"|EVALSHA 02a01a8fd4a6b5b7d69ed82ee4f2a8dfe6bdb8f7 0|SCRIPT EXISTS 0000000000000000000000000000000000000000|
		EVAL_RO "return redis.call('set',KEYS[1],1)" 1 KEYa|EVAL "return cjson.encode({a=1})" 0|EVAL "syntax(" 0|EVAL "return redis.call('nonsense')" 0`,
	"blocking": `BLPOP KEYq 0.05|RPUSH KEYq a b c d|BLPOP KEYp KEYq 1|BRPOP KEYq 1|BLMOVE KEYq KEYr LEFT RIGHT 1|BLMPOP 1 1 KEYq LEFT|BZPOPMIN KEYz2 0.05|
		BLPOP KEYq -1|BLPOP KEYq x|XREAD BLOCK 20 STREAMS KEYnone $|PING after`,
	"connection": `PING|PING hello|ECHO x|SELECT 99|SELECT 3|SET KEYa 1|SELECT 0|GET KEYa|CLIENT SETNAME me|CLIENT GETNAME|CLIENT NO-TOUCH ON|CLIENT NO-EVICT ON|
		CLIENT REPLY SKIP|SET KEYa 5|GET KEYa|CLIENT TRACKING ON|CLIENT TRACKING OFF|CLIENT TRACKINGINFO|CLIENT KILL ID 999999|CLIENT UNBLOCK 99999|
		OBJECT ENCODING KEYa|OBJECT HELP|COMMAND COUNT|COMMAND GETKEYS SET k v|nonsense a b|GET|RESET|GET KEYa`,
	"readonly": `SET KEYa 1|READONLY|GET KEYa|SET KEYa 2|GET KEYa|CLIENT STALENESS 100|INCR KEYa|GET KEYa|READWRITE|GET KEYa|WAIT 2 10000`,
	"geo and bits": `GEOADD KEYg 13.361389 38.115556 Palermo 15.087269 37.502669 Catania|GEODIST KEYg Palermo Catania km|GEOSEARCH KEYg FROMMEMBER Palermo BYRADIUS 200 km ASC WITHDIST|
		SETBIT KEYbit 7 1|BITCOUNT KEYbit|BITFIELD KEYbit INCRBY u4 0 15 OVERFLOW FAIL INCRBY u4 0 15|PFADD KEYpf a b|PFCOUNT KEYpf|SORT KEYl ALPHA|COPY KEYbit KEYbit2|RENAME KEYbit2 KEYbit3|DUMP KEYnone`,
	"pubsub": `SUBSCRIBE KEYch KEYch2|PSUBSCRIBE KEYp*|PUBLISH KEYch x|UNSUBSCRIBE|PUNSUBSCRIBE|PUBLISH KEYnobody x|PUBSUB NUMSUB KEYch|SSUBSCRIBE KEYsh|SUNSUBSCRIBE KEYsh|GET KEYa`,
}

// Through a follower everything is answered as through the leader: bytes for bytes, in
// one pipeline and command by command, in both protocols.
func TestFollowerAnswersAsTheLeader(t *testing.T) {
	c := startCluster(t, 3)
	leader, follower := c.leader(), c.followers()[0]
	for name, text := range conversations {
		for _, proto := range []string{"2", "3"} {
			for _, atOnce := range []bool{true, false} {
				if name == "pubsub" && !atOnce {
					continue // a command may have several replies
				}
				t.Run(fmt.Sprintf("%s/RESP%s/pipelined=%v", name, proto, atOnce), func(t *testing.T) {
					lines := append([]string{"HELLO " + proto}, strings.Split(text, "|")...)
					if name == "pubsub" && proto == "2" {
						lines = lines[:6] // then it may only listen
					}
					a := converse(t, leader.addr, lines, "key:l:", atOnce)
					b := converse(t, follower.addr, lines, "key:f:", atOnce)
					require.Equal(t, likewise(a), likewise(b))
				})
			}
		}
	}
	c.sameDigests()
}

// likewise hides what is bound to differ: ids, roles.
func likewise(replies string) string {
	replies = strings.ReplaceAll(replies, "key:f:", "key:l:")
	replies = regexp.MustCompile(`(\$2\r\nid\r\n):\d+`).ReplaceAllString(replies, "$1:0")
	return regexp.MustCompile(`\$\d\r\n(master|replica)\r\n`).ReplaceAllString(replies, "ROLE")
}

func converse(t *testing.T, addr string, lines []string, prefix string, atOnce bool) string {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	r := bufio.NewReader(conn)
	kind := "n"
	if atOnce {
		kind = "p"
	}
	var all bytes.Buffer
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
		fmt.Fprintf(&all, "%s\r\n", strings.ReplaceAll(lines[i], "KEY", prefix+kind+lines[0][6:]))
	}
	if atOnce {
		const mark = "that-was-all"
		_, err = conn.Write(append(all.Bytes(), "PING "+mark+"\r\n"...))
		require.NoError(t, err)
		return until(t, r, mark)
	}
	var replies strings.Builder
	last := ""
	for line := range strings.Lines(all.String()) {
		_, err = io.WriteString(conn, line)
		require.NoError(t, err)
		if !strings.HasPrefix(line, "CLIENT REPLY SKIP") && !strings.HasPrefix(last, "CLIENT REPLY SKIP") {
			replies.WriteString(line + oneReply(t, r))
		}
		last = line
	}
	return replies.String()
}

// until reads lines up to the one that is the mark.
func until(t *testing.T, r *bufio.Reader, mark string) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err, "after %q", b.String())
		if strings.TrimSpace(line) == mark {
			return b.String()
		}
		b.WriteString(line)
	}
}

// oneReply reads one reply as it is.
func oneReply(t *testing.T, r *bufio.Reader) string {
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=':
		if n >= 0 {
			body := make([]byte, n+2)
			_, err := io.ReadFull(r, body)
			require.NoError(t, err)
			line += string(body)
		}
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			line += oneReply(t, r)
		}
	}
	return line
}

// What one node's clients do to another's: values, queues, kills, pauses.
func TestNodesActOnEachOthersClients(t *testing.T) {
	c := startCluster(t, 3)
	ctx := context.Background()
	var rdbs []*redis.Client
	for _, p := range c.nodes {
		rdb := p.client(&redis.Options{ReadTimeout: 20 * time.Second})
		defer rdb.Close()
		rdbs = append(rdbs, rdb)
	}
	big := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB
	for i, rdb := range rdbs {
		require.NoError(t, rdb.Set(ctx, "big", big[i:], 0).Err())
		for _, other := range rdbs {
			require.True(t, other.Get(ctx, "big").Val() == big[i:], "read on every node as written on node %d", i+1)
		}
	}
	for i := range rdbs {
		popper, pusher := rdbs[i].Conn(), rdbs[(i+1)%3]
		id := popper.ClientID(ctx).Val()
		got := make(chan *redis.StringSliceCmd, 1)
		go func() { got <- popper.BLPop(ctx, 15*time.Second, "queue") }()
		waitBlocked(t, rdbs[i], id)
		require.NoError(t, pusher.RPush(ctx, "queue", "x").Err())
		require.Equal(t, []string{"queue", "x"}, (<-got).Val())

		go func() { got <- popper.BLPop(ctx, 15*time.Second, "queue") }()
		waitBlocked(t, rdbs[i], id)
		require.EqualValues(t, 1, pusher.ClientUnblockWithError(ctx, id).Val(), "from another node")
		require.ErrorContains(t, (<-got).Err(), "UNBLOCKED")

		require.EqualValues(t, 1, pusher.Do(ctx, "CLIENT", "KILL", "ID", id).Val(), "from another node")
		require.Eventually(t, func() bool { return popper.Do(ctx, "PING").Err() != nil }, 10*time.Second, time.Millisecond, "it lives")
		_ = popper.Close()
	}
	require.NoError(t, rdbs[2].ConfigSet(ctx, "maxmemory-policy", "allkeys-lru").Err())
	sha := rdbs[0].ScriptLoad(ctx, "return 'here'").Val()
	require.NoError(t, rdbs[1].FunctionLoad(ctx, "#!lua name=lib\nredis.register_function('f', function() return 'there' end)").Err())
	for _, rdb := range rdbs {
		require.Equal(t, "allkeys-lru", rdb.ConfigGet(ctx, "maxmemory-policy").Val()["maxmemory-policy"])
		require.Equal(t, "here", rdb.EvalSha(ctx, sha, nil).Val())
		require.Equal(t, "there", rdb.FCall(ctx, "f", nil).Val())
	}
}

func waitBlocked(t *testing.T, rdb *redis.Client, id int64) {
	require.Eventually(t, func() bool {
		return strings.Contains(rdb.Do(context.Background(), "CLIENT", "LIST", "ID", id).String(), "flags=b")
	}, 10*time.Second, 5*time.Millisecond)
}

// A reader with a bound, through a follower, sees nothing older than the bound, never goes
// back, and is refused when the follower is cut off for longer.
func TestBoundedStaleness(t *testing.T) {
	c := startCluster(t, 3)
	ctx := context.Background()
	lead, follower := c.leader(), c.followers()[0]
	writer := lead.client(nil)
	defer writer.Close()
	pool := follower.client(&redis.Options{ReadTimeout: 10 * time.Second, MaxRetries: -1})
	defer pool.Close()
	reader := pool.Conn()
	const bound = 400 * time.Millisecond
	require.NoError(t, reader.Do(ctx, "CLIENT", "STALENESS", bound.Milliseconds()).Err())
	type ack struct {
		n  int64
		at time.Time
	}
	var acks []ack
	var last int64
	for n := int64(1); n <= 300; n++ {
		require.NoError(t, writer.Set(ctx, "n", n, 0).Err())
		acks = append(acks, ack{n, time.Now()})
		asked := time.Now()
		got, err := reader.Get(ctx, "n").Int64()
		if !errors.Is(err, redis.Nil) {
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, got, last, "never back in time")
		last = got
		for _, a := range acks {
			if asked.Sub(a.at) > bound {
				require.GreaterOrEqual(t, got, a.n, "older than the bound")
			}
		}
	}
	require.Eventually(t, func() bool { return reader.Get(ctx, "n").Val() == "300" }, 10*time.Second, time.Millisecond)
	for _, p := range c.nodes {
		if p != follower {
			c.signal(p, syscall.SIGSTOP)
			defer c.signal(p, syscall.SIGCONT)
		}
	}
	require.Eventually(t, func() bool {
		err := reader.Get(ctx, "n").Err()
		return err != nil && strings.HasPrefix(err.Error(), "CLUSTERDOWN")
	}, 10*time.Second, 10*time.Millisecond, "it cannot know that nothing newer was written")
	require.NoError(t, reader.Do(ctx, "READONLY").Err())
	require.NoError(t, reader.Do(ctx, "CLIENT", "STALENESS", "ANY").Err())
	require.Equal(t, "300", reader.Get(ctx, "n").Val(), "however old")
}
