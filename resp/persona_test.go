package resp

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startPersonas(t *testing.T, change func(o *Options)) *testServer {
	return startServer(t, func(o *Options) {
		o.ClusterAddr, o.SentinelAddr = "127.0.0.1:0", "127.0.0.1:0"
		if change != nil {
			change(o)
		}
	})
}

func (s *testServer) dialCluster() *testClient  { return s.dialTo(s.ClusterAddr()) }
func (s *testServer) dialSentinel() *testClient { return s.dialTo(s.SentinelAddr()) }

// Slots as CLUSTER KEYSLOT of Redis 7.0 gives them.
func TestKeySlot(t *testing.T) {
	for key, slot := range map[string]int{
		"": 0, "123456789": 12739, "foo": 12182, "{foo}bar": 12182, "a{foo}b{x}": 12182, "{}foo": 9500, "{foo": 13308,
		"foo{}{bar}": 8363, "foo{{bar}}zap": 4015,
	} {
		require.Equal(t, slot, keySlot([]byte(key)), key)
	}
}

func TestPersonasAreNotMixed(t *testing.T) {
	s := startPersonas(t, nil)
	plain, cluster, sentinel := s.dial(), s.dialCluster(), s.dialSentinel()
	require.Equal(t, "-ERR This instance has cluster support disabled", plain.do("CLUSTER", "INFO"))
	require.Contains(t, plain.do("SENTINEL", "MASTERS"), "-ERR unknown command 'SENTINEL'")
	require.Contains(t, cluster.do("SENTINEL", "MASTERS"), "-ERR unknown command 'SENTINEL'")
	require.Contains(t, sentinel.do("CLUSTER", "SLOTS"), "-ERR unknown command 'CLUSTER'")
	require.Contains(t, sentinel.do("GET", "k"), "-ERR unknown command 'GET'")
	for c, mode := range map[*testClient]string{plain: "standalone", cluster: "cluster", sentinel: "sentinel"} {
		require.Contains(t, c.do("HELLO"), `"mode" "`+mode+`"`)
		require.Contains(t, c.do("INFO"), "redis_mode:"+mode)
	}
	require.NotContains(t, sentinel.do("HELLO"), "role")
	require.Contains(t, cluster.do("INFO", "cluster"), "cluster_enabled:1")
	require.Contains(t, plain.do("INFO", "cluster"), "cluster_enabled:0")
	require.Equal(t, `["sentinel" ["mymaster"]]`, sentinel.do("ROLE"))
	require.Equal(t, `["master" :9 [["127.0.0.1" "7380" "8"] ["h.example" "7381" "7"]]]`, cluster.do("ROLE"))
}

func TestClusterTopology(t *testing.T) {
	s := startPersonas(t, nil)
	c := s.dialCluster()
	id := func(n uint64) string { st := s.node.Status(); return memberID(&st, "node", n) }
	want := `[[:0 :16383 ["127.0.0.1" :7379 "` + id(3) + `" []] ["127.0.0.1" :7380 "` + id(4) + `" []] ["h.example" :7381 "` + id(5) + `" []]]]`
	require.Equal(t, want, c.do("CLUSTER", "SLOTS"))
	require.Equal(t, `"`+id(3)+` 127.0.0.1:7379@16379 myself,master - 0 0 7 connected 0-16383\n`+
		id(4)+` 127.0.0.1:7380@16380 slave `+id(3)+` 0 0 7 connected\n`+
		id(5)+` h.example:7381@16381 slave `+id(3)+` 0 0 7 connected\n"`, c.do("CLUSTER", "NODES"))
	require.Contains(t, c.do("CLUSTER", "INFO"), `cluster_state:ok\r\ncluster_slots_assigned:16384`)
	require.Equal(t, ":12182", c.do("CLUSTER", "KEYSLOT", "foo"))
	require.Equal(t, "+OK", c.do("SET", "{foo}1", "x"))
	require.Equal(t, "+OK", c.do("SET", "other", "x"))
	require.Equal(t, `["x" "x"]`, c.do("MGET", "{foo}1", "other"), "there is one shard")
	require.Equal(t, ":1", c.do("CLUSTER", "COUNTKEYSINSLOT", "12182"))
	require.Equal(t, `["{foo}1"]`, c.do("CLUSTER", "GETKEYSINSLOT", "12182", "10"))
	require.Equal(t, `[]`, c.do("CLUSTER", "GETKEYSINSLOT", "12182", "0"))
	require.Equal(t, "+OK", c.do("ASKING"))
	require.Contains(t, c.do("CLUSTER", "SETSLOT", "1", "NODE", id(4)), "-ERR all slots belong to one shard")
	require.Contains(t, c.do("CLUSTER", "NOSUCH"), "-ERR unknown subcommand 'NOSUCH'")
	require.Contains(t, c.do("CLUSTER", "KEYSLOT"), "-ERR wrong number of arguments for 'cluster|keyslot'")
	require.Contains(t, c.do("CLUSTER", "REPLICAS", id(3)), id(4)+" 127.0.0.1:7380@16380 slave")
	require.Equal(t, "-ERR Unknown node x", c.do("CLUSTER", "REPLICAS", "x"))

	s.node.lonely.Store(true)
	require.Equal(t, want, c.do("CLUSTER", "SLOTS"), "the last leader keeps the slots until another takes over")
	require.Contains(t, c.do("CLUSTER", "INFO"), "cluster_state:fail")
}

