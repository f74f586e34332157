package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Node is one rkv process with its place on the network and its disk. It outlives the
// process: killed and started again it is the same node.
type Node struct {
	ID   int
	Addr string // of clients
	peer string

	at   place
	disk *disk
	args []string // behind "server"
	log  string   // file

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	doomed  bool // its end is our doing
	crashes []string
	spells  []spell
}

// spell is a time in which the node's clients have to expect errors. An open one has no end.
type spell struct {
	from, to time.Time
	why      string
}

func (n *Node) String() string { return fmt.Sprint("n", n.ID) }

// start runs the process; it must not be running.
func (n *Node) start(binary string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary, append([]string{"server"}, n.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := n.at.launch(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.cmd, n.exited, n.doomed = cmd, exited, false
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		if !n.doomed {
			n.crashes = append(n.crashes, fmt.Sprintf("%v ended by itself: %v (see %s)", n, err, filepath.Base(n.log)))
		}
		n.mu.Unlock()
		close(exited)
	}()
	return nil
}

// signal sends to the process, if it runs. SIGKILL and SIGTERM announce its end.
func (n *Node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		n.doomed = true
	}
	_ = n.cmd.Process.Signal(s)
}

// end waits until the process is gone; after the limit it is killed.
func (n *Node) end(limit time.Duration) (timely bool) {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	if exited == nil {
		return true
	}
	select {
	case <-exited:
		timely = true
	case <-time.After(limit):
		n.signal(syscall.SIGKILL)
		<-exited
	}
	n.mu.Lock()
	n.cmd, n.exited = nil, nil
	n.mu.Unlock()
	return timely
}

func (n *Node) kill() {
	n.signal(syscall.SIGKILL)
	n.end(time.Minute)
}

func (n *Node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// trouble opens a spell; the returned function closes it.
func (n *Node) trouble(why string) (over func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := len(n.spells)
	n.spells = append(n.spells, spell{from: time.Now(), why: why})
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.spells[i].to.IsZero() {
			n.spells[i].to = time.Now()
		}
	}
}

// troubled says whether a spell touches the time from a to b.
func (n *Node) troubled(a, b time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.spells {
		if s.from.Before(b) && (s.to.IsZero() || s.to.After(a)) {
			return true
		}
	}
	return false
}

// admin opens a client of the harness itself, apart from all histories.
func (n *Node) admin(limit time.Duration) *redis.Client {
	return redis.NewClient(clientOptions(n, 2, limit))
}

// ask sends one command on a connection of its own.
func (n *Node) ask(limit time.Duration, args ...any) (any, error) {
	rdb := n.admin(limit)
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return rdb.Do(ctx, args...).Result()
}
