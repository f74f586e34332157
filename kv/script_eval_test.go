package kv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What libraries send, in the form they send it.
func TestScriptsOfLibraries(t *testing.T) {
	n := newTestNode(t)
	t.Run("redsync: unlock and extend", func(t *testing.T) {
		unlock := `
	local val = redis.call("GET", KEYS[1])
	if val == ARGV[1] then
		return redis.call("DEL", KEYS[1])
	elseif val == false then
		return -1
	else
		return 0
	end
`
		extend := `
	if redis.call("GET", KEYS[1]) == ARGV[1] then
		return redis.call("PEXPIRE", KEYS[1], ARGV[2])
	else
		return 0
	end
`
		require.Equal(t, "OK", n.do("SET", "lock", "me", "NX", "PX", "8000"))
		require.Equal(t, "(integer) 0", n.do("EVAL", unlock, "1", "lock", "you"))
		require.Equal(t, "(integer) 1", n.do("EVAL", extend, "1", "lock", "me", "9000"))
		require.Equal(t, "(integer) 9000", n.do("PTTL", "lock"))
		require.Equal(t, "(integer) 1", n.do("EVAL", unlock, "1", "lock", "me"))
		require.Equal(t, "(integer) -1", n.do("EVAL", unlock, "1", "lock", "me"))
	})
	t.Run("asynq: enqueue and dequeue", func(t *testing.T) {
		enqueue := `
if redis.call("EXISTS", KEYS[1]) == 1 then
	return 0
end
redis.call("HSET", KEYS[1],
           "msg", ARGV[1],
           "state", "pending",
           "pending_since", ARGV[3])
redis.call("LPUSH", KEYS[2], ARGV[2])
return 1
`
		dequeue := `
if redis.call("EXISTS", KEYS[2]) == 0 then
	local id = redis.call("RPOPLPUSH", KEYS[1], KEYS[3])
	if id then
		local key = ARGV[2] .. id
		redis.call("HSET", key, "state", "active")
		redis.call("HDEL", key, "pending_since")
		redis.call("ZADD", KEYS[4], ARGV[1], id)
		return redis.call("HGET", key, "msg")
	end
end
return nil`
		require.Equal(t, "(integer) 1", n.do("EVAL", enqueue, "2", "asynq:{q}:t:1", "asynq:{q}:pending", "\x0amsg", "1", "1700"))
		require.Equal(t, "(integer) 0", n.do("EVAL", enqueue, "2", "asynq:{q}:t:1", "asynq:{q}:pending", "\x0amsg", "1", "1700"))
		args := []string{"EVAL", dequeue, "4", "asynq:{q}:pending", "asynq:{q}:paused", "asynq:{q}:active", "asynq:{q}:lease", "99", "asynq:{q}:t:"}
		require.Equal(t, `"\nmsg"`, n.do(args...))
		require.Equal(t, "(nil)", n.do(args...))
		require.Equal(t, `"active"`, n.do("HGET", "asynq:{q}:t:1", "state"))
	})
	t.Run("BullMQ: arguments by cmsgpack, results by cjson", func(t *testing.T) {
		pack := n.do("EVAL", `return cmsgpack.pack({"bull:q:", "", 1700, nil})`, "0")
		require.NotContains(t, pack, "error")
		add := `
local jobId
local jobIdKey
local rcall = redis.call
local args = cmsgpack.unpack(ARGV[1])
local data = ARGV[2]
local opts = cmsgpack.unpack(ARGV[3])
local parentKey = args[5]
local jobCounter = rcall("INCR", KEYS[1])
local function getPriorityScore(priority, counter)
  return priority * 0x100000000 + counter % 0x100000000
end
if args[2] == "" then
    jobId = jobCounter
    jobIdKey = args[1] .. jobId
else
    jobId = args[2]
end
local jsonOpts = cjson.encode(opts)
local delay = opts['delay'] or 0
local optionalValues = {}
if parentKey ~= nil then
  table.insert(optionalValues, "parentKey")
  table.insert(optionalValues, parentKey)
end
rcall("HMSET", jobIdKey, "name", args[3] or "j", "data", data, "opts", jsonOpts, "delay", delay, unpack(optionalValues))
rcall("ZADD", KEYS[2], getPriorityScore(opts.priority, jobCounter), jobId)
local decoded = cjson.decode(data)
return {jobId .. "", decoded.x[2], jsonOpts}
`
		args := string(packed(t, n, `{"bull:q:", "", "job", 1700}`))
		opts := string(packed(t, n, `{attempts = 3, priority = 2}`))
		require.Equal(t, "1) \"1\"\n2) (integer) 5\n3) \"{\\\"attempts\\\":3,\\\"priority\\\":2}\"",
			n.do("EVAL", add, "2", "bull:q:id", "bull:q:prioritized", args, `{"x":[4,5]}`, opts))
		require.Equal(t, `"8589934593"`, n.do("ZSCORE", "bull:q:prioritized", "1"))
	})
	t.Run("Sidekiq: fetch due jobs", func(t *testing.T) {
		fetch := `
local key, now = KEYS[1], ARGV[1]
local jobs = redis.call("zrange", key, "-inf", now, "byscore", "limit", 0, 1)
if jobs[1] then
  redis.call("zrem", key, jobs[1])
  return jobs[1]
end
`
		n.do("ZADD", "schedule", "10", "a", "20", "b")
		require.Equal(t, `"a"`, n.do("EVAL", fetch, "1", "schedule", "15"))
		require.Equal(t, "(nil)", n.do("EVAL", fetch, "1", "schedule", "15"))
	})
	t.Run("a rate limiter with the time", func(t *testing.T) {
		limit := `
redis.replicate_commands()
local now = redis.call("TIME")
local us = now[1] * 1000000 + now[2]
redis.call("ZREMRANGEBYSCORE", KEYS[1], 0, us - ARGV[1])
local count = redis.call("ZCARD", KEYS[1])
if count < tonumber(ARGV[2]) then
  redis.call("ZADD", KEYS[1], us, us .. "-" .. math.random())
  redis.call("EXPIRE", KEYS[1], 10)
  return {1, tonumber(ARGV[2]) - count - 1}
end
return {0, 0}`
		require.Equal(t, "1) (integer) 1\n2) (integer) 1", n.do("EVAL", limit, "1", "rate", "1000000", "2"))
		n.tick(1)
		require.Equal(t, "1) (integer) 1\n2) (integer) 0", n.do("EVAL", limit, "1", "rate", "1000000", "2"))
		require.Equal(t, "1) (integer) 0\n2) (integer) 0", n.do("EVAL", limit, "1", "rate", "1000000", "2"))
	})
}

