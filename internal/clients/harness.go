package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// harness holds what runs share: the cluster, and what had to be installed.
type harness struct {
	binary  string
	dir     string
	cluster *cluster
	started int
	apps    int
	runs    int
}

func newHarness() (*harness, error) {
	bin, err := filepath.Abs(*binary)
	if err == nil {
		_, err = os.Stat(bin)
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rkv-clients-")
	if err != nil {
		return nil, err
	}
	return &harness{binary: bin, dir: dir}, nil
}

// needCluster is the running cluster; a new one if there is none.
func (h *harness) needCluster() (*cluster, error) {
	if h.cluster != nil {
		return h.cluster, nil
	}
	h.started++
	dir := filepath.Join(h.dir, fmt.Sprint("cluster", h.started))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := newCluster(h.binary, dir, *port)
	h.cluster = c
	return c, err
}

func (h *harness) stopCluster() error {
	c := h.cluster
	h.cluster = nil
	if c == nil {
		return nil
	}
	return c.stop()
}

func (h *harness) close() error {
	err := h.stopCluster()
	if *keep || err != nil {
		fmt.Println("the nodes' directories and logs:", h.dir)
		return err
	}
	return os.RemoveAll(h.dir)
}

// target is where a run's client goes. The keys' common prefix has braces: cluster clients
// think in slots, even where all of them are one shard's.
func (h *harness) target(c *cluster, client, persona string, proto int) target {
	h.runs++
	t := target{Persona: persona, Proto: proto, Master: masterName,
		Prefix: fmt.Sprintf("{%s-%s-%d-%d-%d}", strings.ReplaceAll(client, " ", "-"), persona, proto, os.Getpid(), h.runs)}
	for _, p := range c.nodes {
		t.Addrs = append(t.Addrs, map[string]string{"plain": p.plain, "cluster": p.cluster, "sentinel": p.sentinel}[persona])
	}
	return t
}

// summary is the line's text: checks, what the client cannot do, and the drill's story.
func (t *talk) summary(story string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := []string{fmt.Sprintf("%d checks", t.checks)}
	for _, l := range t.lacks {
		check, _, _ := strings.Cut(l, " ")
		parts = append(parts, "without "+check)
	}
	parts = append(parts, t.notes...)
	if story != "" {
		parts = append(parts, story)
	}
	return strings.Join(parts, "; ")
}

func orNone(err error) error {
	if err == nil {
		return errors.New("(the drill was well)")
	}
	return err
}
