package sim

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"

	"github.com/rkvdb/rkv/kv"
)

// Scripts and functions: they write, draw, ask for the time, fail in the middle, and some
// want to grow without bound. Whatever they do, they do it alike on all nodes and in the
// replay.
var scripts = []string{
	"return redis.call('incrby',KEYS[1],ARGV[1])",
	"redis.call('rpush',KEYS[2],ARGV[2]) redis.call('ltrim',KEYS[2],-50,-1) return redis.call('llen',KEYS[2])",
	"local t=redis.call('time') redis.call('set',KEYS[1],t[1]) return t",
	"redis.call('set',KEYS[1],math.random(1000000)) return math.random()",
	"redis.call('sadd',KEYS[3],ARGV[1],ARGV[2],'a','b') return {redis.call('spop',KEYS[3]),redis.call('srandmember',KEYS[3])}",
	"local s='' for k,v in pairs({a=1,b=2,c=3,[1]=4,[2.5]=5}) do s=s..tostring(k)..v end redis.call('set',KEYS[1],s) return s",
	"redis.call('set',KEYS[1],'half') return redis.call('incr',KEYS[1])", // fails half-way
	"local r=redis.pcall('lpush',KEYS[1],'x') redis.call('set',KEYS[1],type(r)) return r",
	"return redis.call('xadd',KEYS[4],'*','f',ARGV[2])",
	"return {1.5,'%.14g',tostring(3.14159),tostring(1e100),cjson.encode({1,2,{a=ARGV[2]}}),redis.sha1hex(ARGV[2])}",
	"redis.call('hset',KEYS[5],ARGV[1],struct.pack('>I2s',7,ARGV[2])) return redis.call('hgetall',KEYS[5])",
	"redis.call('set',KEYS[1],cmsgpack.pack({1,2,3,ARGV[2]})) return redis.call('strlen',KEYS[1])",
	"redis.call('zadd',KEYS[6],ARGV[1],ARGV[2]) return redis.call('zrange',KEYS[6],0,-1,'withscores')",
	"redis.call('set',KEYS[1],'v','px',50) return redis.call('pttl',KEYS[1])",
	"return redis.call('nosuch')",
	"return redis.error_reply('MINE '..ARGV[2])",
	"if redis.call('exists',KEYS[1])==0 then return redis.status_reply('none') end return redis.call('del',KEYS[1])",
}

// bombs must end by the meter, in the same place on all nodes. One is dear: every node,
// every restart and the replay pay its whole budget, so they are rare.
var bombs = []string{
	"local s='x' for i=1,60 do s=s..s end redis.call('set',KEYS[1],s) return #s",
	"local function f(n) return 1+f(n+1) end redis.call('set',KEYS[1],'before') return f(1)",
	"redis.call('set',KEYS[1],'before') return string.rep('x',1e10)",
	"local t={} redis.call('set',KEYS[1],'before') for i=1,1e9 do t[i]={i} end",
	"return string.find(string.rep('a',30000),string.rep('a?',30000)..string.rep('a',30000))",
	"local t={} t[1]=t return cjson.encode(t)",
	"local t={} for i=1,200 do t={t} end return t",
}

const library = "#!lua name=lib%d\n" +
	"redis.register_function('w%d',function(k,a) redis.call('incr',k[1]) return redis.call('append',k[1],a[1]) end)\n" +
	"redis.register_function{function_name='r%d',callback=function(k,a) return redis.call('get',k[1]) end,flags={'no-writes'}}"

func (c *client) script() {
	w := c.w
	keys := []string{fmt.Sprintf("x%d", w.rng.IntN(3)), "xl", "xs", "xm", "xh", "xz"}
	args := []string{fmt.Sprint(w.rng.IntN(20)), c.unique()}
	words := func(first ...string) (all [][]byte) {
		for _, list := range [][]string{first, {fmt.Sprint(len(keys))}, keys, args} {
			for _, s := range list {
				all = append(all, []byte(s))
			}
		}
		return all
	}
	n := w.rng.IntN(3)
	var argv [][]byte
	switch w.rng.IntN(12) {
	case 0:
		argv = [][]byte{[]byte("function"), []byte("load"), []byte("replace"), fmt.Appendf(nil, library, n, n, n)}
		if w.chance(0.2) {
			argv = [][]byte{[]byte("function"), []byte("delete"), fmt.Appendf(nil, "lib%d", n)}
		}
	case 1, 2:
		argv = words("fcall", fmt.Sprintf("w%d", n))
	case 3:
		argv = words("fcall_ro", fmt.Sprintf("r%d", n))
	case 4:
		argv = words("eval_ro", "return {redis.call('get',KEYS[1]),redis.call('lrange',KEYS[2],0,-1),#ARGV}")
	case 5:
		argv = words("evalsha", sha1hex(pick(w.rng, scripts)))
	case 6:
		if w.chance(0.02) {
			w.hit("hostile script")
			argv = words("eval", pick(w.rng, bombs))
			break
		}
		fallthrough
	default:
		argv = words("eval", pick(w.rng, scripts))
	}
	cmd := command(argv)
	w.stats.Commands[cmd.Name]++
	read := cmd.Script && cmd.Flags&kv.FlagReadonly != 0
	c.do(&op{read: read, build: func(ch *kv.Chunk) { appendCommand(ch, dbMess, cmd, argv) }})
}

func sha1hex(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}
