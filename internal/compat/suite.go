package compat

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Suite is Redis's test suite on this machine.
type Suite struct {
	Dir     string // a directory of ours with tests/ and src/ in it
	Version string // of the Redis it belongs to: the name of its baseline
}

// Open makes a runnable copy of the suite below work. source is a checkout of Redis;
// if it is empty, Debian's source package is fetched into cache first, unless it is
// there already.
func Open(source, cache, work string) (*Suite, error) {
	if source == "" {
		var err error
		if source, err = fetchDebianSource(cache); err != nil {
			return nil, fmt.Errorf("getting Redis's source package (or name a checkout in REDIS_SRC): %w", err)
		}
	}
	version, err := versionOf(source)
	if err != nil {
		return nil, err
	}
	s := &Suite{Dir: filepath.Join(work, "suite"), Version: version}
	if err := os.RemoveAll(s.Dir); err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(s.Dir, "tests"), os.DirFS(filepath.Join(source, "tests"))); err != nil {
		return nil, err
	}
	return s, errors.Join(os.MkdirAll(filepath.Join(s.Dir, "tests", "tmp"), 0o755), s.linkPrograms(source))
}

// linkPrograms puts the installed client programs where the suite starts them from.
func (s *Suite) linkPrograms(source string) error {
	src := filepath.Join(s.Dir, "src")
	if err := os.MkdirAll(src, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"redis-server", "redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb"} {
		target := filepath.Join(source, "src", name)
		if _, err := os.Stat(target); err != nil {
			if target, err = exec.LookPath(name); err != nil {
				continue
			}
		}
		if target, err := filepath.Abs(target); err == nil {
			if err := os.Symlink(target, filepath.Join(src, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Units are the suite's files, in its own order.
func (s *Suite) Units() ([]string, error) {
	cmd := exec.Command("tclsh", "tests/test_helper.tcl", "--list-tests")
	cmd.Dir = s.Dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the units: %w (is tclsh installed?)", err)
	}
	return strings.Fields(string(out)), nil
}

var versionLine = regexp.MustCompile(`REDIS_VERSION "([^"]+)"`)

func versionOf(source string) (string, error) {
	text, err := os.ReadFile(filepath.Join(source, "src", "version.h"))
	if err != nil {
		return "", fmt.Errorf("%s is no checkout of Redis: %w", source, err)
	}
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s names no version", filepath.Join(source, "src", "version.h"))
	}
	return string(m[1]), nil
}

// debianSources are where the source package is looked for; the machine's own list of
// package sources is neither read nor changed.
const debianSources = `deb-src http://deb.debian.org/debian bookworm main
deb-src http://deb.debian.org/debian-security bookworm-security main
`

// fetchDebianSource returns the directory of the unpacked upstream source in cache.
func fetchDebianSource(cache string) (string, error) {
	cache, err := filepath.Abs(cache)
	if err != nil {
		return "", err
	}
	unpacked := func() string {
		found, _ := filepath.Glob(filepath.Join(cache, "redis-*", "src", "version.h"))
		if len(found) == 0 {
			return ""
		}
		return filepath.Dir(filepath.Dir(slices.Max(found)))
	}
	if dir := unpacked(); dir != "" {
		return dir, nil
	}
	if err := downloadDebianSource(cache); err != nil {
		return "", err
	}
	archives, _ := filepath.Glob(filepath.Join(cache, "redis_*.orig.tar.gz"))
	if len(archives) == 0 {
		return "", errors.New("apt-get fetched no redis_*.orig.tar.gz")
	}
	if err := unpack(slices.Max(archives), cache); err != nil {
		return "", err
	}
	if dir := unpacked(); dir != "" {
		return dir, nil
	}
	return "", errors.New("the archive holds no redis-*/src/version.h")
}

func downloadDebianSource(cache string) error {
	lists := filepath.Join(cache, "apt", "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return err
	}
	sources := filepath.Join(cache, "apt", "sources.list")
	if err := os.WriteFile(sources, []byte(debianSources), 0o644); err != nil {
		return err
	}
	options := []string{"-qq", "-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
		"-o", "APT::Sandbox::User=root"}
	for _, action := range [][]string{{"update"}, {"source", "--download-only", "redis"}} {
		cmd := exec.Command("apt-get", append(slices.Clone(options), action...)...)
		cmd.Dir = cache
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", action[0], err, out)
		}
	}
	return nil
}

// unpack writes an archive's plain files below dir. Only tests/ and src/version.h are
// wanted of it.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		_, inside, _ := strings.Cut(h.Name, "/")
		wanted := strings.HasPrefix(inside, "tests/") || inside == "src/version.h"
		if h.Typeflag != tar.TypeReg || !wanted || !filepath.IsLocal(h.Name) {
			continue
		}
		if err := writeFile(filepath.Join(dir, h.Name), r); err != nil {
			return err
		}
	}
}

func writeFile(name string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
