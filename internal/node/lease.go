package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/raftcore"
)

// Reads by lease (docs/adr/0009). Barriers need nothing of what is here: the core
// answers them without a round while its lease holds. What is here lets a front end
// read without even asking the loop.

// leaseView is the loop's lease as other goroutines see it.
//
// The loop writes, anybody reads. A reader takes the term, then the commit index, reads
// what it wants from a state machine that has applied so much, then checks that the term
// is still there and the clock below until. The loop shows a new commit index before it
// lets anybody hear of it, and the end of a lease before it says what ends it, so at the
// moment of the check whatever was acknowledged anywhere was below a commit index shown
// in this term. The term keeps a reader from combining an index from before this node
// lost the leadership with a lease from after it won it back.
type leaseView struct {
	term   atomic.Uint64 // in which this node has a lease; 0: it has none
	commit atomic.Uint64
	until  atomic.Int64 // on Config.Elapsed
}

// show publishes the core's lease. The loop calls it between taking a Ready and
// performing it.
func (v *leaseView) show(c *raftcore.Core) {
	until := c.LeaseUntil()
	if until == 0 {
		if v.term.Load() != 0 {
			v.term.Store(0)
		}
		return
	}
	v.commit.Store(c.Commit())
	v.until.Store(until)
	if term := c.Term(); v.term.Load() != term {
		v.term.Store(term)
	}
}

// LeaseRead reports whether reads may run at once, without a barrier, if LeaseHolds(term)
// says so after they ran: this node leads by lease and has applied all that is committed.
// Any goroutine may call it.
func (n *Node) LeaseRead() (term uint64, ok bool) {
	if term = n.lease.term.Load(); term == 0 {
		return 0, false
	}
	n.asked.Add(1)
	return term, n.applier.index.Load() >= n.lease.commit.Load()
}

// LeaseHolds validates what was read since LeaseRead returned term: nobody else can have
// written meanwhile. If it is false, a barrier is needed and the reads must run again.
func (n *Node) LeaseHolds(term uint64) bool {
	return n.lease.term.Load() == term && n.cfg.Elapsed() < n.lease.until.Load()
}

// bootTime is CLOCK_BOOTTIME in nanoseconds: it never goes back, follows no correction of
// the date, and counts while the machine sleeps. The runtime's monotonic clock does not,
// and a lease read off it would outlive a suspended leader's rule.
func bootTime() int64 {
	var t unix.Timespec
	// It cannot fail on a system that runs this program's event loops. It never blocks, so
	// the scheduler is not told.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

// Read modes.
const (
	ReadQuorum = "quorum"
	ReadLease  = "lease"
)

// leasePolicy is the cluster setting that a read mode stands for on this node.
func (c *Config) leasePolicy(mode string) raftcore.LeasePolicy {
	if mode != ReadLease {
		return raftcore.LeasePolicy{}
	}
	return raftcore.LeasePolicy{
		TimeoutMillis: uint64(c.ElectionTimeout.Milliseconds()), DriftPPM: raftcore.DefaultDriftPPM,
	}
}

func readMode(p raftcore.LeasePolicy) string {
	if p.On() {
		return ReadLease
	}
	return ReadQuorum
}

// checkReadMode refuses a member that was told another mode than its cluster's: whoever
// started it believes something else about its reads.
func (n *Node) checkReadMode(m raftcore.Membership) error {
	member := findMember(m, n.identity.Node)
	if n.cfg.ReadMode == "" || member == nil || member.Incarnation != n.identity.Incarnation || n.cfg.ReadMode == readMode(m.Lease) {
		return nil
	}
	return fmt.Errorf("--read-mode is %s, but the cluster reads by %s; start the node without --read-mode, "+
		"and change the cluster's mode with: rkv cluster read-mode %s", n.cfg.ReadMode, readMode(m.Lease), n.cfg.ReadMode)
}

// SetReadMode switches the whole cluster to reads by quorum or by lease.
func (n *Node) SetReadMode(ctx context.Context, mode string) error {
	return n.setReadMode(ctx, call{Kind: callReadMode, Addr: mode})
}

func (n *Node) setReadMode(ctx context.Context, c call) error {
	if c.Addr != ReadQuorum && c.Addr != ReadLease {
		return replyError("ERR the read mode must be quorum or lease")
	}
	return n.asLeader(ctx, c, func(ctx context.Context) error { return n.await(ctx, n.switching(c.Addr)) })
}

// switching is done when the mode is committed.
func (n *Node) switching(mode string) condition {
	return func(l *loop) (bool, error) {
		if l.core.Role() != raftcore.Leader {
			return false, raftcore.ErrNotLeader
		}
		if readMode(l.core.LeasePolicy()) == mode {
			return !l.core.ChangeInProgress(), nil
		}
		err := l.core.ProposeLease(n.cfg.leasePolicy(mode))
		if errors.Is(err, raftcore.ErrChangeInProgress) || errors.Is(err, raftcore.ErrNotReady) || errors.Is(err, raftcore.ErrTransferring) {
			err = nil // soon
		}
		return false, err
	}
}

// noteLease logs what the cluster reads by, when that changes, and what is odd about it
// here.
func (l *loop) noteLease(m raftcore.Membership) {
	if m.Lease == l.policy {
		return
	}
	l.policy = m.Lease
	l.log.Info("read mode", "mode", readMode(m.Lease), "loyalty_ms", m.Lease.TimeoutMillis, "clock_drift_ppm", m.Lease.DriftPPM)
	if own := l.cfg.ElectionTimeout; m.Lease.On() && own < time.Duration(m.Lease.TimeoutMillis)*time.Millisecond {
		l.log.Warn("this node's election timeout is below the cluster's, which counts", "own", own.String())
	}
}
