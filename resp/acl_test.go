package resp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// play runs a script of "command -> reply" lines on one connection.
func play(t *testing.T, c *testClient, script string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		cmd, want, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		require.True(t, ok, line)
		require.Equal(t, want, c.do(strings.Fields(cmd)...), line)
	}
}

// The replies are those of a Redis 7.0 asked the same.
func TestACL(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	play(t, c, `
		ACL WHOAMI -> "default"
		ACL SETUSER a on >p ~x* %R~r* %W~w* %RW~rw &ch* +@string -@hash +get +config|get -config|set +select|1 (+set ~y) (%R~z +@all) -> +OK
		ACL GETUSER a -> ["flags" ["on"] "passwords" ["148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940"] "commands" "-@all +@string +config|get +select|1" "keys" "~x* %R~r* %W~w* ~rw" "channels" "&ch*" "selectors" [["commands" "-@all +set" "keys" "~y" "channels" ""] ["commands" "+@all" "keys" "%R~z" "channels" ""]]]
		ACL DELUSER default -> -ERR The 'default' user cannot be removed
		ACL DELUSER nosuch a -> :1
		ACL LIST -> ["user default on nopass ~* &* +@all"]
		ACL SETUSER b nosuch -> -ERR Error in ACL SETUSER modifier 'nosuch': Syntax error
		ACL SETUSER b +@nosuch -> -ERR Error in ACL SETUSER modifier '+@nosuch': Unknown command or category name in ACL
		ACL SETUSER b +config|get|x -> -ERR Error in ACL SETUSER modifier '+config|get|x': Allowing first-arg of a subcommand is not supported
		ACL SETUSER b (a -> -ERR Unmatched parenthesis in acl selector starting at '(a'.
		ACL SETUSER b <abc -> -ERR Error in ACL SETUSER modifier '<abc': The password you are trying to remove from the user does not exist
		ACL USERS -> ["default"]
		ACL SETUSER d on nopass %R~r* %W~w* +@all &c* -> +OK
		ACL DRYRUN d set w1 b -> +OK
		ACL DRYRUN d set w1 b get -> "This user has no permissions to access the 'w1' key"
		ACL DRYRUN d psubscribe c -> "This user has no permissions to access the 'c' channel"
		ACL DRYRUN d psubscribe c* -> +OK
		ACL DRYRUN nosuch get a -> -ERR User 'nosuch' not found
		ACL CAT nosuch -> -ERR Unknown category 'nosuch'
		ACL GENPASS 0 -> -ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096
		ACL SAVE -> -`+errNoACLFile+`
		AUTH d x -> +OK
		ACL WHOAMI -> "d"
		SET w1 1 -> +OK
		GET w1 -> -NOPERM this user has no permissions to access one of the keys used as arguments
	`)
}

func TestACLInTransactionsAndScripts(t *testing.T) {
	s := startServer(t, nil)
	admin, c := s.dial(), s.dial()
	play(t, admin, `
		ACL SETUSER u on >pw ~k* +@all -flushall -config|set resetchannels &c -> +OK
	`)
	play(t, c, `
		AUTH u bad -> -WRONGPASS invalid username-password pair or user is disabled.
		AUTH u pw -> +OK
		ACL WHOAMI -> "u"
		SET k1 1 -> +OK
		GET x -> -NOPERM this user has no permissions to access one of the keys used as arguments
		FLUSHALL -> -NOPERM this user has no permissions to run the 'flushall' command
		CONFIG SET hz 10 -> -NOPERM this user has no permissions to run the 'config|set' command
		CONFIG GET hz -> ["hz" "10"]
		PUBLISH x y -> -NOPERM this user has no permissions to access one of the channels used as arguments
		MULTI -> +OK
		GET x -> -NOPERM this user has no permissions to access one of the keys used as arguments
		EXEC -> -EXECABORT Transaction discarded because of previous errors.
		MULTI -> +OK
		SET k1 2 -> +QUEUED
	`)
	play(t, admin, `
		ACL SETUSER u -set -> +OK
		SET k1 old -> +OK
	`)
	play(t, c, `EXEC -> [-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command or subcommand]`)
	got := c.do("EVAL", "return redis.call('set','k1','x')", "0")
	require.Contains(t, got, "-ERR The user executing the script can't run this command or subcommand script: ")
	require.Equal(t, "nil", c.do("EVAL", "return redis.acl_check_cmd('set','k1','x')", "0"))
	require.Equal(t, ":1", c.do("EVAL", "return redis.acl_check_cmd('get','k1')", "0"))
	require.Equal(t, `"old"`, c.do("GET", "k1"))
	log := admin.do("ACL", "LOG")
	for _, want := range []string{`"reason" "command" "context" "lua" "object" "set"`, `"context" "multi"`,
		`"reason" "auth" "context" "toplevel" "object" "AUTH" "username" "u"`, `"reason" "channel" "context" "toplevel" "object" "x"`} {
		require.Contains(t, log, want)
	}
	require.Equal(t, "+OK", admin.do("ACL", "LOG", "RESET"))
	require.Equal(t, ":1", admin.do("ACL", "DELUSER", "u"))
	c.expectClosed("")
}

// The password a node is started with holds until the cluster has another one; the
// first change of the default user must not lose it.
func TestStartPasswordAndTheCluster(t *testing.T) {
	s := startServer(t, func(o *Options) { o.RequirePass = "start" })
	c := s.dial()
	play(t, c, `
		PING -> -NOAUTH Authentication required.
		AUTH wrong -> -WRONGPASS invalid username-password pair or user is disabled.
		AUTH start -> +OK
		ACL SETUSER default +@all -> +OK
	`)
	other := s.dial()
	play(t, other, `
		PING -> -NOAUTH Authentication required.
		AUTH start -> +OK
		CONFIG SET requirepass next -> +OK
	`)
	third := s.dial()
	play(t, third, `
		AUTH start -> -WRONGPASS invalid username-password pair or user is disabled.
		AUTH default next -> +OK
		CONFIG GET requirepass -> ["requirepass" "next"]
	`)
	require.NotContains(t, third.do("ACL", "LIST"), "next", "only hashes are kept")
	require.Equal(t, "+OK", third.do("CONFIG", "SET", "requirepass", ""))
	require.Equal(t, "+PONG", s.dial().do("PING"))
}

func TestACLFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.acl")
	s := startServer(t, func(o *Options) { o.ACLFile = file })
	c := s.dial()
	play(t, c, `
		ACL SETUSER alice on >pw ~a* +get -> +OK
		ACL SAVE -> +OK
		ACL DELUSER alice -> :1
		ACL LOAD -> +OK
		ACL DRYRUN alice get abc -> +OK
	`)
	require.NoError(t, os.WriteFile(file, []byte("user bob on nopass +nosuch\n"), 0o600))
	require.Contains(t, c.do("ACL", "LOAD"), "no change to the previously active ACL rules")
	require.Equal(t, `["alice" "default"]`, c.do("ACL", "USERS"))
}
