package resp

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestEveryLocalRowHasAHandler(t *testing.T) {
	for _, cmd := range allCommands() {
		if len(cmd.Sub) == 0 && cmd.Run == nil {
			require.NotNil(t, handlers[cmd], cmd.Name)
		}
		for _, sub := range cmd.Sub {
			if sub.Run == nil {
				require.NotNil(t, handlers[sub], sub.Name)
			}
		}
	}
}

// TestReplies sends commands and compares the replies' short forms (readReply).
func TestReplies(t *testing.T) {
	s := startServer(t, nil)
	// The slow log is shown empty: on a busy machine a command may take ten milliseconds.
	require.Equal(t, "+OK", s.dial().do("CONFIG", "SET", "slowlog-log-slower-than", "-1"))
	for _, tc := range []struct{ name, script string }{
		{"strings", `
			SET a 1 -> +OK
			GET a -> "1"
			GET nosuch -> nil
			INCR a -> :2
			SET -> -ERR wrong number of arguments for 'set' command
			foo a b -> -ERR unknown command 'foo', with args beginning with: 'a' 'b' 
			CONFIG FOO -> -ERR unknown subcommand 'FOO'. Try CONFIG HELP.
			CONFIG GET -> -ERR wrong number of arguments for 'config|get' command
			CLIENT -> -ERR wrong number of arguments for 'client' command
			SENTINEL masters -> -ERR unknown command 'SENTINEL', with args beginning with: 'masters' 
			CLUSTER INFO -> -ERR This instance has cluster support disabled
			DEBUG SLEEP 0 -> -ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.
		`},
		{"connection", `
			PING -> +PONG
			PING hi -> "hi"
			PING a b -> -ERR wrong number of arguments for 'ping' command
			ECHO hi -> "hi"
			SELECT 3 -> +OK
			SET a 5 -> +OK
			SELECT abc -> -ERR value is not an integer or out of range
			SELECT 16 -> -ERR DB index is out of range
			SELECT 0 -> +OK
			DEL a -> :1
			SELECT 3 -> +OK
			GET a -> "5"
			RESET -> +RESET
			GET a -> nil
			READONLY -> +OK
			READWRITE -> +OK
			AUTH x -> -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
			AUTH default x -> +OK
			AUTH foo bar -> -WRONGPASS invalid username-password pair or user is disabled.
		`},
		{"client", `
			CLIENT GETNAME -> nil
			CLIENT SETNAME bob -> +OK
			CLIENT GETNAME -> "bob"
			CLIENT SETINFO LIB-NAME go-redis -> +OK
			CLIENT SETINFO LIB-VER 9 -> +OK
			CLIENT SETINFO foo bar -> -ERR Unrecognized option 'foo'
			CLIENT NO-EVICT on -> +OK
			CLIENT NO-EVICT foo -> -ERR syntax error
			CLIENT NO-TOUCH off -> +OK
			CLIENT GETREDIR -> :-1
			CLIENT KILL 1.1.1.1:1 -> -ERR No such client
			CLIENT KILL ID a -> -ERR client-id should be greater than 0
			CLIENT KILL ID 999 -> :0
			CLIENT TRACKING ON PREFIX a -> -ERR PREFIX option requires BCAST mode to be enabled
			CLIENT UNBLOCK 4 -> :0
			CLIENT LIST TYPE pubsub -> ""
			CLIENT LIST TYPE foo -> -ERR Unknown client type 'foo'
		`},
		{"multi", `
			MULTI -> +OK
			MULTI -> -ERR MULTI calls can not be nested
			WATCH a -> -ERR WATCH inside MULTI is not allowed
			SET a 1 -> +QUEUED
			GET a -> +QUEUED
			PING -> +QUEUED
			SELECT 1 -> +QUEUED
			GET a -> +QUEUED
			SET b 2 -> +QUEUED
			SELECT 99 -> +QUEUED
			INCR b -> +QUEUED
			EXEC -> [+OK "1" +PONG +OK nil +OK -ERR DB index is out of range :3]
			GET b -> "3"
			SELECT 0 -> +OK
			EXEC -> -ERR EXEC without MULTI
			DISCARD -> -ERR DISCARD without MULTI
			MULTI -> +OK
			EXEC -> []
			MULTI -> +OK
			SET a 9 -> +QUEUED
			NOSUCH -> -ERR unknown command 'NOSUCH', with args beginning with: 
			EXEC -> -EXECABORT Transaction discarded because of previous errors.
			MULTI -> +OK
			GET -> -ERR wrong number of arguments for 'get' command
			EXEC -> -EXECABORT Transaction discarded because of previous errors.
			MULTI -> +OK
			SET a 9 -> +QUEUED
			DISCARD -> +OK
			GET a -> "1"
			MULTI -> +OK
			INCR a -> +QUEUED
			LPUSH a x -> +QUEUED
			CLIENT GETNAME -> +QUEUED
			CLIENT SETNAME x -> +QUEUED
			CLIENT GETNAME -> +QUEUED
			EXEC -> [:2 -WRONGTYPE Operation against a key holding the wrong kind of value nil +OK "x"]
			MULTI -> +OK
			GET a -> +QUEUED
			MGET a nosuch -> +QUEUED
			EXEC -> ["2" ["2" nil]]
			MULTI -> +OK
			SET a 1 -> +QUEUED
			WAIT 9 0 -> +QUEUED
			ROLE -> +QUEUED
			EXEC -> [+OK :1 ["master" :9 [["127.0.0.1" "6380" "8"] ["127.0.0.1" "6381" "7"]]]]
			MULTI -> +OK
			WAIT 0 0 -> +QUEUED
			RAFT SNAPSHOT -> -ERR Command not allowed inside a transaction
			EXEC -> -EXECABORT Transaction discarded because of previous errors.
		`},
		{"raft", `
			RAFT ADD 4 127.0.0.1:7000 -> +OK
			RAFT ADD x 127.0.0.1:7000 -> -ERR the node id must be an integer from 1 to 8191
			RAFT ADD 4 nonsense -> -ERR the peer address must be host:port
			RAFT ADD 13 127.0.0.1:7000 -> -ERR internal error
			RAFT REMOVE 4 -> -ERR would lose the quorum
			RAFT PROMOTE 4 -> +OK
			RAFT TRANSFER -> +OK
			RAFT TRANSFER 4 -> +OK
			RAFT PRIORITY 4 10 -> +OK
			RAFT PRIORITY 4 high -> -ERR value is not an integer or out of range
			RAFT READMODE Lease -> +OK
			RAFT READMODE eventual -> -ERR the read mode must be quorum or lease
			RAFT SNAPSHOT -> :9
			RAFT DIGEST -> [:9 "abcd"]
			FAILOVER -> +OK
			FAILOVER TO 127.0.0.1 6380 -> +OK
			FAILOVER TO 127.0.0.1 9 -> -ERR FAILOVER target HOST and PORT is not a replica.
			ROLE -> ["master" :9 [["127.0.0.1" "6380" "8"] ["127.0.0.1" "6381" "7"]]]
			WAIT 1 0 -> :2
			WAIT 9 20 -> :2
			WAIT a b -> -ERR value is not an integer or out of range
			WAIT 1 -1 -> -ERR timeout is negative
			SHUTDOWN -> -ERR SHUTDOWN is not available here; stop the process with SIGTERM
			SHUTDOWN maybe -> -ERR syntax error
			SHUTDOWN SAVE NOSAVE -> -ERR syntax error
			SHUTDOWN ABORT -> -ERR No shutdown in progress.
			WAITAOF 2 0 0 -> -ERR value is out of range, value must between 0 and 1
			WAITAOF 0 -1 0 -> -ERR value is out of range, must be positive
			WAITAOF 1 0 -1 -> -ERR timeout is negative
			WAITAOF 1 0 0 -> [:1 :2]
			BGSAVE now -> -ERR syntax error
			SLOWLOG GET -> []
			SLOWLOG LEN -> :0
			SLOWLOG FOO -> -ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.
			LATENCY LATEST -> []
			SAVE -> +OK
			BGSAVE -> +Background saving started
		`},
		{"config", `
			CONFIG GET maxclients -> ["maxclients" "10000"]
			CONFIG GET MAXMEMORY-P* timeout maxmemory -> ["maxmemory" "0" "maxmemory-policy" "noeviction" "timeout" "0"]
			CONFIG GET nosuch -> []
			CONFIG SET nosuch 1 -> -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
			CONFIG SET maxclients 0 -> -ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive
			CONFIG SET appendonly yes -> +OK
			CONFIG SET appendonly no -> +OK
			CONFIG GET appendonly -> ["appendonly" "yes"]
			CONFIG SET timeout 100 timeout 200 -> -ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter
			CONFIG SET hash-max-listpack-entries 7 -> +OK
			CONFIG GET hash-max-listpack-entries -> ["hash-max-listpack-entries" "7"]
			CONFIG SET hash-max-listpack-entries x -> -ERR CONFIG SET failed (possibly related to argument 'hash-max-listpack-entries') - argument couldn't be parsed into an integer
			CONFIG SET hash-max-listpack-entries 8 timeout 0 -> +OK
			CONFIG SET hash-max-listpack-entries 9 timeout x -> -ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer
			CONFIG GET hash-max-listpack-entries -> ["hash-max-listpack-entries" "8"]
			CONFIG SET maxmemory-policy lru -> -ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction
			CONFIG SET repl-backlog-size 2mb slave-priority 7 -> +OK
			CONFIG GET repl-backlog-size *-priority -> ["repl-backlog-size" "2097152" "replica-priority" "7" "slave-priority" "7"]
			CONFIG SET slave-priority 1 replica-priority 2 -> -ERR CONFIG SET failed (possibly related to argument 'replica-priority') - duplicate parameter
			CONFIG SET maxmemory-clients 200% -> -ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be less or equal to 100
			MULTI -> +OK
			CONFIG SET hash-max-listpack-entries 10 hz 20 -> +QUEUED
			CONFIG SET hz 30 -> +QUEUED
			EXEC -> [+OK +OK]
			CONFIG GET hz -> ["hz" "20"]
			CONFIG REWRITE -> -ERR The server is running without a config file
			CONFIG RESETSTAT -> +OK
		`},
		{"command", `
			COMMAND GETKEYS MSET a 1 b 2 -> ["a" "b"]
			COMMAND GETKEYS PING -> -ERR The command has no key arguments
			COMMAND GETKEYS nosuch -> -ERR Invalid command specified
			COMMAND INFO nosuch -> [nil]
			COMMAND DOCS nosuch -> []
			COMMAND LIST FILTERBY PATTERN getr* -> ["getrange"]
		`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			for _, line := range strings.Split(strings.TrimSpace(tc.script), "\n") {
				cmd, want, ok := strings.Cut(strings.TrimLeft(line, "\t"), " -> ")
				require.True(t, ok, line)
				require.Equal(t, want, c.do(strings.Fields(cmd)...), line)
			}
		})
	}
}

