package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// otherPeers are other people's replicated stores that speak Redis's protocol, three
// durable nodes each, whose binaries the environment names:
//
//	RKV_BENCH_REDISRAFT         redisraft.so
//	RKV_BENCH_REDISRAFT_SERVER  a redis-server that can load it, 7.2 or later (default: that in PATH)
//	RKV_BENCH_UHAHA             examples/kvdb of github.com/tidwall/uhaha, built
//
// Tried with RedisRaft at ade4aa8 on Redis 7.4.1 and uhaha at 5ea7716. RedisRaft has an
// entry for each command, so that its writes per entry are 1.
//
// etcd speaks gRPC alone: redis-benchmark cannot load it, and another client's figures
// would not stand beside these.
func otherPeers(o options, base string) (peers []peer, err error) {
	for _, known := range []struct {
		variable string
		peer     func(o options, base, path string) peer
	}{{"RKV_BENCH_REDISRAFT", redisRaft}, {"RKV_BENCH_UHAHA", uhaha}} {
		path := os.Getenv(known.variable)
		if path == "" {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s: %w", known.variable, err)
		}
		peers = append(peers, known.peer(o, base, path))
	}
	if os.Getenv("RKV_BENCH_ETCD") != "" {
		return nil, errors.New("RKV_BENCH_ETCD: etcd does not speak the Redis protocol, so that redis-benchmark cannot load it")
	}
	return peers, nil
}

// redisRaft is three Redis servers with the RedisRaft module, which syncs its log and reads
// by quorum unless told otherwise. It wants Redis's own persistence off.
func redisRaft(o options, base, module string) peer {
	port := o.port + 50
	first := fmt.Sprintf("127.0.0.1:%d", port)
	return peer{Name: "redisraft x3", start: func() (*running, error) {
		return startPeer(base, "redisraft-", first, func(r *running) error {
			for i := range 3 {
				if err := r.addRedisRaft(i, port+i, module); err != nil {
					return err
				}
			}
			r.log = logOf(first, "raft_fsync_count", "raft_current_index")
			for _, setting := range []string{"raft.log-fsync", "raft.quorum-reads"} {
				if reply, err := ask(first, "CONFIG", "GET", setting); err != nil || reply != setting+" yes" {
					return errors.Join(fmt.Errorf("%s is not set: %q", setting, reply), err)
				}
			}
			return nil
		})
	}}
}

// addRedisRaft starts a node, the first one of the cluster or one that joins it, and waits
// until it votes: the next change of members has to wait for that.
func (r *running) addRedisRaft(i, port int, module string) error {
	addr, dir := fmt.Sprintf("127.0.0.1:%d", port), filepath.Join(r.dir, fmt.Sprint("n", i+1))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	server := cmp.Or(os.Getenv("RKV_BENCH_REDISRAFT_SERVER"), "redis-server")
	if err := r.spawn(dir+".log", server, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no", "--loadmodule", module, "--raft.addr", addr, "--raft.log-filename", "raftlog.db"); err != nil {
		return err
	}
	if err := r.until(addr, "INFO", func(string) bool { return true }); err != nil {
		return err
	}
	how := []string{"RAFT.CLUSTER", "JOIN", r.addr}
	if i == 0 {
		how = []string{"RAFT.CLUSTER", "INIT"}
	}
	if _, err := ask(addr, how...); err != nil {
		return fmt.Errorf("%s: %w", how[1], err)
	}
	return r.await(func(m map[string]string) bool {
		return m["raft_role"] == "leader" && m["raft_num_voting_nodes"] == strconv.Itoa(i+1)
	})
}

// uhaha is three nodes of its key-value example, which knows no more than SET, GET and DEL.
// It syncs unless told otherwise (--nosync), but counts no syncs. With --localtime it does
// not ask the internet for the time.
func uhaha(o options, base, binary string) peer {
	does := func(c cell) bool { return strings.HasPrefix(c.Name, "set ") || strings.HasPrefix(c.Name, "get ") }
	return peer{Name: "uhaha x3", does: does, start: func() (*running, error) {
		addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", o.port+60+i) }
		return startPeer(base, "uhaha-", addr(0), func(r *running) error {
			r.plain = true
			for i := range 3 {
				name := filepath.Join(r.dir, fmt.Sprint("n", i+1))
				args := []string{"-n", strconv.Itoa(i + 1), "-a", addr(i), "-d", name, "-l", "warn", "--localtime"}
				if i > 0 {
					args = append(args, "-j", addr(0))
				}
				if err := r.spawn(name+".log", binary, args...); err != nil {
					return err
				}
				// Who joins asks the leader for it and gives up if there is none.
				if err := r.until(addr(i), "RAFT LEADER", func(reply string) bool { return reply == addr(0) }); err != nil {
					return err
				}
			}
			return r.until(addr(0), "RAFT SERVER LIST", func(reply string) bool {
				return strings.Contains(reply, addr(1)) && strings.Contains(reply, addr(2))
			})
		})
	}}
}

// startPeer makes a directory and has servers started in it, which are stopped if that
// fails. Their logs stay then.
func startPeer(base, name, addr string, start func(*running) error) (*running, error) {
	dir, err := os.MkdirTemp(base, name)
	if err != nil {
		return nil, err
	}
	r := &running{dir: dir, addr: addr}
	if err := start(r); err != nil {
		r.keep = true
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

// until asks the same until the answer is as it should be.
func (r *running) until(addr, command string, good func(reply string) bool) error {
	var reply string
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if reply, err = ask(addr, strings.Fields(command)...); err == nil && good(reply) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s: %s is answered with %q after 20 s; see %s", addr, command, reply, r.dir), err)
}