// packed is a table through cmsgpack.pack.
func packed(t *testing.T, n *testNode, table string) []byte {
	t.Helper()
	var c Chunk
	addCommand(&c, "EVAL", "return cmsgpack.pack("+table+")", "0")
	n.run(&c)
	v, _, err := parseValue(c.Reply.Bytes())
	require.NoError(t, err)
	return []byte(v.text)
}

// deterministicScripts leave traces of everything that could differ between nodes.
var deterministicScripts = []string{
	`local t = {} for i = 1, 100 do t["k" .. (i * 7919 % 101)] = i end
	 for k, v in pairs(t) do redis.call("RPUSH", "pairs", k .. "=" .. v) end`,
	`for i = 1, 20 do redis.call("RPUSH", "random", math.random(), math.random(1000)) end`,
	`redis.call("SADD", "s", "a", "b", "c", "d", "e", "f") redis.call("RPUSH", "spop", unpack(redis.call("SPOP", "s", 3)))
	 redis.call("RPUSH", "srand", redis.call("SRANDMEMBER", "s"))`,
	`local t = redis.call("TIME") redis.call("RPUSH", "time", t[1], t[2])`,
	`redis.call("RPUSH", "tostring", tostring({}), tostring(print or type), tostring(function() end), tostring(redis.call), tostring(1/3))`,
	`redis.call("RPUSH", "json", cjson.encode({z = 1, y = 2, x = {3, 4}, w = 1/3, v = "\1"}), cmsgpack.pack({q = 1, p = 2.5}))`,
	`for k in pairs(_G) do redis.call("RPUSH", "globals", k) end for k in pairs(string) do redis.call("RPUSH", "string", k) end`,
	`redis.call("SET", "before", 1) redis.call("INCR", "before") while true do end`,
	`redis.call("SET", "half", 1) error("and then it failed")`,
	`redis.call("RPUSH", "count", collectgarbage("count"), gcinfo())`,
	`redis.call("SET", "exp", "x", "PX", 5) redis.call("RPUSH", "ttl", redis.call("PTTL", "exp"), redis.call("PEXPIRETIME", "exp"))`,
	`redis.call("RPUSH", "float", 0.1 + 0.2, 1e308 * 10, -(0/0), 2^0.5, 10 % 3.3, 7.0, -0.0)`,
	`redis.call("XADD", "stream", "*", "f", "v")`,
	`table.sort({5, 3, 8, 1, 9, 2}, function(a, b) redis.call("RPUSH", "sort", a .. "<" .. b) return a < b end)`,
	`for i = 1, 400 do redis.call("SADD", "bigset", "m" .. i * 7919 % 1009) redis.call("HSET", "bighash", "f" .. i * 31 % 401, i)
	 redis.call("SADD", "ints", i * 7919 % 1009) redis.call("SET", "key" .. i * 31 % 401, i) end
	 for i = 1, 400, 3 do redis.call("SREM", "bigset", "m" .. i * 7919 % 1009) redis.call("HDEL", "bighash", "f" .. i) redis.call("DEL", "key" .. i) end
	 redis.call("RPUSH", "smembers", unpack(redis.call("SMEMBERS", "bigset"))) redis.call("RPUSH", "ints2", unpack(redis.call("SMEMBERS", "ints")))
	 redis.call("RPUSH", "hkeys", unpack(redis.call("HKEYS", "bighash"))) redis.call("RPUSH", "keys", unpack(redis.call("KEYS", "*")))
	 redis.call("RPUSH", "scan", unpack(redis.call("SCAN", 0, "COUNT", 50)[2])) redis.call("RPUSH", "sscan", unpack(redis.call("SSCAN", "bigset", 0, "COUNT", 50)[2]))
	 redis.call("RPUSH", "randoms", redis.call("RANDOMKEY"), redis.call("SRANDMEMBER", "bigset"), unpack(redis.call("HRANDFIELD", "bighash", -5)))`,
	`redis.call("SELECT", 3) redis.call("SET", "in3", redis.call("DBSIZE"))`,
}