func TestResp3(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	id := strings.TrimPrefix(c.do("CLIENT", "ID"), ":")
	require.Equal(t, `{"server" "redis" "version" "7.2.4" "proto" :3 "id" :`+id+` "mode" "standalone" "role" "master" "modules" []}`,
		c.do("HELLO", "3"))
	require.Equal(t, "nil", c.do("GET", "nosuch"))
	c.do("ZADD", "z", "1.5", "a", "2", "b")
	require.Equal(t, `[["a" ,1.5] ["b" ,2]]`, c.do("ZRANGE", "z", "0", "-1", "WITHSCORES"))
	c.do("HSET", "h", "f", "v")
	require.Equal(t, `{"f" "v"}`, c.do("HGETALL", "h"))
	c.do("SADD", "s", "m")
	require.Equal(t, `<"m">`, c.do("SMEMBERS", "s"))
	require.Equal(t, `{"flags" <"off"> "redirect" :-1 "prefixes" []}`, c.do("CLIENT", "TRACKINGINFO"))
	require.Contains(t, c.do("HELLO", "2"), `["server" "redis"`)
	require.Equal(t, `["a" "1.5" "b" "2"]`, c.do("ZRANGE", "z", "0", "-1", "WITHSCORES"))
	require.Equal(t, `["f" "v"]`, c.do("HGETALL", "h"))
}

