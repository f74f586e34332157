package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStartRefusals(t *testing.T) {
	c := startCluster(t, 1)
	dir := func() string { return filepath.Join(t.TempDir(), "d") }
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "precious.txt"), []byte("x"), 0o644))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	bad := filepath.Join(t.TempDir(), "bad.toml")
	require.NoError(t, os.WriteFile(bad, []byte("addr = \"127.0.0.1:1\"\nadress = \"x\"\n"), 0o644))
	broken := filepath.Join(t.TempDir(), "broken.toml")
	require.NoError(t, os.WriteFile(broken, []byte("addr = \n"), 0o644))
	free := func() string { return freePort(t) }
	own := filepath.Join(c.dir, "n1")
	taken := dir()
	cases := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"unknown flag", []string{"--nonsense"}, exitUsage, "nonsense"},
		{"bad duration", []string{"--election-timeout", "soon"}, exitUsage, "election-timeout"},
		{"heartbeat too slow", []string{"--heartbeat", "400ms"}, exitUsage, "heartbeat"},
		{"two mistakes, one message", []string{"--sync", "maybe", "--maxclients", "0"}, exitUsage, "maxclients"},
		{"not in the list", []string{"--id", "3", "--initial-cluster", "1=127.0.0.1:1,2=127.0.0.1:2"}, exitUsage, "does not list"},
		{"list and join", []string{"--id", "1", "--peer-addr", "127.0.0.1:1", "--initial-cluster", "1=127.0.0.1:1", "--join", "127.0.0.1:2"}, exitUsage, "exclude"},
		{"unknown setting in the file", []string{"--config", bad}, exitUsage, "adress"},
		{"broken file", []string{"--config", broken}, exitUsage, "broken.toml"},
		{"bad read mode", []string{"--read-mode", "leases"}, exitUsage, "must be quorum or lease"},
		{"bad io_uring", []string{"--io-uring", "sometimes"}, exitUsage, "must be auto or off"},
		{"no secret beyond loopback", []string{"--addr", "127.0.0.1:7000", "--peer-addr", "0.0.0.0:17000", "--data-dir", dir()}, exitUsage, "secret"},
		{"foreign directory", []string{"--data-dir", foreign, "--addr", free(), "--peer-addr", free()}, exitDataDir, "precious.txt"},
		{"a file as directory", []string{"--data-dir", file, "--addr", free(), "--peer-addr", free()}, exitDataDir, "file"},
		{"second process", []string{"--data-dir", own, "--addr", free(), "--peer-addr", free()}, exitDataDir, "in use"},
		{"client port taken", []string{"--data-dir", taken, "--addr", c.nodes[0].addr, "--peer-addr", free()}, exitError, "address already in use"},
		{"peer port taken", []string{"--data-dir", dir(), "--addr", free(), "--peer-addr", c.nodes[0].peer}, exitError, "address already in use"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			code, out := runExit(t, append([]string{"server", "--log-level", "error"}, tc.args...)...)
			require.Equal(t, tc.code, code, out)
			require.Contains(t, out, tc.says)
			require.NotContains(t, out, "goroutine", "an error is a line, not a stack")
		})
	}
	_, err := os.Stat(taken)
	require.True(t, os.IsNotExist(err), "a node that cannot serve clients must not begin a data directory")
	names, err := os.ReadDir(foreign)
	require.NoError(t, err)
	for _, n := range names {
		require.Equal(t, "precious.txt", n.Name(), "nothing may appear in a foreign directory")
	}
	// The node that was there serves on, and its directory is whole.
	rdb := c.nodes[0].client(nil)
	defer rdb.Close()
	require.NoError(t, rdb.Set(context.Background(), "a", 1, 0).Err())
	c.signal(c.nodes[0], syscall.SIGTERM)
	code, out := runExit(t, "server", "--data-dir", own, "--id", "9", "--addr", free(), "--peer-addr", free())
	require.Equal(t, exitDataDir, code, out)
	require.Contains(t, out, "belongs to node 1")
	c.start(c.nodes[0])
	c.ready()
	require.Equal(t, "1", rdb.Get(context.Background(), "a").Val())
}

