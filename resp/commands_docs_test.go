package resp

import (
	"cmp"
	"context"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// docsFrom asks for COMMAND DOCS; commands and subcommands are in one map.
func docsFrom(t *testing.T, c *redis.Client, names ...any) map[string]map[any]any {
	t.Helper()
	reply, err := c.Do(context.Background(), append([]any{"COMMAND", "DOCS"}, names...)...).Result()
	require.NoError(t, err)
	docs := map[string]map[any]any{}
	var add func(reply any)
	add = func(reply any) {
		for name, d := range reply.(map[any]any) {
			doc := d.(map[any]any)
			docs[name.(string)] = doc
			if subs := doc["subcommands"]; subs != nil {
				add(subs)
			}
		}
	}
	add(reply)
	return docs
}

func TestCommandDocs(t *testing.T) {
	s := startServer(t, nil)
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 3})
	defer c.Close()
	require.NoError(t, c.ConfigSet(context.Background(), "redis-version", "7.4").Err())

	docs := docsFrom(t, c, "getset", "xinfo", "pfdebug", "dbsize", "nosuch")
	require.Len(t, docs, 8)
	require.Equal(t, []any{"deprecated"}, docs["getset"]["doc_flags"])
	require.Equal(t, "6.2.0", docs["getset"]["deprecated_since"])
	require.Equal(t, "`SET` with `GET`", docs["getset"]["replaced_by"])
	require.Equal(t, []any{"syscmd"}, docs["pfdebug"]["doc_flags"])
	require.NotContains(t, docs["dbsize"], "arguments")
	require.NotContains(t, docs["xinfo"], "arguments")
	key := map[any]any{"name": "key", "type": "key", "display_text": "key", "key_spec_index": int64(0)}
	require.Equal(t, []any{key, map[any]any{"name": "full-block", "type": "block", "flags": []any{"optional"}, "arguments": []any{
		map[any]any{"name": "full", "type": "pure-token", "display_text": "full", "token": "FULL"},
		map[any]any{"name": "count", "type": "integer", "display_text": "count", "token": "COUNT", "flags": []any{"optional"}},
	}}}, docs["xinfo|stream"]["arguments"])

	// IFEQ is of Redis 8.4: it works, and is not shown.
	require.NotContains(t, flat(docsFrom(t, c, "set")["set"]["arguments"]), "IFEQ")
	require.Contains(t, flat(docsFrom(t, c, "delex")["delex"]["arguments"]), "IFEQ")
	require.Contains(t, flat(docsFrom(t, c, "client")["client|kill"]["arguments"]), "MAXAGE")
	require.NoError(t, c.ConfigSet(context.Background(), "redis-version", "7.0").Err())
	require.NotContains(t, flat(docsFrom(t, c, "client")["client|kill"]["arguments"]), "MAXAGE")
	require.Equal(t, []any{map[any]any{"name": "key", "type": "key", "key_spec_index": int64(0)}}, docsFrom(t, c, "get")["get"]["arguments"])

	// RESP2 has lists where RESP3 has maps.
	two := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2})
	defer two.Close()
	reply, err := two.Do(context.Background(), "COMMAND", "DOCS", "append").Slice()
	require.NoError(t, err)
	require.Equal(t, "append", reply[0])
	require.Equal(t, []any{"arguments", []any{
		[]any{"name", "key", "type", "key", "key_spec_index", int64(0)}, []any{"name", "value", "type", "string"},
	}}, reply[1].([]any)[6:])
}

// flat lists the texts of an argument list.
func flat(v any) (texts []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			texts = append(texts, flat(e)...)
		}
	case map[any]any:
		for _, e := range v {
			texts = append(texts, flat(e)...)
		}
	}
	return texts
}

// described70 are the commands whose arguments Redis 7.0 describes otherwise than later
// versions do, in more than the names.
var described70 = []string{
	"bitop", "client|kill", "client|list", "command|getkeys", "command|getkeysandflags", "config|get", "geohash", "geopos",
	"georadius", "georadiusbymember", "hscan", "migrate", "module|loadex", "pfmerge", "psubscribe", "xinfo|stream", "zrank", "zrevrank",
}

// TestDocsLikeRedis compares the arguments with those a real redis-server tells: the one
// that RKV_REDIS_SERVER names, or the installed one. Redis 7.0 has other names for groups.
func TestDocsLikeRedis(t *testing.T) {
	bin, err := exec.LookPath(cmp.Or(os.Getenv("RKV_REDIS_SERVER"), "redis-server"))
	if err != nil {
		t.Skip("no redis-server in PATH")
	}
	dir, err := os.MkdirTemp("", "rkv") // short enough for a socket
	require.NoError(t, err)
	sock := filepath.Join(dir, "s")
	cmd := exec.Command(bin, "--port", "0", "--unixsocket", sock, "--save", "", "--dir", dir)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", sock)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)

	s := startServer(t, nil)
	ctx := context.Background()
	oracle := redis.NewClient(&redis.Options{Network: "unix", Addr: sock, Protocol: 3})
	defer oracle.Close()
	ours := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 3})
	defer ours.Close()
	info := oracle.Info(ctx, "server").Val()
	_, info, _ = strings.Cut(info, "redis_version:")
	version := min(info[:3], "7.4")
	require.NoError(t, ours.ConfigSet(ctx, "redis-version", version).Err())
	if version == "7.2" {
		t.Skip("between the two that are known")
	}
	old := version == "7.0"

	want, got := docsFrom(t, oracle), docsFrom(t, ours)
	compared := 0
	for name := range maps.Keys(want) {
		if got[name] == nil || old && contains(described70, name) {
			continue
		}
		w, g := want[name], got[name]
		if old {
			nameless(w["arguments"])
			nameless(g["arguments"])
		}
		require.Equal(t, w["arguments"], g["arguments"], name)
		require.Equal(t, w["group"], g["group"], name)
		if !old {
			require.Equal(t, w["doc_flags"], g["doc_flags"], name)
			require.Equal(t, w["deprecated_since"], g["deprecated_since"], name)
			require.Equal(t, w["replaced_by"] == nil, g["replaced_by"] == nil, name)
			require.Equal(t, w["since"], g["since"], name)
		}
		compared++
	}
	require.Greater(t, compared, 340)
}

// nameless takes the names off a list of arguments.
func nameless(args any) {
	list, _ := args.([]any)
	for _, a := range list {
		delete(a.(map[any]any), "name")
		nameless(a.(map[any]any)["arguments"])
	}
}
