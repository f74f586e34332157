package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/snapshot"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name: "backup", ArgsUsage: "--addr HOST:PORT FILE",
		Usage: "save all data of a running cluster, as of one moment, through any node",
		Description: "FILE is a snapshot: rkv restore makes a new cluster of it, rkv snapshot export an .rdb.\n" +
			"It holds every write that was acknowledged before the command began. Clients are not stopped.",
		Flags: withEnv([]cli.Flag{
			&cli.StringFlag{Name: "addr", Value: "127.0.0.1:6379", Usage: "client `HOST:PORT` of any node"},
			&cli.StringFlag{Name: "requirepass", Usage: "the password, if one is set"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "how long the node may take to write its snapshot"},
		}),
		Action: runBackup,
	}
}

func runBackup(c *cli.Context) error {
	args, err := arguments(c, 1, 1)
	if err != nil {
		return err
	}
	conn, err := dialAdmin(c)
	if err != nil {
		return err
	}
	defer conn.close()
	b, err := beginBackup(conn, c.Duration("timeout"))
	if err != nil {
		return adminError(err)
	}
	err = newFile(args[0], func(f *os.File) error {
		if err := b.copyTo(conn, f); err != nil {
			return err
		}
		return b.check(f.Name())
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s: %d bytes, everything up to index %d, sha256 %s\n", args[0], b.size, b.index, b.hash)
	return nil
}

// remoteBackup is a snapshot file that a node holds for us.
type remoteBackup struct {
	index, size int64
	hash        string
}

// beginBackup has the node write its snapshot. One that is not ready in the node's
// own time limit is asked for again: it is being written meanwhile.
func beginBackup(conn *client, patience time.Duration) (*remoteBackup, error) {
	deadline := time.Now().Add(patience)
	for {
		if err := conn.conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
		reply, err := conn.do("RAFT", "BACKUP")
		if err != nil {
			if strings.HasPrefix(err.Error(), "TIMEOUT The snapshot") && time.Now().Before(deadline) {
				continue
			}
			return nil, err
		}
		f, ok := reply.([]any)
		if !ok || len(f) != 3 {
			return nil, fmt.Errorf("unexpected reply %v", reply)
		}
		b := &remoteBackup{}
		b.index, _ = f[0].(int64)
		b.size, _ = f[1].(int64)
		b.hash, _ = f[2].(string)
		return b, nil
	}
}

// pieceTimeout bounds the wait for one piece.
const pieceTimeout = time.Minute

func (b *remoteBackup) copyTo(conn *client, f *os.File) error {
	bar := newProgress("backup", b.size)
	for done := int64(0); done < b.size; bar.at(done) {
		if err := conn.conn.SetDeadline(time.Now().Add(pieceTimeout)); err != nil {
			return err
		}
		reply, err := conn.do("RAFT", "BACKUP", strconv.FormatInt(b.index, 10), strconv.FormatInt(done, 10))
		if err != nil {
			return fmt.Errorf("at byte %d of %d: %w", done, b.size, err)
		}
		p, _ := reply.(string)
		if p == "" {
			return fmt.Errorf("the backup ended at byte %d of %d", done, b.size)
		}
		if _, err := f.WriteString(p); err != nil {
			return err
		}
		done += int64(len(p))
	}
	return nil
}

// check reads the file back and verifies all of it.
func (b *remoteBackup) check(path string) error {
	r, err := snapshot.OpenFile(vfs.OS{}, path)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Verify(); err != nil {
		return err
	}
	hash := r.Info().Hash
	if hex.EncodeToString(hash[:]) != b.hash {
		return errors.New("what arrived is not what the node has")
	}
	return nil
}
