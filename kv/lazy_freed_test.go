package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLazyFreed: INFO's lazyfreed_objects counts as Redis does.
func TestLazyFreed(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "a", "1")
	n.do("SET", "b", "1")
	var c Chunk
	c.BeginExec(nil)
	addCommand(&c, "FLUSHALL")
	c.EndExec()
	n.run(&c)
	require.Zero(t, n.s.Stats().LazyFreed, "in a transaction they are freed at once")
	n.do("SET", "a", "1")
	n.do("FLUSHALL")
	require.EqualValues(t, 1, n.s.Stats().LazyFreed)
	n.s.ResetStats()
	n.do("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
	n.do("FUNCTION", "FLUSH", "ASYNC")
	require.EqualValues(t, 2, n.s.Stats().LazyFreed, "the function and its engine")
}
