package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/segmentlog"
)

func logCommand() *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "look into a node's log; changes nothing",
		Subcommands: []*cli.Command{
			{Name: "dump", ArgsUsage: "DIR", Usage: "print every record, also behind damage (docs/log-format.md)", Action: logDump},
			{Name: "verify", ArgsUsage: "DIR", Usage: "judge a stopped node's log as its start would", Action: logVerify},
		},
	}
}

func logDump(c *cli.Context) error {
	args, err := arguments(c, 1, 1)
	if err != nil {
		return err
	}
	dir, err := logDir(args[0])
	if err != nil {
		return err
	}
	return segmentlog.Dump(vfs.OS{}, dir, c.App.Writer)
}

// logVerify exits with 0 if a start would succeed with all that was acknowledged.
func logVerify(c *cli.Context) error {
	args, err := arguments(c, 1, 1)
	if err != nil {
		return err
	}
	dir, err := logDir(args[0])
	if err != nil {
		return err
	}
	lock, err := lockData(filepath.Dir(filepath.Dir(filepath.Dir(dir))))
	if err != nil {
		return err
	}
	defer lock.Close()
	r, err := segmentlog.Verify(vfs.OS{}, dir)
	if err != nil {
		return err
	}
	w := c.App.Writer
	fmt.Fprintf(w, "entries %d to %d in %d segments, %d intact records of %d bytes\n",
		r.FirstIndex, r.LastIndex, r.Segments, r.Records, r.Bytes)
	if r.TornBytes > 0 {
		fmt.Fprintf(w, "%d bytes of a torn last write, never acknowledged; the next start removes them\n", r.TornBytes)
	}
	if s := r.Suspect; s != nil {
		fmt.Fprintf(w, "%s, byte %d: the end is damaged and may have been acknowledged, up to entry %d of term %d.\n"+
			"The next start refetches it from peers and votes only for logs as long as that until then\n", s.File, s.Offset, s.LastIndex, s.LastTerm)
	}
	if r.Damage == nil {
		fmt.Fprintln(w, "sound")
		return nil
	}
	holes, err := segmentlog.Survey(vfs.OS{}, dir, false)
	var damage *segmentlog.CorruptionError
	switch {
	case errors.As(err, &damage):
		fmt.Fprintln(w, "beyond repair: what was lost cannot be identified")
	case err != nil:
		return err
	default:
		for _, h := range holes.Holes() {
			fmt.Fprintf(w, "lost: %s; found %s\n", h, h.Err().Found)
		}
		fmt.Fprintln(w, "all of it is identified: the next start refetches it if another member still has it")
	}
	return r.Damage
}
