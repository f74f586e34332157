package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cluster is the processes of one round.
type Cluster struct {
	binary, dir string
	secret      string // file
	net         network
	disks       bool
	extra       []string // flags for each node
	say         func(format string, args ...any)

	mu     sync.Mutex
	nodes  []*Node // the members, as far as the harness knows
	gone   []*Node // removed ones
	nextID int
}

const password = "chaos"

// startLimit is how long nodes may take until they serve. A loaded machine with two cores
// needs seconds.
const startLimit = 60 * time.Second

// newCluster starts size nodes and waits until all of them serve.
func newCluster(binary, dir string, size int, net network, disks bool, say func(string, ...any), extra ...string) (*Cluster, error) {
	c := &Cluster{binary: binary, dir: dir, net: net, disks: disks, extra: extra, say: say, nextID: 1}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c.secret = filepath.Join(dir, "secret")
	if err := os.WriteFile(c.secret, []byte("known to all nodes of a test\n"), 0o600); err != nil {
		return nil, err
	}
	var initial []string
	for range size {
		n, err := c.newNode()
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.nodes = append(c.nodes, n)
		initial = append(initial, fmt.Sprintf("%d=%s", n.ID, n.peer))
	}
	for _, n := range c.nodes {
		n.args = append(n.args, "--initial-cluster", strings.Join(initial, ","))
		if err := n.start(binary); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	if err := c.awaitReady(c.members(), startLimit); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// newNode makes the place, the disk and the flags of the next node; nothing runs yet.
func (c *Cluster) newNode() (*Node, error) {
	n := &Node{ID: c.nextID, log: filepath.Join(c.dir, fmt.Sprintf("n%d.log", c.nextID))}
	c.nextID++
	var err error
	if n.at, n.Addr, n.peer, err = c.net.place(n.ID); err != nil {
		return nil, err
	}
	if n.disk, err = newDisk(filepath.Join(c.dir, fmt.Sprint("n", n.ID)), c.disks); err != nil {
		return nil, err
	}
	n.args = append([]string{"--id", strconv.Itoa(n.ID), "--data-dir", filepath.Join(n.disk.dir, "data"),
		"--addr", n.Addr, "--peer-addr", n.peer, "--cluster-secret-file", c.secret, "--requirepass", password,
		"--segment-size", "1mb", "--snapshot-log-size", "2mb", "--log-format", "json"}, c.extra...)
	return n, nil
}

// members returns the nodes that are meant to be in the cluster.
func (c *Cluster) members() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Node(nil), c.nodes...)
}

// surviving says whether clients of n may expect service from a to b: n itself is left
// alone and so is a majority.
func (c *Cluster) surviving(n *Node, a, b time.Time) bool {
	if n.troubled(a, b) {
		return false
	}
	c.mu.Lock()
	nodes, known := c.nodes, false
	c.mu.Unlock()
	troubled := 0
	for _, m := range nodes {
		known = known || m == n
		if m.troubled(a, b) {
			troubled++
		}
	}
	return known && troubled <= (len(nodes)-1)/2
}

// leader finds who leads by the word of a majority's newest term; nil if nobody can tell.
func (c *Cluster) leader() *Node {
	var lead *Node
	newest := -1
	for _, n := range c.members() {
		if !n.running() {
			continue
		}
		info := c.info(n)
		term, _ := strconv.Atoi(info["raft_term"])
		if info["raft_role"] == "leader" && info["raft_quorum_ok"] == "1" && term > newest {
			lead, newest = n, term
		}
	}
	return lead
}

// awaitLeader waits until somebody leads.
func (c *Cluster) awaitLeader(limit time.Duration) *Node {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if n := c.leader(); n != nil {
			return n
		}
	}
	return nil
}

