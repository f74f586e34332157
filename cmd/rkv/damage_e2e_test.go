package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// logRecords lists the records of a stopped node's log, with what rkv log dump says.
func logRecords(t *testing.T, dir string) (found []logRecord) {
	code, out := runExit(t, "log", "dump", dir)
	require.Zero(t, code, out)
	file := ""
	for _, line := range strings.Split(out, "\n") {
		if name, _, ok := strings.Cut(line, ": active"); ok {
			file = name
		}
		r := logRecord{file: file}
		var term, typ int
		if n, _ := fmt.Sscanf(line, "%d index %d term %d type %d length %d", &r.off, &r.index, &term, &typ, &r.length); n == 5 {
			found = append(found, r)
		}
	}
	return found
}

type logRecord struct {
	file   string
	off    int64
	index  uint64
	length int64
}

func flipByte(t *testing.T, file string, off int64) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	require.NoError(t, err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b, off)
	require.NoError(t, err)
}

// A bit flips in one node's log, at several places in turn: the cluster serves on,
// the node repairs itself or refuses, and in the end all are equal.
func TestBitFlipInOneLog(t *testing.T) {
	c := startCluster(t, 3, "--segment-size", "1mb")
	victim := c.nodes[1]
	log := filepath.Join(c.dir, "n2", "groups", "0", "log")
	ctx := context.Background()
	rdb := c.nodes[0].client(nil)
	defer rdb.Close()
	for i := range 50 {
		require.NoError(t, rdb.Set(ctx, fmt.Sprint("key", i), strings.Repeat("v", 500*i), 0).Err())
	}
	places := map[string]func(recs []logRecord) (string, int64){
		"body of an early record":   func(r []logRecord) (string, int64) { x := r[len(r)/4]; return x.file, x.off + 64 + x.length/2 },
		"header of a record":        func(r []logRecord) (string, int64) { x := r[len(r)/2]; return x.file, x.off + 24 },
		"checksum of a record":      func(r []logRecord) (string, int64) { x := r[len(r)/3]; return x.file, x.off + 52 },
		"length of a record":        func(r []logRecord) (string, int64) { x := r[len(r)/5]; return x.file, x.off + 48 },
		"body of the last record":   func(r []logRecord) (string, int64) { x := r[len(r)-1]; return x.file, x.off + 64 + x.length/2 },
		"header of the last record": func(r []logRecord) (string, int64) { x := r[len(r)-1]; return x.file, x.off + 16 },
		"zeros behind the end":      func(r []logRecord) (string, int64) { x := r[len(r)-1]; return x.file, x.off + 64 + x.length + 900 },
	}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			c.signal(victim, syscall.SIGKILL)
			file, off := place(logRecords(t, log))
			flipByte(t, file, off)
			require.NoError(t, rdb.Incr(ctx, "meanwhile").Err(), "the cluster serves on")
			c.start(victim)
			c.ready()
			c.sameDigests()
			code, out := runExit(t, "log", "verify", log)
			require.Equal(t, exitDataDir, code, "a log in use is not judged: %s", out)
		})
	}

	refusals := map[string]func() (string, int64){
		"segment header":       func() (string, int64) { return logRecords(t, log)[0].file, 24 },
		"hard state, one slot": func() (string, int64) { return filepath.Join(log, "hardstate"), 30 },
	}
	for name, place := range refusals {
		t.Run(name, func(t *testing.T) {
			c.signal(victim, syscall.SIGKILL)
			file, off := place()
			flipByte(t, file, off)
			if name != "segment header" {
				flipByte(t, file, off+4096-512) // the slot's second copy
			}
			code, out := runExit(t, victim.args...)
			require.Equal(t, exitCorrupt, code, out)
			require.Contains(t, out, file)
			require.Contains(t, out, "remove this member")
			require.NoError(t, rdb.Incr(ctx, "meanwhile").Err(), "the cluster serves on")
			code, out = runExit(t, "log", "verify", log)
			require.Equal(t, exitCorrupt, code, out)
			flipByte(t, file, off) // the operator restores the disk
			if name != "segment header" {
				flipByte(t, file, off+4096-512)
			}
			c.start(victim)
			c.ready()
			c.sameDigests()
		})
	}
	// Bits in every node at the same entry: nobody can supply it.
	for _, p := range c.nodes {
		c.signal(p, syscall.SIGKILL)
	}
	for i := range c.nodes {
		recs := logRecords(t, filepath.Join(c.dir, fmt.Sprintf("n%d", i+1), "groups", "0", "log"))
		for _, r := range recs {
			if r.index == 20 {
				flipByte(t, r.file, r.off+64+r.length/2)
			}
		}
	}
	for _, p := range c.nodes {
		c.start(p)
	}
	deadline := time.After(20 * time.Second)
	select {
	case <-c.nodes[0].exited:
		c.nodes[0].cmd = nil
	case <-c.nodes[1].exited:
		c.nodes[1].cmd = nil
	case <-c.nodes[2].exited:
		c.nodes[2].cmd = nil
	case <-deadline:
		t.Fatal("all replicas damaged at one entry, and nobody refused")
	}
	for _, p := range c.nodes {
		require.Nil(t, c.info(p), "node %d serves", p.id)
	}
}
