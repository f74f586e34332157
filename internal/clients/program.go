package main

import (
	"bufio"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed programs
var programs embed.FS

// program runs a client of another language: it is given the target as JSON, says lines
// as talk wants them, and stops its load when its standard input ends.
func program(words func(dir string) []string, name string) func(t target, say *talk) error {
	return func(t target, say *talk) error {
		dir, err := installed()
		if err != nil {
			return err
		}
		to, err := json.Marshal(t)
		if err != nil {
			return err
		}
		args := append(words(dir), filepath.Join(dir, name), string(to))
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		var complaints strings.Builder
		cmd.Stderr = &complaints
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() {
			<-say.ctx.Done()
			_ = stdin.Close()
		}()
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			say.say("%s", lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, complaints.String())
		}
		return nil
	}
}

func node(string) []string   { return []string{"node"} }
func python(string) []string { return []string{"/usr/bin/python3"} } // Debian's, which has Debian's redis

// installed lays the programs out in the user's cache, with what they need from npm.
func installed() (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "rkv-clients")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	files, err := programs.ReadDir("programs")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		text, err := programs.ReadFile("programs/" + f.Name())
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// install gets what the runs need beside Go modules: npm's packages, pinned, and
// Debian's. The exporter is unpacked, not installed: a package that is installed starts
// its service.
func install() error {
	dir, err := installed()
	if err != nil {
		return err
	}
	steps := []string{
		`cd "$DIR" && cmp -s package-lock.json node_modules/.of || { npm ci --no-audit --no-fund --silent && cp package-lock.json node_modules/.of; }`,
		`/usr/bin/python3 -c 'import redis' 2>/dev/null || { $SUDO apt-get update -qq && $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-redis; }`,
		`test -x "$DIR/exporter/usr/bin/prometheus-redis-exporter" || { cd "$DIR" && { apt-get download -qq prometheus-redis-exporter || { $SUDO apt-get update -qq && apt-get download -qq prometheus-redis-exporter; }; } && dpkg -x prometheus-redis-exporter_*.deb exporter; }`,
	}
	sudo := "SUDO="
	if os.Getuid() != 0 {
		sudo = "SUDO=sudo"
	}
	for _, step := range steps {
		cmd := exec.Command("bash", "-ec", step)
		cmd.Env = append(os.Environ(), "DIR="+dir, sudo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing: %s: %w\n%s", step, err, out)
		}
	}
	return nil
}

// needPrograms reports whether the programs can run.
func (h *harness) needPrograms() error {
	dir, err := installed()
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, "node_modules"))
	return err
}
