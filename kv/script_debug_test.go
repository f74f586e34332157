package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Scripts may call DEBUG PROTOCOL only once the setting allows it, which is part of the
// replicated state.
func TestDebugInScripts(t *testing.T) {
	n := newTestNode(t)
	call := func(resp, kind string) string {
		return n.do("EVAL", "redis.setresp("+resp+"); return redis.call('debug', 'protocol', '"+kind+"')", "0")
	}
	require.Contains(t, call("2", "string"), "not allowed from script")
	require.Contains(t, n.do("CONFIG", "SET", "debug-in-scripts", "yes"), "OK")
	require.Equal(t, `"Hello World"`, call("2", "string"))
	require.Equal(t, "(integer) 1", call("2", "true"))
	require.Equal(t, `"3.141"`, call("2", "double"))
	require.Equal(t, `"`+DebugAttribReply+`"`, call("3", "attrib"))
	require.Contains(t, call("3", "x"), "Wrong protocol type name")
	require.Contains(t, n.do("EVAL", "return redis.call('debug', 'digest')", "0"), "not allowed from script")
	require.Equal(t, int64(1), copied(t, n.s).st.Settings.DebugInScripts)
}
