package kv

import (
	"bufio"
	"fmt"
	"math/rand"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// notifyCommands are what the events of rkv and Redis are compared by. K is a key, N a
// small number, M a member, a/b one of the words. Most commands often do nothing: that
// they are silent then is what is tested.
var notifyCommands = strings.Split(strings.TrimSpace(`
set K 1
set K x ex 100
set K 2 nx/xx
set K 3 get
set K 3 keepttl
setnx K 1
setex K 100 v
getset K 1
getdel K
getex K
getex K ex 100
getex K persist
getex K exat 1
append K 1
setrange K 2 z
setrange K 0 z
incr K
decrby K 2
incrbyfloat K 1.5
mset K 1 K 2
msetnx K 1 K 2
setbit K 3 0/1
bitop and/or K K K
bitop not K K
bitfield K set u8 0 5 incrby u8 0 1
bitfield K get u8 0
del K K
unlink K
expire K 100
expire K -1
pexpire K 100000 nx
expireat K 1
persist K
rename K K
renamenx K K
copy a b
copy a b replace
copy c d replace
move K 1
lpush K M M
rpush K M
lpushx K M
lpop K
rpop K 2
lset K N M
linsert K before M M
lrem K N M
ltrim K N N
rpoplpush K K
lmove K K left/right left/right
lmpop 2 K K left count 2
sadd K M M
srem K M M
spop K
spop K 2
smove K K M
sinterstore K K K
sunionstore K K K
sdiffstore K K K
hset K M 1 M 2
hsetnx K M 1
hdel K M M
hincrby K M 2
hincrbyfloat K M 1.5
zadd K N M N M
zadd K incr N M
zadd K nx/xx N M
zadd K gt/lt ch N M
zincrby K N M
zrem K M M
zremrangebyscore K N N
zremrangebyrank K N N
zremrangebylex K - [x
zpopmin K
zpopmax K 2
zmpop 2 K K min count 2
zunionstore K 2 K K
zinterstore K 2 K K
zdiffstore K 2 K K
zrangestore K K 0 1
geoadd K 1 2 M
geosearchstore K K fromlonlat 1 2 byradius 100 km
georadius K 1 2 100 km store K
pfadd K M
pfmerge K K
sort K alpha store K
xadd K * f v
xadd K maxlen 2 * f v
xadd K nomkstream * f v
xtrim K maxlen 1
xdel K 0-1
xsetid K 99999999999999-1
xgroup create K g 0 mkstream
xgroup create K g2 $
xgroup createconsumer K g c1
xgroup delconsumer K g c1
xgroup setid K g 0
xgroup destroy K g
xreadgroup group g c2 count 1 streams K >
get K
mget K K
exists K K
ttl K
type K
lrange K 0 -1
smembers K
sinter K K
hgetall K
zrange K 0 -1
zunion 2 K K
object encoding K
dump K
xrange K - +
eval return(redis.call('get',KEYS[1])) 1 K
eval return(redis.call('incr',KEYS[1])) 1 K
flushdb
`), "\n")

func notifyCommand(r *rand.Rand) []string {
	args := strings.Fields(notifyCommands[r.Intn(len(notifyCommands))])
	for i, a := range args {
		switch {
		case a == "K":
			args[i] = randomKeys[r.Intn(len(randomKeys))]
		case a == "N":
			args[i] = fmt.Sprint(r.Intn(9) - 3)
		case a == "M":
			args[i] = string("wxyz"[r.Intn(4)])
		case strings.Contains(a, "/") && i > 0:
			words := strings.Split(a, "/")
			args[i] = words[r.Intn(len(words))]
		}
	}
	return args
}

// TestEventsAgainstRedis sends the same random commands to rkv and a real redis-server
// and compares the keyspace events of each.
func TestEventsAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	heard := redis.subscribe(t, "__keyevent@*", "fence")
	redis.do(t, "config", "set", "notify-keyspace-events", "EAmn")
	n := newTestNode(t)
	doAll(n, []string{"config", "set", "notify-keyspace-events", "EAmn"})
	l := listen(n, EffectEvent)
	r := rand.New(rand.NewSource(7))
	total := 0
	for i := range 12_000 {
		args := notifyCommand(r)
		if i%30 == 0 {
			args = append([]string{"del"}, randomKeys...)
		}
		n.now = time.Now().UnixMilli()
		redis.do(t, args...)
		got := events(n, l, args)
		redis.do(t, "publish", "fence", "")
		want := heard()
		if args[0] == "xreadgroup" { // asking makes the consumer, as in Redis 7.2 (docs/divergence.md)
			made := func(line string) bool { return strings.Contains(line, "xgroup-createconsumer") }
			want, got = slices.DeleteFunc(want, made), slices.DeleteFunc(got, made)
		}
		require.Equal(t, append([]string{}, want...), append([]string{}, got...), "command %d: %q", i, args)
		total += len(want)
		if args[0] == "spop" { // the two choose differently
			redis.do(t, "del", args[1])
			doAll(n, []string{"del", args[1]})
			redis.do(t, "publish", "fence", "")
			heard()
			l.take()
		}
	}
	require.Greater(t, total, 8_000)
}

// events runs the command and lists its events as Redis publishes them.
func events(n *testNode, l *fxLog, args []string) (list []string) {
	var c Chunk
	addCommand(&c, args...)
	n.run(&c)
	for _, m := range c.Misses {
		list = append(list, fmt.Sprintf("__keyevent@%d__:keymiss %s", m.DB, m.Key))
	}
	for _, line := range l.take() {
		f := strings.Fields(line)
		list = append(list, fmt.Sprintf("__keyevent@%s__:%s %s", f[1], f[2], f[3]))
	}
	return list
}

// subscribe opens a connection that listens; the result collects what came before the
// next message to the fence.
func (r *redisServer) subscribe(t *testing.T, pattern, fence string) func() []string {
	conn, err := net.Dial("unix", r.conn.RemoteAddr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	sub := &redisServer{conn: conn, in: bufio.NewReader(conn)}
	sub.do(t, "psubscribe", pattern)
	sub.do(t, "subscribe", fence)
	return func() (list []string) {
		for {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			var raw []byte
			require.NoError(t, readReply(sub.in, &raw))
			parts := strings.Split(string(raw), "\r\n")
			if slices.Contains(parts, fence) {
				return list
			}
			list = append(list, parts[6]+" "+parts[8])
		}
	}
}
