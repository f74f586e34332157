package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Overlay writes the mutant's patched files below dir and returns the name of a
// file for the -overlay flag of go build and go test. root is the module's
// directory. The error wraps ErrStale if the specification does not fit the code.
func (m *Mutant) Overlay(root, dir string) (string, error) {
	patched := map[string]string{}
	for _, c := range m.Changes {
		text, ok := patched[c.File]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(root, c.File))
			if err != nil {
				return "", fmt.Errorf("%w %s: %w", ErrStale, m.Name, err)
			}
			text = string(raw)
		}
		if n := strings.Count(text, c.Old); n != c.Count {
			return "", fmt.Errorf("%w %s: found %d times instead of %d in %s:\n%s", ErrStale, m.Name, n, c.Count, c.File, c.Old)
		}
		patched[c.File] = strings.ReplaceAll(text, c.Old, c.New)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range patched {
		copied := filepath.Join(dir, m.Name, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, file)] = copied
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, m.Name, "overlay.json")
	return name, os.WriteFile(name, raw, 0o644)
}

// ModuleRoot finds the directory of go.mod, from the working directory up.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}
