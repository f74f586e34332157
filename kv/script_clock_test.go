package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// os.clock goes on with the script's own work and says the same on every node; nothing
// else is in the library.
func TestScriptClock(t *testing.T) {
	script := func(n *testNode, code string) string { return n.do("EVAL", code, "0") }
	a, b := newTestNode(t), newTestNode(t)
	const waits = "local t = os.clock() while os.clock() - t < 0.001 do end return tostring(os.clock() - t)"
	first := script(a, waits)
	require.Equal(t, first, script(b, waits))
	require.Regexp(t, `^"0\.001\d*"$`, first)
	require.Equal(t, `"clock"`, script(a, "local names = '' for name in pairs(os) do names = names .. name end return names"))
	require.Contains(t, script(a, "while os.clock() < 100 do end"), "budget", "it is no way out of the budget")
}

// WAIT and WAITAOF neither wait nor tell what nodes know differently.
func TestScriptsDoNotWait(t *testing.T) {
	n := newTestNode(t)
	require.Contains(t, n.do("EVAL", "return redis.pcall('WAIT', 1, 0)", "0"), "not allowed from script", "as Redis 7.0")
	n.do("CONFIG", "SET", "redis-version", "7.4")
	require.Equal(t, "(integer) 0", n.do("EVAL", "return redis.call('WAIT', 1, 0)", "0"))
	require.Equal(t, "1) (integer) 0\n2) (integer) 0", n.do("EVAL", "return redis.call('WAITAOF', 0, 1, 0)", "0"))
	require.Contains(t, n.do("EVAL", "return redis.pcall('WAIT', 'x', 0)", "0"), "not an integer")
}