// Flags beat the environment, which beats the file, which beats the default.
func TestSettingsPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rkv.toml")
	require.NoError(t, os.WriteFile(file, []byte("maxclients = 7\ntimeout = \"3s\"\nrequirepass = \"file\"\n"), 0o644))
	t.Setenv("RKV_MAXCLIENTS", "8")
	t.Setenv("RKV_CONFIG", file)
	t.Setenv("RKV_REQUIREPASS", "env")
	c := startCluster(t, 0)
	p := c.process(1)
	p.args = append(p.args, "--requirepass", "flag")
	c.nodes = append(c.nodes, p)
	c.start(p)
	var conn *client
	require.Eventually(t, func() bool {
		var err error
		conn, err = dial(p.addr, "flag", 10*time.Second)
		return err == nil
	}, 15*time.Second, 20*time.Millisecond)
	defer conn.close()
	for name, want := range map[string]string{"maxclients": "8", "timeout": "3"} {
		reply, err := conn.do("CONFIG", "GET", name)
		require.NoError(t, err)
		require.Equal(t, []any{name, want}, reply)
	}
}

// CONFIG REWRITE is found again after SHUTDOWN, which ends the process as SIGTERM does.
func TestRewriteAndShutdown(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rkv.toml")
	require.NoError(t, os.WriteFile(file, []byte("# mine\n"), 0o644))
	c := startCluster(t, 0)
	p := c.process(1)
	p.args = append(p.args, "--config", file, "--aclfile", filepath.Join(dir, "users.acl"))
	c.nodes = append(c.nodes, p)
	c.start(p)
	c.ready()
	conn, err := dial(p.addr, "", 10*time.Second)
	require.NoError(t, err)
	defer conn.close()
	for _, words := range [][]string{
		{"CONFIG", "SET", "slowlog-max-len", "77"}, {"CONFIG", "REWRITE"},
		{"ACL", "SETUSER", "ann", "on", "nopass"}, {"ACL", "SAVE"},
	} {
		reply, err := conn.do(words...)
		require.NoError(t, err)
		require.Equal(t, "OK", reply, words)
	}
	users, err := os.ReadFile(filepath.Join(dir, "users.acl"))
	require.NoError(t, err)
	require.Contains(t, string(users), "user ann on nopass")
	_, err = conn.do("SHUTDOWN")
	require.Error(t, err, "there is no reply")
	c.ended(p, true)
	c.start(p)
	c.ready()
	again, err := dial(p.addr, "", 10*time.Second)
	require.NoError(t, err)
	defer again.close()
	reply, err := again.do("CONFIG", "GET", "slowlog-max-len")
	require.NoError(t, err)
	require.Equal(t, []any{"slowlog-max-len", "77"}, reply)
}

func TestDemoSurvivesASecondRun(t *testing.T) {
	// Below the range the system gives to outgoing connections, also with the 20000 that
	// Sentinel ports are higher.
	port := 11000 + os.Getpid()%1700
	dir := filepath.Join(t.TempDir(), "demo")
	run := func(use func(addr string)) {
		cmd := exec.Command(binary, "demo", "--port", strconv.Itoa(port), "--data-dir", dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		started := time.Now()
		lines := bufio.NewScanner(out)
		said := ""
		for lines.Scan() {
			said += lines.Text() + "\n"
			if strings.Contains(lines.Text(), "Ctrl-C") {
				break
			}
		}
		require.Contains(t, said, "leads")
		require.Contains(t, said, fmt.Sprintf("redis-cli -p %d set a 1", port+2))
		require.Less(t, time.Since(started), 10*time.Second)
		use(fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		for lines.Scan() {
			said += lines.Text() + "\n"
		}
		require.NoError(t, cmd.Wait(), said)
		require.Contains(t, said, "stopped")
	}
	run(func(addr string) {
		conn, err := dial(addr, "", 5*time.Second)
		require.NoError(t, err)
		defer conn.close()
		_, err = conn.do("SET", "a", "1")
		require.NoError(t, err)
	})
	run(func(addr string) {
		conn, err := dial(addr, "", 5*time.Second)
		require.NoError(t, err)
		defer conn.close()
		reply, err := conn.do("GET", "a")
		require.NoError(t, err)
		require.Equal(t, "1", reply, "data survives a second run")
	})
	_, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	require.Error(t, err, "no node may outlive the demo")
}

func TestVersion(t *testing.T) {
	code, out := runExit(t, "version")
	require.Zero(t, code)
	require.Contains(t, out, "rkv ")
	code, out = runExit(t, "nonsense")
	require.Equal(t, exitUsage, code)
	require.Contains(t, out, "nonsense")
}