func TestHelloInAPipelineSwitchesInOrder(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.send("SET a b\r\nHGETALL x\r\nHELLO 3\r\nHGETALL x\r\nGET x\r\nHELLO 2\r\nGET x\r\n")
	require.Equal(t, "+OK", c.reply())
	require.Equal(t, "[]", c.reply())
	require.Contains(t, c.reply(), `"proto" :3`)
	require.Equal(t, "{}", c.reply())
	c.expect("_\r\n")
	require.Contains(t, c.reply(), `"proto" :2`)
	c.expect("$-1\r\n")
}

func TestWatch(t *testing.T) {
	s := startServer(t, nil)
	a, b := s.dial(), s.dial()
	watched := func(key string) string {
		require.Equal(t, "+OK", a.do("MULTI"))
		require.Equal(t, "+QUEUED", a.do("SET", key, "mine"))
		return a.do("EXEC")
	}
	require.Equal(t, "+OK", a.do("WATCH", "k", "other"))
	require.Equal(t, "[+OK]", watched("k"), "unchanged")
	require.Equal(t, "+OK", a.do("WATCH", "k"))
	require.Equal(t, "+OK", b.do("SET", "k", "theirs"))
	require.Equal(t, "nil-array", watched("k"), "changed by another client")
	require.Equal(t, `"theirs"`, b.do("GET", "k"))
	require.Equal(t, "[+OK]", watched("k"), "EXEC forgets the watches")
	require.Equal(t, "+OK", a.do("WATCH", "k"))
	require.Equal(t, "+OK", a.do("SET", "k", "own"))
	require.Equal(t, "nil-array", watched("k"), "changed by itself")
	require.Equal(t, "+OK", a.do("WATCH", "k"))
	require.Equal(t, "+OK", b.do("SET", "k", "x"))
	require.Equal(t, "+OK", a.do("UNWATCH"))
	require.Equal(t, "[+OK]", watched("k"), "unwatched")
	require.Equal(t, "+OK", a.do("WATCH", "k"))
	b.do("SET", "k", "y")
	a.do("MULTI")
	a.do("SELECT", "5")
	require.Equal(t, "nil-array", a.do("EXEC"))
	require.Equal(t, `"y"`, a.do("GET", "k"), "an aborted EXEC leaves the database selected")
	b.send("SET k 1\r\nWATCH k\r\nGET k\r\nMULTI\r\nINCR k\r\nEXEC\r\nGET k\r\n")
	for _, want := range []string{"+OK", "+OK", `"1"`, "+OK", "+QUEUED", "[:2]", `"2"`} {
		require.Equal(t, want, b.reply(), "pipelined")
	}
}