func (c *Cluster) info(n *Node) map[string]string {
	reply, err := n.ask(time.Second, "INFO", "raft")
	if err != nil {
		return nil
	}
	fields := map[string]string{}
	text, _ := reply.(string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// awaitReady waits until each of the nodes answers a linearizable read.
func (c *Cluster) awaitReady(nodes []*Node, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for _, n := range nodes {
		for {
			_, err := n.ask(5*time.Second, "EXISTS", "x")
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%v does not serve after %v: %w", n, limit, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// restart starts a node that has ended and closes its spell when it serves again.
func (c *Cluster) restart(n *Node, over func()) error {
	if err := n.start(c.binary); err != nil {
		return err
	}
	err := c.awaitReady([]*Node{n}, startLimit)
	if err == nil {
		over()
	}
	return err
}

// sameDigests compares all replicated data at an equal index.
func (c *Cluster) sameDigests(limit time.Duration) error {
	var seen map[string]string
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		seen = map[string]string{}
		different := map[string]bool{}
		for _, n := range c.members() {
			reply, err := n.ask(10*time.Second, "RAFT", "DIGEST")
			seen[n.String()] = fmt.Sprint(reply, err)
			different[fmt.Sprint(reply)] = true
			if err != nil {
				different[err.Error()] = true
			}
		}
		if len(different) == 1 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("digests differ: %v", seen)
		}
	}
}

// crashes tells of processes that ended by themselves, removed nodes included.
func (c *Cluster) crashes() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range append(append([]*Node(nil), c.nodes...), c.gone...) {
		n.mu.Lock()
		all = append(all, n.crashes...)
		n.mu.Unlock()
	}
	return all
}

// grow adds a node and waits until it votes.
func (c *Cluster) grow(limit time.Duration) (*Node, error) {
	n, err := c.newNode()
	if err != nil {
		return nil, err
	}
	var peers []string
	for _, m := range c.members() {
		peers = append(peers, m.peer)
	}
	n.args = append(n.args, "--join", strings.Join(peers, ","))
	over := n.trouble("joins")
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	if err := n.start(c.binary); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if voter, _ := c.isVoter(n.ID); voter {
			if err := c.awaitReady([]*Node{n}, startLimit); err != nil {
				return n, err
			}
			over()
			return n, nil
		}
	}
	return n, fmt.Errorf("%v did not become a voter in %v", n, limit)
}

// isVoter asks the leader's list of members.
func (c *Cluster) isVoter(id int) (voter, known bool) {
	lead := c.leader()
	if lead == nil {
		return false, false
	}
	reply, err := lead.ask(5*time.Second, "RAFT", "MEMBERS")
	members, ok := reply.([]any)
	if err != nil || !ok {
		return false, false
	}
	for _, m := range members {
		fields, _ := m.([]any)
		row := map[string]string{}
		for i := 0; i+1 < len(fields); i += 2 {
			row[fmt.Sprint(fields[i])] = fmt.Sprint(fields[i+1])
		}
		if row["id"] == strconv.Itoa(id) {
			return row["voter"] == "1" || row["voter"] == "true", true
		}
	}
	return false, true
}

// shrink removes a member for good: from the configuration, then its process and disk.
func (c *Cluster) shrink(n *Node, limit time.Duration) error {
	n.trouble("removed")
	var last error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		via := c.leader()
		if via == nil {
			continue
		}
		_, last = via.ask(15*time.Second, "RAFT", "REMOVE", n.ID)
		if c.left(n.ID) {
			n.kill()
			c.forget(n)
			return n.disk.free()
		}
	}
	return fmt.Errorf("%v could not be removed in %v: %w", n, limit, last)
}

// left says that the leader's list no longer has the id at all.
func (c *Cluster) left(id int) bool {
	lead := c.leader()
	if lead == nil {
		return false
	}
	reply, err := lead.ask(5*time.Second, "RAFT", "MEMBERS")
	return err == nil && !strings.Contains(fmt.Sprint(reply), fmt.Sprintf("[id %d ", id))
}

func (c *Cluster) forget(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.nodes {
		if m == n {
			c.nodes = append(append([]*Node(nil), c.nodes[:i]...), c.nodes[i+1:]...)
			c.gone = append(c.gone, n)
			return
		}
	}
}

// stop ends everything; logs stay.
func (c *Cluster) stop() error {
	var errs []error
	for _, n := range c.members() {
		n.signal(syscall.SIGCONT)
		n.disk.thaw()
		n.kill()
		errs = append(errs, n.disk.free())
	}
	errs = append(errs, c.net.reset())
	return errors.Join(errs...)
}

// pick draws one of the nodes.
func pick(rng *rand.Rand, nodes []*Node) *Node { return nodes[rng.IntN(len(nodes))] }
