package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/snapshot"
)

// memberFlags say who the only member of a new cluster is.
func memberFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "id", Value: 1, Usage: "the node's `N`umber in the new cluster"},
		&cli.StringFlag{Name: "addr", Value: "127.0.0.1:6379", Usage: "`HOST:PORT` it will serve clients on"},
		&cli.StringFlag{Name: "peer-addr", Usage: "`HOST:PORT` where other nodes will reach it (default: client port + 10000)"},
	}
}

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", ArgsUsage: "--data-dir DIR FILE",
		Usage: "make a new cluster from a backup, a snapshot, or an .rdb of Redis",
		Description: "DIR must be empty or absent; it appears complete or not at all. Start the node with\n" +
			"the command it prints, and add others with rkv server --join.",
		Flags:  withEnv(append(memberFlags(), &cli.StringFlag{Name: "data-dir", Value: "./rkv-data", Usage: "the new node's data directory"})),
		Action: runRestore,
	}
}

func runRestore(c *cli.Context) error {
	args, err := arguments(c, 1, 1)
	if err != nil {
		return err
	}
	seed, err := newSeed(c)
	if err != nil {
		return err
	}
	dir := c.String("data-dir")
	if err := removeEmpty(dir); err != nil {
		return err
	}
	if seed.Fill, err = source(args[0]); err != nil {
		return err
	}
	cluster, info, err := node.NewCluster(context.Background(), dir, seed)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s: node %d of the new cluster %s, with %d keys from %s\n%s",
		dir, seed.ID, cluster, info.Keys, args[0], howToStart(dir, seed))
	return nil
}

// howToStart is the command for a directory just made: its node has these addresses.
func howToStart(dir string, seed node.Seed) string {
	return fmt.Sprintf("start it with: rkv server --id %d --data-dir %s --addr %s --peer-addr %s\n", seed.ID, dir, seed.ClientAddr, seed.PeerAddr)
}

func newSeed(c *cli.Context) (node.Seed, error) {
	peer, err := peerAddr(c.String("addr"), c.String("peer-addr"))
	if err != nil {
		return node.Seed{}, usageError{err}
	}
	if c.Uint64("id") == 0 {
		return node.Seed{}, usageError{errors.New("--id is 0, must be at least 1")}
	}
	return node.Seed{
		ID: raftcore.NodeID(c.Uint64("id")), PeerAddr: peer, ClientAddr: c.String("addr"),
		Boot: uint64(time.Now().Unix()),
	}, nil
}

// removeEmpty makes room for a directory to be renamed to dir.
func removeEmpty(dir string) error {
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", node.ErrDataDir, err)
	case len(names) > 0:
		return fmt.Errorf("%w: %s holds %q; give an empty --data-dir", node.ErrForeign, dir, names[0].Name())
	}
	return os.Remove(dir)
}

// source tells a snapshot from an .rdb by its first bytes.
func source(path string) (func(*kv.Store) (raftcore.Position, error), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 5)
	_, _ = io.ReadFull(f, head)
	if bytes.Equal(head, []byte("REDIS")) {
		return func(s *kv.Store) (raftcore.Position, error) { return fromRDB(s, path) }, nil
	}
	if !bytes.HasPrefix(head, []byte{0x28, 0xB5, 0x2F, 0xFD}) { // a zstd frame
		return nil, usageError{fmt.Errorf("%s is neither a backup or snapshot of rkv nor an .rdb of Redis; nothing was changed", path)}
	}
	return func(s *kv.Store) (raftcore.Position, error) { return fromSnapshot(s, path) }, nil
}

func fromSnapshot(s *kv.Store, path string) (at raftcore.Position, err error) {
	r, err := snapshot.OpenFile(vfs.OS{}, path)
	if err != nil {
		return at, err
	}
	defer r.Close()
	bar := newProgress("restore", r.Info().RawSize)
	at = raftcore.Position{Term: r.Meta().Term, Index: r.Meta().Index}
	return at, node.LoadSnapshot(s, r, bar.at)
}

func fromRDB(s *kv.Store, path string) (at raftcore.Position, err error) {
	f, err := os.Open(path)
	if err != nil {
		return at, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return at, err
	}
	bar := newProgress("restore", st.Size())
	_, err = node.ImportRDB(s, func(sink func([]byte) error) error {
		buf, done := make([]byte, 1<<20), int64(0)
		for {
			n, err := f.Read(buf)
			if n > 0 {
				if err := sink(buf[:n]); err != nil {
					return err
				}
				done += int64(n)
				bar.at(done)
			}
			switch {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
		}
	})
	if err != nil {
		return at, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return raftcore.Position{Term: 1, Index: 1}, nil
}
