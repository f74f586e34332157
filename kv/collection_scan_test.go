package kv

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// HSCAN NOVALUES, as redis-server 7.4.1 answers.
func TestHScanNoValues(t *testing.T) {
	n := newTestNode(t)
	n.do("HSET", "h", "f", "v")
	require.Equal(t, "1) \"0\"\n2) 1) \"f\"", n.do("HSCAN", "h", "0", "NOVALUES"))
	require.Equal(t, "1) \"0\"\n2) 1) \"f\"\n   2) \"v\"", n.do("HSCAN", "h", "0"))
	require.Equal(t, "1) \"0\"\n2) (empty)", n.do("HSCAN", "h", "0", "novalues", "MATCH", "x*"))
	for i := range 1000 {
		n.do("HSET", "big", "f"+strconv.Itoa(i), "value")
	}
	require.NotContains(t, n.do("HSCAN", "big", "0", "COUNT", "2000", "NOVALUES"), "value")
	n.do("SADD", "s", "a")
	require.Contains(t, n.do("SSCAN", "s", "0", "NOVALUES"), "ERR syntax error")
	n.do("CONFIG", "SET", "redis-version", "7.4")
	require.Contains(t, n.do("SSCAN", "s", "0", "NOVALUES"), "ERR NOVALUES option can only be used in HSCAN")
}
