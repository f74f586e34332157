package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

func recoverCommand() *cli.Command {
	return &cli.Command{
		Name:  "recover",
		Usage: "last resort: go on alone with what this node has, when most members are lost for good",
		Description: "Makes the directory of a stopped node a cluster of one, with a new cluster id. Says what may be\n" +
			"lost, and asks for the old cluster id to be typed. The old directory is kept beside the new one.\n" +
			"Never use it while a majority of the old members can still be started: that is not a loss, and\n" +
			"two clusters would go on with the same data. Run it on the survivor with the highest last entry.",
		Flags: withEnv([]cli.Flag{
			&cli.StringFlag{Name: "data-dir", Value: "./rkv-data", Usage: "the stopped node's data directory"},
			&cli.StringFlag{Name: "addr", Usage: "`HOST:PORT` for clients (default: as before)"},
			&cli.StringFlag{Name: "peer-addr", Usage: "`HOST:PORT` for peers (default: as before)"},
			&cli.Uint64Flag{Name: "skip-entry", Usage: "leave out the effect of entry `INDEX`, which stops every node that applies it"},
			&cli.StringFlag{Name: "confirm", Usage: "the old cluster `ID`, instead of typing it"},
		}),
		Action: runRecover,
	}
}

func runRecover(c *cli.Context) error {
	if _, err := arguments(c, 0, 0); err != nil {
		return err
	}
	dir := filepath.Clean(c.String("data-dir"))
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%w: %w", node.ErrDataDir, err)
	}
	lock, err := lockData(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	r, err := node.OpenRemains(dir)
	if err != nil {
		return err
	}
	skip := c.Uint64("skip-entry")
	if skip != 0 && (skip < r.First || skip > r.Last) {
		return usageError{fmt.Errorf("--skip-entry is %d, but only entries %d to %d would be applied", skip, r.First, r.Last)}
	}
	describeRemains(c.App.Writer, dir, r, skip)
	if err := confirm(c, r.ClusterID); err != nil {
		return err
	}
	return replaceDirectory(c, dir, r, skip)
}

// describeRemains says exactly what is kept and what may be lost.
func describeRemains(w io.Writer, dir string, r *node.Remains, skip uint64) {
	fmt.Fprintf(w, "%s is node %d of cluster %s, term %d\n", dir, r.Identity.Node, r.ClusterID, r.HardState.Term)
	fmt.Fprintf(w, "members as far as this node knows:")
	voters := 0
	for _, m := range r.Membership.Members {
		fmt.Fprintf(w, " %d at %s", m.ID, m.PeerAddr)
		if !m.Learner {
			voters++
		}
	}
	fmt.Fprintf(w, "\n\nkept: everything up to entry %d of term %d (a snapshot at %d and %d entries)\n",
		r.Last, r.LastTerm, r.Snapshot.Index, r.Last-r.Snapshot.Index)
	if skip != 0 {
		fmt.Fprintf(w, "      but not the effect of entry %d\n", skip)
	}
	fmt.Fprintf(w, "\nmay be lost:\n")
	if r.Claimed > r.Last {
		fmt.Fprintf(w, "  - entries %d to %d: this node had them and cannot read them\n", r.Last+1, r.Claimed)
	}
	for _, h := range r.Holes {
		if h.First <= r.Snapshot.Index {
			continue
		}
		fmt.Fprintf(w, "      damaged: %s\n", h)
	}
	if voters > 1 {
		fmt.Fprintf(w, "  - every write behind entry %d that the other %d voters acknowledged without this node:\n"+
			"    it cannot know of them. A member with a higher last entry has more.\n", r.Claimed, voters-1)
		// What a snapshot holds was committed, whatever the hard state has heard of it.
		if known := max(min(r.HardState.Commit, r.Last), r.Snapshot.Index); known < r.Last {
			fmt.Fprintf(w, "\nmay come back: entries %d to %d are not known to be committed here; clients may have been told\n"+
				"    -TIMEOUT for them, and will find them done.\n", known+1, r.Last)
		}
	} else {
		fmt.Fprintln(w, "  - nothing more: it was the only voter")
	}
	fmt.Fprintf(w, "\nThe other members must never be started again with their old directories and this node's address;\n"+
		"empty them and let them join with --join.\n\n")
}

func confirm(c *cli.Context, id string) error {
	answer := c.String("confirm")
	if answer == "" {
		fmt.Fprintf(c.App.Writer, "Type the cluster id to go on: ")
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && line == "" {
			return usageError{errors.New("not confirmed; nothing was changed")}
		}
		answer = strings.TrimSpace(line)
	}
	if answer != id {
		return usageError{fmt.Errorf("%q is not the cluster id; nothing was changed", answer)}
	}
	return nil
}

// replaceDirectory makes the new directory beside the old one and then exchanges
// the two. A crash between the renames leaves both, under names that say which is
// which.
func replaceDirectory(c *cli.Context, dir string, r *node.Remains, skip uint64) error {
	fresh := dir + ".recovered"
	old := fmt.Sprintf("%s.before-recovery-%d", dir, time.Now().Unix())
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	self, _ := r.Membership.Find(r.Identity.Node)
	seed := node.Seed{
		ID: r.Identity.Node, PeerAddr: self.PeerAddr, ClientAddr: self.ClientAddr,
		Boot: max(r.Identity.Boot+1, uint64(time.Now().Unix())),
		Fill: func(s *kv.Store) (raftcore.Position, error) { return r.Load(s, skip) },
	}
	if a := c.String("addr"); a != "" {
		seed.ClientAddr = a
	}
	if a := c.String("peer-addr"); a != "" {
		seed.PeerAddr = a
	}
	cluster, info, err := node.NewCluster(context.Background(), fresh, seed)
	if err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("the new directory is complete at %s, the old one is at %s: %w", fresh, old, err)
	}
	if err := (vfs.OS{}).SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s is now node %d of the new cluster %s, with %d keys up to index %d.\nThe old directory is %s\n%s",
		dir, seed.ID, cluster, info.Keys, info.Meta.Index, old, howToStart(dir, seed))
	return nil
}
