package diff_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/diff"
	"github.com/rkvdb/rkv/internal/servers"
)

// TestShort is the short form of make diff: the same sequences each time.
func TestShort(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server in PATH")
	}
	dir, err := os.MkdirTemp("", "rkv-diff-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "rkv")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/rkvdb/rkv/cmd/rkv").CombinedOutput()
	require.NoError(t, err, string(out))
	redis, err := servers.Redis(filepath.Join(dir, "redis"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = redis.Stop() })
	cluster, err := servers.RKV(binary, filepath.Join(dir, "cluster"), 3, "--enable-debug-command", "yes")
	require.NoError(t, err)
	t.Cleanup(func() { _ = cluster.Stop() })
	r, err := diff.Run(t.Context(), diff.Options{
		Redis: redis.Leader, RKV: cluster.Follower, Seed: 1, Commands: 40_000, Length: 100, Most: 3,
		Report: func(d diff.Difference) { t.Error(d) },
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.Commands, 40_000)
	require.Less(t, r.Explained, r.Commands/20, "most of what is compared has to be equal")
}

func TestReadGrammarRefusesNonsense(t *testing.T) {
	_, err := diff.ReadGrammar(diff.Value{})
	require.Error(t, err)
}