func TestExecCapsQueuedBytes(t *testing.T) { // 5.4: 50
	s := startServer(t, func(o *Options) { o.MaxMultiBytes = 1000 })
	c := s.dial()
	c.do("MULTI")
	require.Equal(t, "+QUEUED", c.do("SET", "a", strings.Repeat("x", 500)))
	require.Contains(t, c.do("SET", "a", strings.Repeat("x", 500)), "-ERR the transaction exceeds")
	require.Contains(t, c.do("EXEC"), "-EXECABORT")
}

func TestErrorOfTheNodeReplacesAllReplies(t *testing.T) {
	s := startServer(t, nil)
	s.node.refuse.Store("TIMEOUT The command may or may not have been applied")
	c := s.dial()
	c.send("SET a 1\r\nPING\r\nGET a\r\nINCR a\r\n")
	for range 4 {
		require.Equal(t, "-TIMEOUT The command may or may not have been applied", c.reply())
	}
	c.send("MULTI\r\nSET a 1\r\nSET b 1\r\nEXEC\r\nGET a\r\n")
	for _, want := range []string{"+OK", "+QUEUED", "+QUEUED", "-TIMEOUT The command may or may not have been applied"} {
		require.Equal(t, want, c.reply())
	}
	require.Equal(t, "nil", c.reply(), "the GET behind EXEC is a chunk of its own")
}