func TestFollowerMovesClusterClients(t *testing.T) {
	s := startPersonas(t, nil)
	s.node.follows.Store(4)
	c := s.dialCluster()
	moved := "-MOVED 12182 127.0.0.1:7380"
	require.Equal(t, moved, c.do("GET", "foo"))
	require.Equal(t, moved, c.do("MSET", "foo", "1", "bar", "2"))
	require.Equal(t, moved, c.do("WATCH", "foo"))
	require.Equal(t, moved, c.do("EVAL", "return 1", "1", "foo"))
	require.Equal(t, "+PONG", c.do("PING"))
	require.Equal(t, ":1", c.do("EVAL", "return 1", "0"))
	require.Equal(t, "+OK", c.do("MULTI"))
	require.Equal(t, moved, c.do("SET", "foo", "1"))
	require.Equal(t, "-EXECABORT Transaction discarded because of previous errors.", c.do("EXEC"))
	require.Equal(t, "+OK", c.do("READONLY"))
	require.Equal(t, "nil", c.do("GET", "foo"))
	require.Equal(t, moved, c.do("SET", "foo", "1"))
	require.Equal(t, "+OK", c.do("READWRITE"))
	require.Equal(t, moved, c.do("GET", "foo"))
	require.Equal(t, "+OK", s.dial().do("SET", "foo", "1"), "plain clients are served everywhere")
}

func TestClusterProxy(t *testing.T) {
	s := startPersonas(t, func(o *Options) { o.ClusterProxy = true })
	s.node.follows.Store(4)
	require.Equal(t, "+OK", s.dialCluster().do("SET", "foo", "1"))
}

func TestCapaRedirect(t *testing.T) {
	s := startPersonas(t, nil)
	s.node.follows.Store(4)
	c := s.dial()
	require.Equal(t, "+OK", c.do("SET", "foo", "1"))
	require.Equal(t, "+OK", c.do("CLIENT", "CAPA", "redirect", "somethingelse"))
	require.Equal(t, "-REDIRECT 127.0.0.1:6380", c.do("SET", "foo", "2"))
	require.Equal(t, "-REDIRECT 127.0.0.1:6380", c.do("GET", "foo"))
	require.Equal(t, "+OK", c.do("READONLY"))
	require.Equal(t, `"1"`, c.do("GET", "foo"))
	s.node.lonely.Store(true)
	eventually(t, func() bool { return c.do("SET", "foo", "3") == "+OK" }, "without a leader requests wait here")
}

