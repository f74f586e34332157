package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/snapshot"
)

func snapshotCommand() *cli.Command {
	return &cli.Command{
		Name: "snapshot", Usage: "look into a snapshot or backup file, or export it for Redis",
		Subcommands: []*cli.Command{
			{Name: "info", ArgsUsage: "FILE", Usage: "print what the file says of itself", Action: withSnapshot(1, snapshotInfo)},
			{Name: "verify", ArgsUsage: "FILE", Usage: "read all of it and check every checksum", Action: withSnapshot(1, snapshotVerify)},
			{
				Name: "export", ArgsUsage: "[--rdb-version 10|11] FILE OUT", Usage: "write a plain .rdb for Redis (OUT may be -)",
				Flags: []cli.Flag{
					&cli.IntFlag{Name: "rdb-version", Value: 11, Usage: "`11` for Redis 7.2 and later, 10 for Redis 7.0"},
				},
				Action: withSnapshot(2, snapshotExport),
			},
		},
	}
}

// withSnapshot opens the first of n arguments.
func withSnapshot(n int, run func(c *cli.Context, r *snapshot.Reader, args []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		args, err := arguments(c, n, n)
		if err != nil {
			return err
		}
		r, err := snapshot.OpenFile(vfs.OS{}, args[0])
		if err != nil {
			return err
		}
		defer r.Close()
		return run(c, r, args)
	}
}

func snapshotInfo(c *cli.Context, r *snapshot.Reader, args []string) error {
	i := r.Info()
	w := c.App.Writer
	fmt.Fprintf(w, "file       %s\nindex      %d\nterm       %d\nkeys       %d\nbytes      %d\nraw bytes  %d\nframes     %d\nsha256     %x\n",
		args[0], i.Meta.Index, i.Meta.Term, i.Keys, i.Size, i.RawSize, i.Frames, i.Hash)
	for _, m := range i.Meta.Membership.Members {
		kind := "voter"
		if m.Learner {
			kind = "learner"
		}
		fmt.Fprintf(w, "member     %d %s peers %s clients %s\n", m.ID, kind, m.PeerAddr, m.ClientAddr)
	}
	for _, m := range i.Meta.Membership.Outgoing {
		fmt.Fprintf(w, "outgoing   %d peers %s\n", m.ID, m.PeerAddr)
	}
	return nil
}

func snapshotVerify(c *cli.Context, r *snapshot.Reader, args []string) error {
	if err := r.Verify(); err != nil {
		return err
	}
	i := r.Info()
	fmt.Fprintf(c.App.Writer, "%s is sound: %d keys at index %d, sha256 %x\n", args[0], i.Keys, i.Meta.Index, i.Hash)
	return nil
}

func snapshotExport(c *cli.Context, r *snapshot.Reader, args []string) error {
	version := c.Int("rdb-version")
	if version != 10 && version != 11 {
		return usageError{fmt.Errorf("--rdb-version is %d, must be 10 or 11", version)}
	}
	if err := r.Verify(); err != nil {
		return err
	}
	export := func(out io.Writer) error {
		bar := newProgress("export", r.Info().RawSize)
		done := int64(0)
		w := bufio.NewWriterSize(out, 1<<20)
		err := kv.ExportRDB(w, func(sink func([]byte) error) error {
			return r.Restore(func(raw []byte) error {
				done += int64(len(raw))
				bar.at(done)
				return sink(raw)
			})
		}, version)
		if err != nil {
			return err
		}
		return w.Flush()
	}
	if args[1] == "-" {
		return export(os.Stdout)
	}
	if err := newFile(args[1], func(f *os.File) error { return export(f) }); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s: %d keys, RDB version %d\n", args[1], r.Info().Keys, version)
	return nil
}
