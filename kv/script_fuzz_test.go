package kv

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzScript runs whatever compiles: nothing a script does may panic outside the
// interpreter, get past the meter or break an interpreter for the next script.
func FuzzScript(f *testing.F) {
	for _, body := range hostileScripts {
		f.Add(body)
	}
	for _, body := range deterministicScripts {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 1<<12 {
			return
		}
		n := newTestNode(t)
		n.s.st.Settings.ScriptMaxSteps, n.s.st.Settings.ScriptMaxMemory = 20_000, 1<<20
		start := time.Now()
		reply := n.do("EVAL", body, "1", "k", "v")
		require.NotContains(t, reply, "internal error of the interpreter")
		require.Less(t, time.Since(start), 10*time.Second)
		require.Equal(t, "(integer) 2", n.do("EVAL", "local t = {1, 2} return #t", "0"))
	})
}
