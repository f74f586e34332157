package resp

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A large payload is written beside the loop: what stands behind it in the pipeline comes
// behind it, and it is a payload.
func TestLargeDumpIsWrittenBesideTheLoop(t *testing.T) {
	var began, ended atomic.Int64
	s := startServer(t, func(o *Options) {
		o.LongWork = func() func() { began.Add(1); return func() { ended.Add(1) } }
	})
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
	require.EqualValues(t, 1, began.Load(), "it may have a processor of its own")
	require.Eventually(t, func() bool { return ended.Load() == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, "+OK", c.do("RESTORE", "copy", "0", payload))
	require.Equal(t, c.do("LRANGE", "large", "0", "-1"), c.do("LRANGE", "copy", "0", "-1"))
}
