package chaos

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// A few seconds over loopback, as on a machine that allows no more. make test runs a
// round with everything behind the Go tests, where what is left out can be seen.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	binary := filepath.Join(t.TempDir(), "rkv")
	out, err := exec.Command("go", "build", "-o", binary, "../../cmd/rkv").CombinedOutput()
	require.NoError(t, err, "%s", out)
	dir, err := os.MkdirTemp("", "rkv-chaos-")
	require.NoError(t, err)
	var log testLog
	report, err := Run(context.Background(), Options{Binary: binary, Time: time.Second, Round: 5 * time.Second, Nodes: 3, Seed: 3, Loopback: true, Dir: dir, Out: &log, Verbose: true})
	require.NoError(t, err, "%s", log)
	t.Logf("%v", report)
	require.False(t, report.Failed(), "%s%v", log, report)
	require.Equal(t, 7, report.Histories)
	require.Positive(t, report.Ops)
	require.NoError(t, os.RemoveAll(dir))
}

type testLog []byte

func (l *testLog) Write(p []byte) (int, error) { *l = append(*l, p...); return len(p), nil }

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Outcome
	}{
		{nil, OK},
		{redis.Nil, OK},
		{redis.TxFailedErr, Failed},
		{replyError("CLUSTERDOWN The cluster has no leader"), Failed},
		{replyError("ERR value is not an integer"), Failed},
		{replyError("TIMEOUT The command may or may not have been applied"), Unknown},
		{io.EOF, Unknown},
		{os.ErrDeadlineExceeded, Unknown},
		{errors.New("whatever else"), Unknown},
	} {
		require.Equal(t, tc.want, classify(tc.err), "%v", tc.err)
	}
	require.True(t, broken(io.EOF))
	require.False(t, broken(replyError("TIMEOUT")))
}

type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

// Without namespaces and disks a run says what it leaves out.
func TestReducedListIsTold(t *testing.T) {
	can, cannot := usable(nil, false, false)
	require.NotEmpty(t, can)
	require.Contains(t, cannot, "isolate-leader")
	require.Contains(t, cannot, "power-cut-all")
	require.Contains(t, (&Report{Missing: cannot}).String(), "REDUCED")
}

func TestPercentile(t *testing.T) {
	require.Zero(t, percentile(nil, 0.5))
	require.Equal(t, time.Duration(2), percentile([]time.Duration{3, 1, 2}, 0.5))
	require.Equal(t, time.Duration(3), percentile([]time.Duration{3, 1, 2}, 0.99))
}
