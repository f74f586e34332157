package mutants

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryRowHasAMutant(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	rows := map[string]bool{}
	for i := range all {
		rows[all[i].Row()] = true
	}
	for n := 1; n <= 40; n++ {
		require.True(t, rows[fmt.Sprintf("R%02d", n)], "R%d", n)
	}
}

// TestSpecificationsFitTheCode fails when code moved away under a mutant, and when
// one does not compile.
func TestSpecificationsFitTheCode(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	root, err := ModuleRoot()
	require.NoError(t, err)
	dir := t.TempDir()
	for i := range all {
		m := &all[i]
		overlay, err := m.Overlay(root, dir)
		if err != nil {
			t.Error(err)
			continue
		}
		var packages []string
		for _, c := range m.Changes {
			packages = append(packages, "./"+c.File[:strings.LastIndex(c.File, "/")])
		}
		out, err := command(root, append([]string{"build", "-overlay", overlay}, packages...)...)
		if err != nil {
			t.Errorf("%s does not compile: %v\n%s", m.Name, err, out)
		}
	}
}

// TestSomeMutantsDie kills three: other ones from day to day, so that the fast
// tests notice within a fortnight what went blind. make mutants runs them all.
func TestSomeMutantsDie(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	root, err := ModuleRoot()
	require.NoError(t, err)
	var fast []*Mutant
	for i := range all {
		if strings.HasPrefix(all[i].Tests[0], "./raftcore") {
			fast = append(fast, &all[i])
		}
	}
	day := int(time.Now().Unix() / 86400)
	for n := range 3 {
		m := fast[(3*day+n)%len(fast)]
		overlay, err := m.Overlay(root, t.TempDir())
		require.NoError(t, err)
		out, err := command(root, append([]string{"test", "-count=1", "-failfast", "-timeout=2m", "-overlay", overlay}, m.Tests...)...)
		require.NotContains(t, out, "[build failed]")
		require.Error(t, err, "%s survived: %s", m.Name, m.Title)
	}
}

func TestStaleSpecificationsAreRefused(t *testing.T) {
	root, err := ModuleRoot()
	require.NoError(t, err)
	m := Mutant{Name: "R00", Changes: []Change{{File: "go.mod", Count: 2, Old: "module github.com", New: ""}}}
	_, err = m.Overlay(root, t.TempDir())
	require.ErrorIs(t, err, ErrStale)
	m.Changes[0].File = "nowhere.go"
	_, err = m.Overlay(root, t.TempDir())
	require.ErrorIs(t, err, ErrStale)
}

func TestMalformedSpecificationsAreRefused(t *testing.T) {
	for _, text := range []string{
		"",
		"R01: t\n\nprose\n",
		"R01: t\n\nprose\n\ntests: ./x\n\nfile a.go\nreplace none\nx\nwith\ny\nend\n",
		"R01: t\n\nprose\n\ntests: ./x\n\nfile a.go\nreplace 1\nx\nwith\ny\n",
		"R01: t\n\nprose\n\ntests: ./x\n\nfile a.go\nstray\nreplace 1\nx\nwith\ny\nend\n",
	} {
		_, err := parse(text)
		require.Error(t, err, text)
	}
}

func command(root string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
