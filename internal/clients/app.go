package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// appRun is one application's run while leaders end. Survivor is a node that is left
// alone throughout; calm is closed when the last fault is over.
type appRun struct {
	h        *harness
	c        *cluster
	survivor *process
	prefix   string
	faults   int // leaders that ended, to be read when calm
	calm     chan struct{}
}

// appFaults is how many leaders end, by SIGKILL and SIGTERM in turn.
const appFaults = 4

// appLimit bounds an application's run: asynq gives tasks of lost workers to others after
// half a minute, and looks for them once a minute.
const appLimit = 170 * time.Second

// runApp runs an application that works all the time, and ends leaders meanwhile. It
// must end by itself some time after the faults.
func runApp(work func(ctx context.Context, r *appRun) (story string, err error)) func(h *harness) (string, error) {
	return func(h *harness) (string, error) {
		c, err := h.needCluster()
		if err != nil {
			return "", err
		}
		h.apps++
		r := &appRun{h: h, c: c, survivor: c.nodes[0], prefix: fmt.Sprintf("{app%d}", h.apps), calm: make(chan struct{})}
		ctx, cancel := context.WithTimeout(context.Background(), appLimit)
		defer cancel()
		type result struct {
			story string
			err   error
		}
		ended := make(chan result, 1)
		go func() {
			story, err := work(ctx, r)
			ended <- result{story, err}
		}()
		err = r.disturb()
		close(r.calm)
		got := <-ended
		story := fmt.Sprintf("%s; %d leaders ended", got.story, r.faults)
		return story, errors.Join(got.err, err, c.faults())
	}
}

func (r *appRun) disturb() error {
	for i := range appFaults {
		time.Sleep(1500 * time.Millisecond)
		lead, err := r.leader()
		if err != nil {
			return err
		}
		signal := syscall.SIGKILL
		if i%2 == 1 {
			signal = syscall.SIGTERM
		}
		if err := lead.end(signal); err != nil {
			return err
		}
		r.faults++
		time.Sleep(time.Second)
		if err := r.c.restart(lead); err != nil {
			return err
		}
	}
	return nil
}

// leader is a leader that is not the survivor.
func (r *appRun) leader() (*process, error) {
	var lead *process
	err := await(startLimit, func() bool {
		var err error
		if lead, err = r.c.leader(); err != nil || lead != r.survivor {
			return err == nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = r.survivor.admin.Do(ctx, "RAFT", "TRANSFER", r.c.nodes[1].id).Err()
		return false
	})
	return lead, err
}

// goingOn is true until the last fault is over.
func (r *appRun) goingOn() bool {
	select {
	case <-r.calm:
		return false
	default:
		return true
	}
}
