package compat_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/compat"
	"github.com/rkvdb/rkv/internal/servers"
)

// wholeUnits pass completely; none of them may fall back. The whole suite is make
// compat: it takes too long for every change.
var wholeUnits = []string{
	"unit/protocol", "unit/keyspace", "unit/type/incr", "unit/info-command", "unit/type/stream",
	"unit/bitops", "unit/bitfield", "unit/quit",
}

// TestBoundedPart runs them through a follower, which includes the way to the leader.
func TestBoundedPart(t *testing.T) {
	if _, err := exec.LookPath("tclsh"); err != nil {
		t.Skip("no tclsh in PATH (.ci/tools installs it)")
	}
	dir := t.TempDir()
	suite, err := compat.Open(os.Getenv("REDIS_SRC"), filepath.Join("..", "..", ".cache"), dir)
	if err != nil {
		t.Skip("Redis's suite cannot be had: " + err.Error())
	}
	f, err := os.Open(filepath.Join("testdata", "baseline-"+suite.Version+".txt"))
	require.NoError(t, err)
	defer f.Close()
	baseline, err := compat.ReadBaseline(f)
	require.NoError(t, err)
	binary := filepath.Join(dir, "rkv")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/rkvdb/rkv/cmd/rkv").CombinedOutput()
	require.NoError(t, err, string(out))
	mode := compat.Mode{Limit: 3 * time.Minute, Silence: time.Minute}
	for _, unit := range wholeUnits {
		name := strings.ReplaceAll(unit, "/", "-")
		r, err := suite.RunUnit(unit, mode, filepath.Join(dir, name+".log"), func() (string, func(), error) {
			s, err := servers.RKV(binary, filepath.Join(dir, name), 3, "--enable-debug-command", "yes")
			if err != nil {
				return "", nil, err
			}
			return s.Follower, func() { _ = s.Stop() }, nil
		})
		require.NoError(t, err)
		if s := baseline.Compare(unit, r.Passed); len(s.Missing) > 0 {
			text, _ := os.ReadFile(filepath.Join(dir, name+".log"))
			t.Logf("%.4000s", text)
			t.Errorf("%d of %d; %v\n%+v", s.Passed, s.Baseline, s.Missing, r.Failed)
		}
	}
}