// The same log gives the same data on every node, whatever ran there before.
func TestScriptsAreDeterministic(t *testing.T) {
	a := newTestNode(t)
	a.do("FUNCTION", "LOAD", "#!lua name=counter\nlocal n = 0\nredis.register_function('bump', function(k) n = n + 1 redis.call('RPUSH', k[1], n) return n end)")
	var c Chunk
	c.AppendConfigSet(bytesOf("script-max-instructions", "200000"))
	a.run(&c)
	for round := range 3 {
		for _, body := range deterministicScripts {
			a.do("EVAL", body, "0")
			a.now += 7
		}
		require.Equal(t, "(integer) 1", a.do("FCALL", "bump", "1", "bumps"), "a library's variables end with the call (round %d)", round)
	}
	require.Equal(t, "(integer) 21", a.do("LLEN", "randoms"), "the longest script came to its end")
	require.Equal(t, `"2"`, a.do("GET", "before"), "what a script did before it ran out of budget stays")
	require.Equal(t, `"1"`, a.do("GET", "half"))

	// Another node: its interpreters were used for something else, it is restored from a
	// snapshot half way, and it has no clients.
	b := New(Options{HashSeed: 42})
	b.scripts.script([]byte(`return 1`))
	half := len(a.log) / 2
	require.NoError(t, b.Apply(a.log[:half], nil))
	for i := range 3 {
		var r Chunk
		addCommand(&r, "EVAL_RO", fmt.Sprintf("local t = {} for i = 1, 50 do t[i] = tostring({}) .. math.random() end return %d", i), "0")
		b.Read(&r, 0)
	}
	restored := copied(t, b)
	require.NoError(t, b.Apply(a.log[half:], nil))
	require.NoError(t, restored.Apply(a.log[half:], nil))
	_, want := a.s.Digest()
	for _, s := range []*Store{b, restored} {
		_, got := s.Digest()
		require.Equal(t, want, got)
	}
	require.Equal(t, a.s.st.encode(), restored.st.encode())
}