func TestClientReply(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.send("CLIENT REPLY OFF\r\nSET a 1\r\nPING\r\nGET a\r\nCLIENT REPLY ON\r\nGET a\r\n")
	require.Equal(t, "+OK", c.reply())
	require.Equal(t, `"1"`, c.reply())
	c.send("CLIENT REPLY SKIP\r\nINCR a\r\nINCR a\r\nCLIENT REPLY SKIP\r\nPING\r\nGET a\r\n")
	require.Equal(t, ":3", c.reply())
	require.Equal(t, `"3"`, c.reply())
}

func TestClientListKillPause(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Loops = 2 })
	a, b := s.dial(), s.dial()
	b.do("CLIENT", "SETNAME", "victim")
	id := strings.TrimPrefix(b.do("CLIENT", "ID"), ":")
	require.Contains(t, a.do("CLIENT", "LIST"), "name=victim")
	require.Contains(t, a.do("CLIENT", "LIST", "ID", id), "id="+id)
	require.Contains(t, b.do("CLIENT", "INFO"), "name=victim")
	require.Equal(t, ":1", a.do("CLIENT", "KILL", "ID", id))
	b.expectClosed("")
	a.send("CLIENT KILL SKIPME no\r\n")
	require.Equal(t, ":1", a.reply())
	a.expectClosed("")
	c, d := s.dial(), s.dial()
	require.Equal(t, "+OK", c.do("CLIENT", "PAUSE", "60000", "WRITE"))
	require.Equal(t, "nil", d.do("GET", "k"))
	d.send("SET k v\r\n")
	require.Equal(t, "+PONG", c.do("PING"))
	require.Zero(t, s.node.proposals.Load())
	require.Equal(t, "+OK", c.do("CLIENT", "UNPAUSE"))
	require.Equal(t, "+OK", d.reply())
}

func TestQuit(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.send("SET a 1\r\nQUIT\r\nSET a 2\r\n")
	c.expectClosed("+OK\r\n+OK\r\n")
	require.Equal(t, `"1"`, s.dial().do("GET", "a"))
}

func TestInfo(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	c.do("SET", "k", "v", "EX", "100")
	c.do("nosuch")
	info := c.do("INFO")
	last := -1
	for _, title := range []string{
		"# Server", "# Clients", "# Memory", "# Persistence", "# Stats", "# Replication", "# CPU",
		"# Modules", "# Errorstats", "# Cluster", "# Keyspace", "# Raft",
	} {
		at := strings.Index(info, title+`\r\n`)
		require.Greater(t, at, last, title)
		last = at
	}
	for _, want := range []string{
		"redis_version:7.2.4", "redis_mode:standalone", "connected_clients:1", "role:master", "connected_slaves:2",
		"cluster_enabled:0", "db0:keys=1,expires=1", "errorstat_ERR:count=1", "aof_enabled:1",
		"raft_id:3", "raft_role:leader", "raft_term:7", "raft_leader_id:3", "raft_leader_addr:127.0.0.1:6379",
		"raft_last_index:9", "raft_commit_index:9", "raft_applied_index:9", "raft_snapshot_index:0",
		"raft_log_first_index:1", "raft_voters:2", "raft_learners:1", "raft_quorum_ok:1", "raft_peer0:id=4",
	} {
		require.Contains(t, info, `\n`+want)
	}
	require.NotContains(t, c.do("INFO", "server"), "# Clients")
	s.node.role.Store("follower")
	require.Contains(t, c.do("INFO", "replication"), `role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:up`)
	require.Equal(t, `["slave" "127.0.0.1" :6379 "connected" :9]`, c.do("ROLE"))
	require.Contains(t, c.do("HELLO"), `"role" "replica"`)
}

