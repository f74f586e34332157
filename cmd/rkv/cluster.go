package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
)

func clusterCommand() *cli.Command {
	flags := withEnv([]cli.Flag{
		&cli.StringFlag{Name: "addr", Value: "127.0.0.1:6379", Usage: "client `HOST:PORT` of any node"},
		&cli.StringFlag{Name: "requirepass", Usage: "the password, if one is set"},
		&cli.DurationFlag{Name: "timeout", Value: 15 * time.Second, Usage: "how long to wait for the change"},
	})
	sub := func(name, args, usage string, min, max int, command ...string) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: args, Usage: usage, Flags: flags,
			Action: func(c *cli.Context) error {
				if c.NArg() < min || c.NArg() > max {
					return usageError{fmt.Errorf("usage: rkv cluster %s [options] %s", name, args)}
				}
				return runAdmin(c, append(append([]string{"RAFT"}, command...), c.Args().Slice()...)...)
			},
		}
	}
	return &cli.Command{
		Name: "cluster", Usage: "look at a cluster and change its members",
		Subcommands: []*cli.Command{
			{Name: "status", Usage: "who leads, who is how far", Flags: flags, Action: clusterStatus},
			sub("add", "ID HOST:PEERPORT", "add a node, started with --join, as a learner; it becomes a voter when caught up", 2, 2, "ADD"),
			sub("remove", "ID", "remove a member", 1, 1, "REMOVE"),
			sub("promote", "ID", "make a learner a voter", 1, 1, "PROMOTE"),
			sub("priority", "ID N", "prefer a member as leader: the higher number leads when it is healthy; 0 is normal", 2, 2, "PRIORITY"),
			sub("read-mode", "quorum|lease", "let the cluster read by quorum, or by the leader's lease, which trusts clocks' rates to differ by less than a third", 1, 1, "READMODE"),
			sub("transfer", "[ID]", "hand leadership to a member, or to the best one", 0, 1, "TRANSFER"),
		},
	}
}

// runAdmin sends one RAFT command and prints its reply.
func runAdmin(c *cli.Context, args ...string) error {
	conn, err := dialAdmin(c)
	if err != nil {
		return err
	}
	defer conn.close()
	reply, err := conn.do(args...)
	if err != nil {
		return adminError(err)
	}
	fmt.Fprintln(c.App.Writer, reply)
	return nil
}

func dialAdmin(c *cli.Context) (*client, error) {
	conn, err := dial(c.String("addr"), c.String("requirepass"), c.Duration("timeout"))
	if err != nil {
		return nil, quorumError{fmt.Errorf("no answer from %s: %w", c.String("addr"), err)}
	}
	return conn, nil
}

// adminError tells a cluster that cannot decide from a request it refuses.
func adminError(err error) error {
	if strings.HasPrefix(err.Error(), "TIMEOUT") || strings.HasPrefix(err.Error(), "CLUSTERDOWN") {
		return quorumError{err}
	}
	return err
}

// clusterStatus prints one screen: the members as the asked node and the leader
// see them.
func clusterStatus(c *cli.Context) error {
	conn, err := dialAdmin(c)
	if err != nil {
		return err
	}
	defer conn.close()
	info, err := raftInfo(conn)
	if err != nil {
		return adminError(err)
	}
	w := c.App.Writer
	leader := info["raft_leader_addr"]
	if leader == "" {
		leader = "none"
	}
	fmt.Fprintf(w, "leader %s (node %s), term %s, quorum %s\n", leader, info["raft_leader_id"], info["raft_term"],
		map[string]string{"1": "ok", "0": "LOST"}[info["raft_quorum_ok"]])
	// Only the leader knows how far everybody is.
	if leader != "none" && leader != c.String("addr") {
		if l, err := dial(leader, c.String("requirepass"), c.Duration("timeout")); err == nil {
			defer l.close()
			conn = l
		}
	}
	reply, err := conn.do("RAFT", "MEMBERS")
	if err != nil {
		return adminError(err)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tCLIENTS\tPEERS\tKIND\tDURABLE\tSTATE")
	members, _ := reply.([]any)
	for _, m := range members {
		f := fields(m)
		kind := map[string]string{"1": "voter", "0": "learner"}[f["voter"]]
		if f["leader"] == "1" {
			kind = "leader, " + kind
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f["id"], f["client_addr"], f["peer_addr"], kind, f["match"], f["state"])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if info["raft_leader_id"] == "0" {
		return quorumError{fmt.Errorf("node %s knows no leader", info["raft_id"])}
	}
	return nil
}

// raftInfo is the section "Raft" of INFO.
func raftInfo(conn *client) (map[string]string, error) {
	reply, err := conn.do("INFO", "raft")
	if err != nil {
		return nil, err
	}
	text, _ := reply.(string)
	m := map[string]string{}
	for _, line := range strings.Split(text, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = v
		}
	}
	return m, nil
}

// fields turns a flat array of names and values into a map.
func fields(reply any) map[string]string {
	flat, _ := reply.([]any)
	m := map[string]string{}
	for i := 0; i+1 < len(flat); i += 2 {
		m[fmt.Sprint(flat[i])] = fmt.Sprint(flat[i+1])
	}
	return m
}