// copied is a store restored from a snapshot of s.
func copied(t *testing.T, s *Store) *Store {
	t.Helper()
	c := New(Options{HashSeed: 1})
	copyThrough(t, s, c)
	return c
}

// The cache keeps what SCRIPT LOAD brought and makes room among what EVAL brought.
func TestScriptCacheIsBounded(t *testing.T) {
	n := newTestNode(t)
	sha := strings.Trim(n.do("SCRIPT", "LOAD", "return 'loaded'"), `"`)
	first := scriptSHA("return 0")
	for i := range maxEvalScripts + 10 {
		n.do("EVAL", fmt.Sprintf("return %d", i), "0")
	}
	require.Equal(t, "1) (integer) 1\n2) (integer) 0", n.do("SCRIPT", "EXISTS", sha, first))
	require.Len(t, n.s.st.scripts.rows, maxEvalScripts+1)
	require.Equal(t, `"loaded"`, n.do("EVALSHA", sha, "0"))
	require.Equal(t, "(integer) 509", n.do("EVALSHA", scriptSHA("return 509"), "0"))

	table := newScriptTable(nil)
	big := strings.Repeat("x", maxScriptBytes/2)
	require.True(t, table.add("a", big, true))
	require.True(t, table.add("b", big, false))
	frozen := table.freeze()
	require.True(t, table.add("c", big, true), "b makes room")
	require.False(t, table.add("d", big, true))
	require.Equal(t, []string{"a", "b"}, []string{frozen.rows[0].SHA, frozen.rows[1].SHA})
	_, ok := table.get([]byte("b"))
	require.False(t, ok)
}

// Libraries travel in dumps and snapshots.
func TestFunctionsAreReplicated(t *testing.T) {
	n := newTestNode(t)
	lib := "#!lua name=lib\nredis.register_function{function_name='f', callback=function(k, a) return a end, flags={'no-writes', 'allow-oom'}, description='d'}"
	require.Equal(t, `"lib"`, n.do("FUNCTION", "LOAD", lib))
	var c Chunk
	addCommand(&c, "FUNCTION", "DUMP")
	n.run(&c)
	v, _, err := parseValue(c.Reply.Bytes())
	require.NoError(t, err)
	list := n.do("FUNCTION", "LIST", "WITHCODE")

	m := newTestNode(t)
	require.Equal(t, "OK", m.do("FUNCTION", "RESTORE", v.text))
	require.Equal(t, list, m.do("FUNCTION", "LIST", "WITHCODE"))
	require.Equal(t, "(error) ERR Library lib already exists", m.do("FUNCTION", "RESTORE", v.text))
	require.Equal(t, "OK", m.do("FUNCTION", "RESTORE", v.text, "REPLACE"))
	require.Equal(t, "OK", m.do("FUNCTION", "RESTORE", v.text, "FLUSH"))
	damaged := []byte(v.text)
	damaged[3] ^= 1
	require.Equal(t, "(error) ERR DUMP payload version or checksum are wrong", m.do("FUNCTION", "RESTORE", string(damaged)))

	restored := &testNode{t: t, s: copied(t, n.s), now: n.now, waiting: map[uint64]*Chunk{}}
	require.Equal(t, list, restored.do("FUNCTION", "LIST", "WITHCODE"))
	require.Equal(t, `1) "x"`, restored.do("FCALL_RO", "f", "0", "x"))
}