func TestGoRedis(t *testing.T) {
	s := startServer(t, nil)
	ctx := context.Background()
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			c := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: proto, DB: proto})
			defer c.Close()
			require.NoError(t, c.Set(ctx, "a", "1", time.Hour).Err())
			require.Equal(t, "1", c.Get(ctx, "a").Val())
			require.ErrorIs(t, c.Get(ctx, "nosuch").Err(), redis.Nil)
			require.NoError(t, c.HSet(ctx, "h", "f", "v", "g", "w").Err())
			require.Equal(t, map[string]string{"f": "v", "g": "w"}, c.HGetAll(ctx, "h").Val())
			require.NoError(t, c.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "m"}).Err())
			require.Equal(t, []redis.Z{{Score: 1.5, Member: "m"}}, c.ZRangeWithScores(ctx, "z", 0, -1).Val())
			require.NoError(t, c.RPush(ctx, "l", "a", "b").Err())
			require.Equal(t, []string{"a", "b"}, c.LRange(ctx, "l", 0, -1).Val())
			require.NoError(t, c.SAdd(ctx, "s", "a").Err())
			require.True(t, c.SIsMember(ctx, "s", "a").Val())
			_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				for range 1000 {
					p.Incr(ctx, "n")
				}
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, "1000", c.Get(ctx, "n").Val())
			cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Incr(ctx, "n")
				p.Get(ctx, "n")
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, "1001", cmds[1].(*redis.StringCmd).Val())
			err = c.Watch(ctx, func(tx *redis.Tx) error {
				require.NoError(t, c.Set(ctx, "w", "theirs", 0).Err())
				_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "w", "mine", 0); return nil })
				return err
			}, "w")
			require.ErrorIs(t, err, redis.TxFailedErr)
			info, err := c.Command(ctx).Result()
			require.NoError(t, err)
			require.Equal(t, int8(1), info["get"].FirstKeyPos)
			require.Contains(t, c.ClientList(ctx).Val(), "lib-name=go-redis")
		})
	}
}

func TestRedisCLI(t *testing.T) {
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Skip("redis-cli is not in PATH")
	}
	s := startServer(t, nil)
	_, port := splitAddr(s.Addr())
	run := func(stdin string, args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append([]string{"-p", port}, args...)...)
		if stdin != "" {
			cmd.Stdin = strings.NewReader(stdin)
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "redis-cli %v: %s", args, out)
		return string(out)
	}
	require.Equal(t, "OK\n", run("", "set", "a", "1"))
	require.Equal(t, "1\n", run("", "-3", "get", "a"))
	require.Contains(t, run("", "--json", "config", "get", "timeout"), `"timeout":"0"`)
	require.Contains(t, run("", "help", "set"), "summary:") // COMMAND DOCS: redis-cli asserts on its shape
	require.Contains(t, run("", "--json", "command", "docs", "get"), `"since"`)
	require.Contains(t, run("", "command", "info", "get"), "readonly")
	require.Contains(t, run(strings.Repeat(command("SET", "p", "1"), 1000), "--pipe"), "errors: 0, replies: 1000")
	require.Equal(t, "a\np\n", sortLines(run("", "--scan")))
	require.Contains(t, run("", "--bigkeys"), "Biggest string")
	require.Contains(t, run("", "info", "keyspace"), "db0:keys=2")
}

func sortLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	lines = lines[:len(lines)-1]
	for i := range lines {
		for j := i; j > 0 && lines[j] < lines[j-1]; j-- {
			lines[j], lines[j-1] = lines[j-1], lines[j]
		}
	}
	return strings.Join(lines, "")
}

// TestRedisCLIHelp drives the interactive help, which loads COMMAND DOCS and aborts
// on an unexpected type.
func TestRedisCLIHelp(t *testing.T) {
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Skip("redis-cli is not in PATH")
	}
	s := startServer(t, nil)
	_, port := splitAddr(s.Addr())
	for _, proto := range []string{"-2", "-3"} {
		cmd := exec.Command(path, "-p", port, proto)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		go func() {
			_, _ = io.WriteString(in, "help getrange\nhelp @string\nping\n")
			in.Close()
		}()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "PONG")
	}
}
