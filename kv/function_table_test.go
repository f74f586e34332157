package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestManyLibraries: loading one does not take longer the more there are, in any way that
// could be felt, and none gets lost.
func TestManyLibraries(t *testing.T) {
	n := newTestNode(t)
	load := func(name, function string, more ...string) string {
		return n.do(append(append([]string{"FUNCTION", "LOAD"}, more...), "#!lua name="+name+"\nredis.register_function('"+function+"', function() return 1 end)")...)
	}
	require.Equal(t, `"b"`, load("b", "fb"))
	require.Equal(t, `"a"`, load("a", "fa"))
	bytes := n.s.Stats().FunctionBytes
	require.Contains(t, load("a", "fx"), "already exists")
	require.Contains(t, load("c", "FB"), "Function FB already exists")
	require.Contains(t, load("a", "fb", "REPLACE"), "Function fb already exists")
	require.Equal(t, bytes, n.s.Stats().FunctionBytes)
	require.Equal(t, "(integer) 1", n.do("FCALL", "fa", "0"), "what was refused changed nothing")
	require.Equal(t, `"a"`, load("a", "other", "REPLACE"))
	require.Contains(t, n.do("FCALL", "fa", "0"), "not found")
	require.Equal(t, "(integer) 1", n.do("FCALL", "other", "0"))
	require.Equal(t, "OK", n.do("FUNCTION", "DELETE", "a"))
	require.Contains(t, n.do("FCALL", "other", "0"), "not found")
	require.Equal(t, `"c"`, load("c", "other"))
	require.Equal(t, 2, n.s.Stats().Libraries)
	require.Equal(t, "OK", n.do("FUNCTION", "DELETE", "b"))
	require.Equal(t, "OK", n.do("FUNCTION", "DELETE", "c"))
	require.Zero(t, n.s.Stats().FunctionBytes)
	require.Zero(t, n.s.Stats().Functions)
}