// Redis and rkv read each other's dumps.
func TestFunctionDumpsOnRedis(t *testing.T) {
	r := startRedis(t)
	n := newTestNode(t)
	lib := "#!lua name=lib\nredis.register_function('f', function(k, a) return a end)\n" + strings.Repeat("-- compressible\n", 50)
	require.Equal(t, "lib", r.do(t, "FUNCTION", "LOAD", lib).text)
	require.Equal(t, "OK", n.do("FUNCTION", "RESTORE", r.do(t, "FUNCTION", "DUMP").text))
	require.Equal(t, `1) "x"`, n.do("FCALL", "f", "0", "x"))
	var c Chunk
	addCommand(&c, "FUNCTION", "DUMP")
	n.run(&c)
	v, _, err := parseValue(c.Reply.Bytes())
	require.NoError(t, err)
	require.Equal(t, "OK", r.do(t, "FUNCTION", "RESTORE", v.text, "FLUSH").text)
	require.Equal(t, "x", r.do(t, "FCALL", "f", "0", "x").elems[0].text)
}

// A write in a script is dropped without effect when the script runs as a read.
func TestScriptThatRunsAsARead(t *testing.T) {
	n := newTestNode(t)
	body := `local v = redis.call("GET", "k") pcall(redis.call, "SET", "k", "changed") return v`
	n.do("SCRIPT", "LOAD", body)
	var c Chunk
	addCommand(&c, "EVAL", body, "0")
	require.False(t, c.Logged())
	n.s.Read(&c, n.now)
	require.True(t, c.WantsLog(), "the script cannot catch it")
	require.Equal(t, "(nil)", n.do("GET", "k"))
	require.True(t, n.s.Logs(Lookup([]byte("eval")), bytesOf("EVAL", body, "0")), "the sha remembers")
}

// A key that is due makes a script wait for the stamp, as any read.
func TestScriptMeetsADueKey(t *testing.T) {
	n := newTestNode(t)
	body := `return redis.call("GET", "k")`
	n.do("SCRIPT", "LOAD", body)
	n.do("SET", "k", "v", "PX", "5")
	n.now += 10
	var c Chunk
	addCommand(&c, "EVAL", body, "0")
	require.True(t, n.s.Read(&c, n.now))
	require.Equal(t, "(nil)", n.do("EVAL", body, "0"))
}

func BenchmarkEval(b *testing.B) {
	n := newTestNode(b)
	sha := map[string]string{}
	for _, body := range []string{"return 1", `return redis.call("SET", KEYS[1], ARGV[1])`, `return redis.call("GET", KEYS[1])`,
		`local s = 0 for i = 1, 100 do s = s + i end return s`} {
		sha[body] = scriptSHA(body)
		n.do("SCRIPT", "LOAD", body)
	}
	for body, sum := range sha {
		b.Run(strings.ReplaceAll(body[:min(len(body), 30)], " ", "_"), func(b *testing.B) {
			var c Chunk
			cmd := Lookup([]byte("evalsha"))
			args := bytesOf("EVALSHA", sum, "1", "k", "v")
			ctx := &n.s.ctx
			b.ReportAllocs()
			var out Reply
			for range b.N {
				out.Reset()
				*ctx = Ctx{store: n.s, logged: true, now: n.now, Args: args, Out: &out, cmd: cmd}
				ctx.selectDB(0)
				cmd.Run(ctx)
			}
			_ = c
		})
	}
}