func TestSentinelAnswers(t *testing.T) {
	s := startPersonas(t, func(o *Options) { o.MasterName = "main" })
	c := s.dialSentinel()
	require.Equal(t, `["127.0.0.1" "6379"]`, c.do("SENTINEL", "get-master-addr-by-name", "main"))
	require.Equal(t, "nil-array", c.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"))
	for _, field := range []string{`"name" "main"`, `"flags" "master"`, `"config-epoch" "7"`, `"num-slaves" "2"`,
		`"num-other-sentinels" "2"`, `"quorum" "2"`} {
		require.Contains(t, c.do("SENTINEL", "MASTER", "main"), field)
		require.Contains(t, c.do("SENTINEL", "MASTERS"), field)
	}
	replicas := c.do("SENTINEL", "SLAVES", "main")
	require.Contains(t, replicas, `"name" "127.0.0.1:6380" "ip" "127.0.0.1" "port" "6380"`)
	require.Contains(t, replicas, `"flags" "slave"`)
	require.Contains(t, c.do("SENTINEL", "SENTINELS", "main"), `"ip" "h.example" "port" "26381"`)
	require.Equal(t, "-ERR No such master with that name", c.do("SENTINEL", "REPLICAS", "other"))
	require.Contains(t, c.do("SENTINEL", "CKQUORUM", "main"), "+OK 2 usable Sentinels.")
	require.Equal(t, `[:0 "*" :0]`, c.do("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "6379", "1", "*"))
	require.Equal(t, ":1", c.do("SENTINEL", "RESET", "m*"))
	require.Equal(t, "+OK", c.do("SENTINEL", "FAILOVER", "main"))
	require.Contains(t, c.do("INFO", "sentinel"), "master0:name=main,status=ok,address=127.0.0.1:6379,slaves=2,sentinels=3")

	s.node.lonely.Store(true)
	require.Equal(t, `["127.0.0.1" "6379"]`, c.do("SENTINEL", "get-master-addr-by-name", "main"), "the last one known")
	require.Contains(t, c.do("SENTINEL", "MASTERS"), `"flags" "s_down,o_down,master"`)
}

func TestSentinelEvents(t *testing.T) {
	s := startPersonas(t, nil)
	c := s.dialSentinel()
	require.Equal(t, `["psubscribe" "*" :1]`, c.do("PSUBSCRIBE", "*"))
	eventually(t, func() bool { return s.lastMaster.Load() == 3 }, "the first state is known")
	s.node.lonely.Store(true)
	next := func() string { return strings.TrimPrefix(c.reply(), `["pmessage" "*" `) }
	require.Equal(t, `"+sdown" "master mymaster 127.0.0.1 6379"]`, next())
	require.Equal(t, `"+odown" "master mymaster 127.0.0.1 6379 #quorum 2/2"]`, next())
	s.node.follows.Store(4)
	s.node.lonely.Store(false)
	for {
		if e := next(); strings.HasPrefix(e, `"+switch-master"`) {
			require.Equal(t, `"+switch-master" "mymaster 127.0.0.1 6379 127.0.0.1 6380"]`, e)
			break
		}
	}
	require.Equal(t, `"+slave" "slave 127.0.0.1:6379 127.0.0.1 6379 @ mymaster 127.0.0.1 6380"]`, next())
	plain := s.dial()
	require.Equal(t, ":0", plain.do("PUBLISH", "+switch-master", "x"), "channels of the data are others")
}

func TestMaintenanceNotices(t *testing.T) {
	s := startPersonas(t, nil)
	c := s.dial()
	require.Contains(t, c.do("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip"), "-ERR", "RESP2 has no pushes")
	c.do("HELLO", "3")
	require.Contains(t, c.do("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "nowhere"), "-ERR")
	require.Equal(t, "+OK", c.do("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip"))
	s.node.lonely.Store(true)
	c.expect(">4\r\n$12\r\nFAILING_OVER\r\n:1\r\n:5\r\n$1\r\n0\r\n")
	s.node.follows.Store(4)
	s.node.lonely.Store(false)
	c.expect(">3\r\n$11\r\nFAILED_OVER\r\n:2\r\n$1\r\n0\r\n")

	listener := s.dial() // goes when its connection is closed, not before
	listener.do("HELLO", "3")
	require.Equal(t, "+OK", listener.do("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip"))
	listener.send(command("SUBSCRIBE", "news"))
	listener.expect(">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")

	unnamed := s.dial()
	unnamed.do("HELLO", "3")
	require.Equal(t, "+OK", unnamed.do("CLIENT", "MAINT_NOTIFICATIONS", "ON"))
	moved := make(chan struct{})
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 9900*time.Millisecond) // told as 9 s
		defer cancel()
		s.MoveClients(ctx, true)
		close(moved)
	}()
	c.expect(">4\r\n$6\r\nMOVING\r\n:3\r\n:9\r\n$14\r\n127.0.0.1:6380\r\n")
	unnamed.expect(">4\r\n$6\r\nMOVING\r\n:3\r\n:9\r\n_\r\n")
	require.Equal(t, "+OK", c.do("SET", "a", "1"), "clients are served until they go")
	c.conn.Close()
	late := s.dial()
	late.do("HELLO", "3")
	late.send(command("CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip"))
	late.expect("+OK\r\n>4\r\n$6\r\nMOVING\r\n:3\r\n")
	late.conn.Close()
	require.Equal(t, "+OK", unnamed.do("CLIENT", "MAINT_NOTIFICATIONS", "OFF"))
	<-moved // when all have gone, or want to know nothing
	require.Equal(t, "+PONG", listener.do("PING"), "it was not asked to go")
}

// A node that stops serves clients of the other personas for a while: they learn who
// leads now, and still find it there.
func TestStoppingNodeLingersForClientsThatSearch(t *testing.T) {
	s := startPersonas(t, nil)
	c := s.dialSentinel()
	require.Equal(t, `["subscribe" "+switch-master" :1]`, c.do("SUBSCRIBE", "+switch-master"))
	eventually(t, func() bool { return s.lastMaster.Load() == 3 }, "the first state is known")
	s.node.follows.Store(4) // it has handed over
	began := time.Now()
	s.MoveClients(context.Background(), true)
	require.GreaterOrEqual(t, time.Since(began), lingerTime)
	require.Equal(t, `["message" "+switch-master" "mymaster 127.0.0.1 6379 127.0.0.1 6380"]`, c.reply(), "it is told before the end")

	c.conn.Close()
	_ = s.dial() // nothing can be told to those
	eventually(t, func() bool {
		began = time.Now()
		s.MoveClients(context.Background(), false)
		return time.Since(began) < lingerTime/2
	}, "nobody is there to be told")
	began = time.Now()
	s.MoveClients(context.Background(), true)
	require.GreaterOrEqual(t, time.Since(began), lingerTime, "a Sentinel may have sent it to the node that led")
}

// Who goes on asking a node that stops for what is elsewhere has not heard yet who leads:
// the node waits until it has, or its patience ends.
func TestStoppingNodeWaitsWhileItSendsClientsAway(t *testing.T) {
	s := startPersonas(t, nil)
	c := s.dialCluster()
	s.node.follows.Store(4)         // it has handed over
	for waited := false; !waited; { // once more if the machine stood still so long that nobody seemed to ask
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.MoveClients(context.Background(), true)
		}()
		waited = true
		longest := time.Duration(0)
		for began, last := time.Now(), time.Now(); waited && time.Since(began) < 2*lingerTime; {
			require.Contains(t, c.do("SET", "k", "v"), "MOVED")
			longest = max(longest, time.Since(last))
			last = time.Now()
			select {
			case <-ended:
				require.Greater(t, longest, quietTime/2, "it did not wait")
				waited = false
			default:
			}
		}
		<-ended // now that nobody asks
	}
}

// What a leader tells of a member that is down keeps clients from trying it.
func TestDeadMembersAreNotOffered(t *testing.T) {
	s := startPersonas(t, nil)
	plain, cluster, sentinel := s.dial(), s.dialCluster(), s.dialSentinel()
	require.Contains(t, plain.do("ROLE"), "6380")
	require.Contains(t, plain.do("INFO", "replication"), "connected_slaves:2")
	s.node.dead.Store(4)
	require.Equal(t, `["master" :9 [["127.0.0.1" "6381" "7"]]]`, plain.do("ROLE"))
	require.Contains(t, plain.do("INFO", "replication"), "connected_slaves:1")
	require.NotContains(t, plain.do("INFO", "replication"), "port=6380")
	require.NotContains(t, cluster.do("CLUSTER", "SLOTS"), ":7380")
	require.Contains(t, cluster.do("CLUSTER", "NODES"), "slave,fail")
	require.Contains(t, cluster.do("CLUSTER", "SHARDS"), `"health" "fail"`)
	require.Contains(t, sentinel.do("SENTINEL", "REPLICAS", "mymaster"), `"flags" "s_down,slave,disconnected"`)
}
