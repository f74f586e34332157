package resp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The client that stops its node hears nothing, the connection ends; others go on
// until the server is closed.
func TestShutdown(t *testing.T) {
	asked := make(chan struct{}, 2)
	s := startServer(t, func(o *Options) {
		o.Shutdown = func() { asked <- struct{}{} }
		o.Params = map[string]string{"slowlog-max-len": "7"}
	})
	other := s.dial()
	require.Equal(t, `["slowlog-max-len" "7"]`, other.do("CONFIG", "GET", "slowlog-max-len"))
	for _, how := range [][]string{{"SHUTDOWN", "NOSAVE", "NOW"}, {"SHUTDOWN", "SAVE", "FORCE"}} {
		c := s.dial()
		c.send(command(how...))
		c.expectClosed("")
		select {
		case <-asked:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody asked the process to stop")
		}
	}
	require.Equal(t, "+PONG", other.do("PING"))
}

func TestStartParams(t *testing.T) {
	for name, says := range map[string]string{
		"maxmemory": "CONFIG SET", "port": "cannot be set", "nonsense": "unknown", "slowlog-max-len": "integer",
	} {
		require.ErrorContains(t, CheckParams(map[string]string{name: "x"}), says)
	}
}
