package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/vfs"
)

// What the offline tools have in common. They work on files, never on a running
// node's directory unless they only look.

// arguments returns the positional arguments. Flags may stand between and behind
// them, which the library alone does not accept.
func arguments(c *cli.Context, min, max int) ([]string, error) {
	var args []string
	rest := c.Args().Slice()
	for i := 0; i < len(rest); i++ {
		name, value, hasValue := strings.Cut(strings.TrimLeft(rest[i], "-"), "=")
		if !strings.HasPrefix(rest[i], "--") || name == "" {
			args = append(args, rest[i])
			continue
		}
		if !hasValue && i+1 < len(rest) {
			i++
			value = rest[i]
		}
		if err := c.Set(name, value); err != nil {
			return nil, usageError{fmt.Errorf("--%s: %w", name, err)}
		}
	}
	if len(args) < min || len(args) > max {
		return nil, usageError{fmt.Errorf("usage: rkv %s %s", c.Command.FullName(), c.Command.ArgsUsage)}
	}
	return args, nil
}

// logDir finds the log in what an operator may name: the data directory or the
// log's own.
func logDir(dir string) (string, error) {
	for _, d := range []string{filepath.Join(dir, "groups", "0", "log"), dir} {
		if _, err := os.Stat(filepath.Join(d, "hardstate")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("%w: %s holds no log (no groups/0/log/hardstate, no hardstate)", node.ErrDataDir, dir)
}

// lockData takes the lock of the data directory that a log directory belongs to, if
// it belongs to one.
func lockData(dataDir string) (io.Closer, error) {
	name := filepath.Join(dataDir, "LOCK")
	if _, err := os.Stat(name); err != nil {
		return io.NopCloser(nil), nil
	}
	lock, err := vfs.OS{}.Lock(name)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%s is in use by a running node; stop it first: %w", dataDir, err)
	}
	return lock, err
}

// progress draws a bar on a terminal and nothing elsewhere.
type progress struct {
	w       io.Writer
	what    string
	total   int64
	started time.Time
	drawn   time.Time
}

func newProgress(what string, total int64) *progress {
	p := &progress{what: what, total: total, started: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.w = os.Stderr
	}
	return p
}

const barWidth = 30

func (p *progress) at(done int64) {
	now := time.Now()
	if p.w == nil || done < p.total && now.Sub(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = now
	part := 1.0
	if p.total > 0 {
		part = float64(done) / float64(p.total)
	}
	full := int(part * barWidth)
	rate := float64(done) / max(now.Sub(p.started).Seconds(), 1e-3) / (1 << 20)
	fmt.Fprintf(p.w, "\r%s [%s%s] %3.0f %%  %d of %d MiB, %.0f MiB/s ", p.what,
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), part*100, done>>20, p.total>>20, rate)
	if done >= p.total {
		fmt.Fprintln(p.w)
	}
}

// newFile writes a file that appears under its name only when it is complete and
// durable.
func newFile(path string, write func(f *os.File) error) error {
	if _, err := os.Stat(path); err == nil {
		return usageError{fmt.Errorf("%s exists; it is not overwritten", path)}
	}
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return vfs.OS{}.SyncDir(filepath.Dir(path))
}
