package resp

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A large payload is written beside the loop: what stands behind it in the pipeline comes
// behind it, and it is a payload.
func TestLargeDumpIsWrittenBesideTheLoop(t *testing.T) {
	s := startServer(t, nil)
	c := s.dial()
	push := []string{"RPUSH", "large"}
	for i := range 1000 {
		push = append(push, strconv.Itoa(i)+strings.Repeat("x", 1200))
	}
	require.Equal(t, ":1000", c.do(push...))
	require.Equal(t, "+OK", c.do("SET", "small", "s"))
	c.send("GET small\r\nDUMP large\r\nGET small\r\nECHO end\r\n")
	require.Equal(t, `"s"`, c.reply())
	payload, err := strconv.Unquote(c.reply())
	require.NoError(t, err)
	require.Less(t, 1<<20, len(payload))
	require.Equal(t, `"s"`, c.reply())
	require.Equal(t, `"end"`, c.reply())
	require.Equal(t, "+OK", c.do("RESTORE", "copy", "0", payload))
	require.Equal(t, c.do("LRANGE", "large", "0", "-1"), c.do("LRANGE", "copy", "0", "-1"))
}
