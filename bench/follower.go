package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// followers compares what a follower serves with what the leader does, in one cluster, by
// turns of A-B-B-A, and tells what each node's processor pays for a GET, whoever was asked.
// A machine with fewer processors than nodes cannot show that reads scale, but what
// they cost on which node can be told on any.
func followers(o options, base string) (err error) {
	r, err := rkvCluster(o, base, "leader").start()
	if err != nil {
		return err
	}
	defer func() {
		r.keep = r.keep || err != nil
		err = errors.Join(err, r.stop())
	}()
	nodes, err := o.leaderFirst(r.addr)
	if err != nil {
		return err
	}
	if err := fill(nodes[0], 10_000); err != nil {
		return err
	}
	cells := []cell{
		followerCell("set", 1, 20_000), followerCell("set", 16, 100_000),
		followerCell("get", 1, 30_000), followerCell("get", 16, 300_000),
	}
	if cells, err = o.chosen(cells); err != nil {
		return err
	}
	if err := compareRoles(r, nodes, cells, o.rounds); err != nil {
		return err
	}
	return costs(o, nodes)
}

func followerCell(test string, p, n int) cell {
	return cell{Name: fmt.Sprintf("%s c=50 P=%d", test, p), Ops: n, Clients: 50, Writes: writesOf(test),
		Args: []string{"-t", test, "-c", "50", "-P", fmt.Sprint(p), "-r", "10000", "-d", "64"}}
}

// leaderFirst are the nodes' addresses.
func (o options) leaderFirst(lead string) (nodes []string, err error) {
	nodes = append(nodes, lead)
	for i := range 3 {
		if addr := fmt.Sprintf("127.0.0.1:%d", o.port+i); addr != lead {
			nodes = append(nodes, addr)
		}
	}
	if m, err := info(lead); err != nil || m["raft_role"] != "leader" {
		return nil, fmt.Errorf("%s does not lead any more: %w", lead, err)
	}
	return nodes, nil
}

// compareRoles prints medians of each cell on the leader and on a follower.
func compareRoles(r *running, nodes []string, cells []cell, rounds int) error {
	results := map[resultKey][]sample{}
	role := [2]peer{{Name: "leader"}, {Name: "follower"}}
	for _, c := range cells {
		for round := range rounds {
			for _, which := range [][]int{{0, 1}, {1, 0}}[round%2] {
				r.addr, r.log = nodes[which], logOf(nodes[which], "raft_fsyncs", "raft_last_index")
				s, err := load(r, c)
				if err != nil {
					return fmt.Errorf("%s on the %s: %w", c.Name, role[which].Name, err)
				}
				k := resultKey{role[which].Name, c.Name}
				results[k] = append(results[k], s)
			}
		}
	}
	printTable(os.Stdout, results, role[:], cells)
	return nil
}

// costs loads the leader, one follower, and both followers with GETs, and prints the
// processor time that each node spent on one.
func costs(o options, nodes []string) error {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "GETs sent to\tP\tper s\tleader us/GET\tfollower us/GET\tthe other follower us/GET\t")
	procs := make([]int, len(nodes)) // the process behind each address
	for i, addr := range nodes {
		m, err := info(addr)
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(m["process_id"], &procs[i]); err != nil {
			return fmt.Errorf("%s: process_id %q: %w", addr, m["process_id"], err)
		}
	}
	for _, p := range []int{1, 16} {
		n := 40_000 * (1 + p/4)
		for _, to := range []struct {
			name  string
			nodes []string
		}{{"the leader", nodes[:1]}, {"one follower", nodes[1:2]}, {"both followers", nodes[1:]}} {
			if err := cost(t, to.name, to.nodes, procs, p, n, o.rounds); err != nil {
				return err
			}
		}
	}
	return nil
}

// cost is one row: the median rate, and processor time over all rounds, whose unit is 10 ms.
func cost(t *tabwriter.Writer, name string, nodes []string, procs []int, p, n, rounds int) error {
	var all []sample
	before, err := cpuOf(procs)
	if err != nil {
		return err
	}
	for range rounds {
		began := time.Now()
		failed := make(chan error, len(nodes))
		for _, addr := range nodes {
			go func() {
				c := followerCell("get", p, n/len(nodes))
				c.Args[3] = fmt.Sprint(48 / len(nodes))
				_, err := load(&running{addr: addr}, c)
				failed <- err
			}()
		}
		for range nodes {
			err = errors.Join(err, <-failed)
		}
		if err != nil {
			return err
		}
		all = append(all, sample{RPS: float64(n) / time.Since(began).Seconds()})
	}
	after, err := cpuOf(procs)
	if err != nil {
		return err
	}
	fmt.Fprintf(t, "%s\t%d\t%.0f\t", name, p, median(all, func(s sample) float64 { return s.RPS }))
	for i := range procs {
		fmt.Fprintf(t, "%.1f\t", float64((after[i]-before[i]).Microseconds())/float64(n*rounds))
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func cpuOf(pids []int) (all []time.Duration, err error) {
	for _, pid := range pids {
		d, err := processTime(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}
