package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRewriteFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rkv.toml")
	rewrite := func(before string, changed map[string]string) (string, error) {
		require.NoError(t, os.WriteFile(file, []byte(before), 0o600))
		err := rewriteFile(file, changed)
		after, rerr := os.ReadFile(file)
		require.NoError(t, rerr)
		return string(after), err
	}
	after, err := rewrite("# mine\naddr = \"127.0.0.1:1\" # here\ntimeout = \"5s\"\n\n[params]\n# slow\nhz = 7\n", map[string]string{
		"timeout": "30", "maxclients": "50", "hz": "12", "slowlog-max-len": "9",
	})
	require.NoError(t, err)
	require.Equal(t, "# mine\naddr = \"127.0.0.1:1\" # here\ntimeout = \"30s\"\nmaxclients = 50\n\n"+
		"[params]\n# slow\nhz = \"12\"\nslowlog-max-len = \"9\"\n", after)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	params, err := fileParams(file)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"hz": "12", "slowlog-max-len": "9"}, params)

	after, err = rewrite("", map[string]string{"proc-title-template": `a "b" \ c`, "maxclients": "3"})
	require.NoError(t, err)
	params, err = fileParams(file)
	require.NoError(t, err, after)
	require.Equal(t, map[string]string{"proc-title-template": `a "b" \ c`}, params)

	// What looks like a setting inside a text is not one: the file stays as it is.
	tricky := "addr = \"\"\"\nmaxclients = 4\n\"\"\"\n"
	after, err = rewrite(tricky, map[string]string{"maxclients": "5"})
	require.ErrorContains(t, err, "line by line")
	require.Equal(t, tricky, after)
}

func TestFileParamsRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rkv.toml")
	for text, says := range map[string]string{
		"params = 3":                                "must be a table",
		"[params]\nmaxclients = 3":                  "above",
		"[params]\nmaxmemory = \"1gb\"":             "whole cluster",
		"[params]\nnonsense = 1":                    "unknown parameter",
		"[params]\nhz = \"often\"":                  "integer",
		"[params]\nport = 1":                        "cannot be set",
		"[params]\nslowlog-max-len = [1]":           "must be a string",
		"[params]\nslowlog-log-slower-than = \"x\"": "integer",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := fileParams(file)
		require.ErrorContains(t, err, says, text)
	}
}
