package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// machine is a computer with a disk and a clock, and at most one process.
type machine struct {
	w    *world
	id   raftcore.NodeID
	addr string
	disk *vfs.Mem
	proc *proc
	join bool // a new directory joins instead of founding

	// The clock: mono runs at its own rate; wall is what must be added to mono.
	mono, monoAt time.Duration
	ppm          int64
	wall         int64 // ms

	diskMean    time.Duration // of one sync
	stuckUntil  time.Duration // the disk answers nothing before
	gone        bool          // for good
	harmed      bool          // what it acknowledged may be lost here
	harmIndex   uint64        // repaired when it holds this index again
	spoilt      bool          // bytes at rest were damaged since the last start
	wiped       bool          // emptied: its old identity will not come back
	refused     error         // why it does not start; wants an operator
	restarting  bool
	held        durable
	batches     [2]int64        // bytes of entries in the last two writes of the log
	ambiguous   []node.SyncItem // the batch under way when the power failed
	incarnation uint64          // of the last start
	cluster     uint64          // its genesis seed as of the last start; stale once wiped
	second      bool            // its snapshots descend from a snapshot
	dying       bool            // its power fails at a coming write
	full        bool

	copy            *vfs.Mem // of the disk, taken while nobody ran on it
	copyIncarnation uint64
	rolledBack      bool   // its disk is such a copy
	level           uint16 // the apply level that the installed version knows
}

// proc is one process: a node's steps and what the system around it remembers.
type proc struct {
	w           *world
	m           *machine
	s           *node.Steps
	id          node.Identity
	cluster     [16]byte // zero until known
	dead        bool
	pausedUntil time.Duration
	postponed   []func()      // what happened to it while it was paused
	frozenUntil time.Duration // when its last pause ended

	peers map[raftcore.NodeID]transport.Peer

	turnDue, syncBusy, applyBusy, fetchBusy bool
	syncJob, applyJob, fetchJob             node.Job
	events                                  procEvents
	syncItems                               []node.SyncItem
	syncSince                               time.Duration
	snap                                    *node.SnapshotRun
	receiving                               bool
	fromSnapshot                            bool

	seen     seen
	fallible bool // a disk fault was injected: stopping is right
}

// procEvents are what happens to a process all the time, made once.
type procEvents struct{ tick, turn, sync, apply, fetch func() }

func newProc(m *machine) *proc {
	p := &proc{w: m.w, m: m, peers: map[raftcore.NodeID]transport.Peer{}}
	p.events = procEvents{p.tick, p.turn, p.sync, p.apply, p.fetch}
	return p
}

func (m *machine) monotonic() time.Duration {
	dt := m.w.now - m.monoAt
	m.mono += dt + dt*time.Duration(m.ppm)/1e6
	m.monoAt = m.w.now
	return m.mono
}

var epoch = time.UnixMilli(1_700_000_000_000)

func (m *machine) clock() time.Time { return epoch.Add(m.monotonic()) }

func (w *world) addMachine(join bool) *machine {
	id := raftcore.NodeID(len(w.machines) + 1)
	m := &machine{w: w, id: id, addr: fmt.Sprintf("10.0.0.%d:1", id), disk: vfs.NewMem(), join: join, diskMean: w.opt.disk}
	m.mono = time.Duration(w.rng.Int64N(int64(time.Hour)))
	m.wall = -m.mono.Milliseconds() + w.rng.Int64N(1000)
	if w.opt.faults[faultDrift] {
		m.ppm = w.rng.Int64N(2*w.opt.ppm) - w.opt.ppm
	}
	w.install(m)
	w.machines = append(w.machines, m)
	return m
}

func (m *machine) config() node.Config {
	o, addr := &m.w.opt, m.addr
	if m.w.ghost == m {
		addr = m.w.machine(m.id).addr // its configuration is a copy, too
	}
	cfg := node.Config{
		ID: m.id, DataDir: "/data", PeerAddr: addr, ClientAddr: addr,
		ElectionTimeout: o.election, Heartbeat: o.heartbeat,
		SnapshotLogBytes: o.snapshotBytes, KeepLogBytes: o.keepBytes, SegmentSize: o.segment,
		MaxEntryBytes: o.maxEntry, LargeUnit: o.largeUnit, Level: m.level,
		FS: m.disk, Logger: m.w.logger, Now: m.clock,
		Wall:   func(t time.Time) int64 { return t.UnixMilli() + m.wall },
		Random: func() uint64 { return m.w.rng.Uint64()>>1 | 1 },
		Tune: func(c *raftcore.Config) {
			c.WindowBytes, c.MaxUnappliedBytes = o.window, o.window
			c.MaxMessageBytes, c.MaxInflightBytes = o.message, o.inflight
			c.MaxInflightMessages, c.MaxUncommittedBytes = o.inflightMessages, o.uncommitted
			c.CatchUpRate = 50 * int64(o.message) * int64(m.w.seed%4)
		},
		Inline: true,
	}
	if m.join {
		for _, x := range m.w.machines {
			if x != m && !x.gone {
				cfg.Join = append(cfg.Join, x.addr)
			}
		}
	} else {
		cfg.Initial = map[raftcore.NodeID]string{}
		for id := 1; id <= o.nodes; id++ {
			cfg.Initial[raftcore.NodeID(id)] = m.w.machines[id-1].addr
		}
	}
	return cfg
}

// start boots a process. One that refuses to start says why, and waits for an
// operator (nemesis).
func (m *machine) start() {
	m.restarting = false
	if m.proc != nil || m.gone || m.refused != nil {
		return
	}
	w := m.w
	m.disk.SetFault(nil)
	m.keepCopy()
	p := newProc(m)
	s, err := node.StepOpen(m.config(), p)
	p.s = s
	if err != nil {
		w.say("node %d does not start: %v", m.id, err)
		m.notStarted(p, err)
		return
	}
	p.id = s.Identity()
	m.proc = p
	w.say("node %d starts, incarnation %x boot %d", m.id, p.id.Incarnation, p.id.Boot)
	w.note(1, uint64(m.id), p.id.Boot)
	if f := s.NewFormation(); f != nil {
		p.form(f)
		return
	}
	p.recover()
}

// form asks its way into a cluster.
func (p *proc) form(f *node.Formation) {
	done, err := f.Done()
	if err == nil && !done {
		q, ok := f.Next()
		if !ok {
			p.w.after(node.FormRetry, p, func() { p.form(f) })
			return
		}
		p.w.call(p, q, func(r *node.Reply) {
			if _, err := f.Answer(q, r); err != nil {
				p.w.fail("genesis", "node %d: %v", p.m.id, err)
			}
			p.form(f)
		})
		return
	}
	if err != nil {
		p.exit(err)
		return
	}
	p.id = p.s.Identity()
	p.recover()
}

func (p *proc) recover() {
	if err := p.s.Recover(); err != nil {
		p.m.notStarted(p, err)
		return
	}
	p.cluster = p.id.Genesis.ClusterID()
	p.w.judge.recovered(p)
	p.w.net.appeared(p)
	p.dial()
	p.tick()
	p.settle()
}

// notStarted judges a refusal: damage that was planted is a good reason.
func (m *machine) notStarted(p *proc, err error) {
	w := m.w
	w.say("node %d does not start: %v", m.id, err)
	p.dead = true
	p.s.Kill()
	m.proc = nil
	var logDamage *segmentlog.CorruptionError
	var hardDamage *segmentlog.HardStateError
	var snapDamage *snapshot.CorruptionError
	switch {
	case m.outdated(err):
		m.restartLater()
	case m.spoilt || errors.As(err, &logDamage) && m.harmed || errors.As(err, &hardDamage) && m.harmed || errors.As(err, &snapDamage) && m.harmed:
		m.refused = err
		w.hit("refused to start on damage")
	case p.fallible || isInjected(err):
		m.restartLater()
	default:
		w.fail("I19", "node %d cannot start although its disk was not damaged: %v", m.id, err)
	}
}

// tick tells the loop of the time.
func (p *proc) tick() {
	p.s.Turn(true)
	d := p.s.TickInterval()
	p.w.after(d-d*time.Duration(p.m.ppm)/1e6, p, p.events.tick)
}

// settle looks for work after anything happened to the process, and checks it.
func (p *proc) settle() {
	if !p.s.Running() || p.pausedUntil > p.w.now {
		return
	}
	w := p.w
	w.judge.step(p)
	select {
	case <-p.s.Failed():
		p.exit(p.s.Err())
		return
	default:
	}
	if !p.turnDue && p.s.Dirty() {
		p.turnDue = true
		w.after(w.between(5*time.Microsecond, 100*time.Microsecond), p, p.events.turn)
	}
	if !p.syncBusy {
		if job, items := p.s.TakeSync(); job != nil {
			p.syncBusy, p.syncJob, p.syncItems, p.syncSince = true, job, items, w.now
			w.after(p.m.diskTime(), p, p.events.sync)
		}
	}
	if !p.applyBusy {
		if job := p.s.TakeApply(); job != nil {
			p.applyBusy, p.applyJob = true, job
			w.after(w.between(10*time.Microsecond, w.opt.applyMax), p, p.events.apply)
		}
	}
	if !p.fetchBusy {
		if job := p.s.TakeFetch(); job != nil {
			p.fetchBusy, p.fetchJob = true, job
			w.after(w.between(10*time.Microsecond, time.Millisecond), p, p.events.fetch)
		}
	}
}

// diskTime is how long the next sync takes. A slow disk stays slow when the faults
// are over, but then it is not one that hangs: a leader whose disk is silent for an
// election timeout rightly hands over, and none is expected to then.
func (m *machine) diskTime() time.Duration {
	d := max(m.stuckUntil-m.w.now, 0) + m.diskMean/4 + m.w.around(m.diskMean)
	if m.w.healing {
		d = min(d, m.w.opt.election/2)
	}
	return d
}

// sync performs the batch the disk was given.
func (p *proc) sync() {
	if p.m.stuckUntil > p.w.now {
		p.w.after(p.m.diskTime(), p, p.events.sync)
		return
	}
	job, items := p.syncJob, p.syncItems
	p.syncBusy, p.syncJob, p.syncItems = false, nil, nil
	before := p.s.Log().Stats()
	if err := job(); err != nil {
		if noSpaceError(err) {
			p.w.hit("disk full met by the log")
		}
		p.m.ambiguous = append(p.m.ambiguous, items...)
		return
	}
	if after := p.s.Log().Stats(); after.Truncations > before.Truncations && after.Segments < before.Segments {
		p.w.hit("truncation across a segment boundary")
	}
	p.w.judge.saved(p, items)
}

// turn lets the loop look at what happened.
func (p *proc) turn() {
	p.turnDue = false
	p.s.Turn(false)
}

// fetch reads old entries.
func (p *proc) fetch() {
	job := p.fetchJob
	p.fetchBusy, p.fetchJob = false, nil
	_ = job()
}

// apply performs the batch the state machine was given.
func (p *proc) apply() {
	job := p.applyJob
	p.applyBusy, p.applyJob = false, nil
	before := p.s.Store().Applied()
	if err := job(); err != nil {
		if !p.fallible && !isInjected(err) && !errors.Is(err, kv.ErrUnknown) {
			p.w.fail("apply", "node %d: %v", p.m.id, err)
		}
		return
	}
	p.w.judge.applied(p, before)
}

// exit is a process that stops itself because of an error.
func (p *proc) exit(err error) {
	p.w.say("node %d stops: %v", p.m.id, err)
	if errors.Is(err, node.ErrDiskStalled) && p.stalled() {
		p.w.hit("stopped by a disk that hangs")
	} else if !p.m.superseded(err) && !p.m.outdated(err) && !p.fallible && !p.m.spoilt && !p.m.harmed && !isInjected(err) {
		p.w.fail("stop", "node %d stopped without cause: %v", p.m.id, err)
	}
	p.w.hit("node stopped itself")
	p.kill()
	if p.m.dying {
		p.m.powerOff()
	}
	p.m.restartLater()
}

// stalled: the disk has hung for so long that the process rightly gives up (node's
// StallLimit). Its clock may run fast.
func (p *proc) stalled() bool {
	return p.syncBusy && p.w.now-p.syncSince > 24*time.Second
}

// kill ends the process at once; what it wrote stays in the system's memory.
func (p *proc) kill() {
	if p.dead {
		return
	}
	w := p.w
	p.lastMoments()
	if p.syncBusy {
		p.m.ambiguous = append(p.m.ambiguous, p.syncItems...)
		if !p.m.frozen() && w.chance(0.5) {
			// The write was under way, and the system finished it.
			_ = p.syncJob()
			w.hit("killed after its write, before it noticed")
		}
	}
	p.dead = true
	p.m.proc = nil
	for _, c := range w.clients {
		c.lost(p)
	}
	p.s.Kill()
	w.net.vanished(p)
	w.note(2, uint64(p.m.id))
}

// lastMoments counts what a death interrupts.
func (p *proc) lastMoments() {
	if !p.s.Running() || p.w.healing {
		return
	}
	w, c := p.w, p.s.Core()
	writing := p.syncItems
	entries := false
	for _, it := range writing {
		if it.Save == nil {
			continue
		}
		entries = entries || len(it.Save.Entries) > 0
		if h := it.Save.HardState; h != nil && h.Vote != 0 && h.Vote != p.m.id {
			w.hit("killed before its vote was durable")
		}
	}
	if v := w.judge.votes[ballotID{p.tenantID(), c.Term()}]; v != 0 && v != p.m.id {
		w.hit("killed after its vote was durable")
	}
	if c.Role() != raftcore.Leader {
		return
	}
	if entries {
		w.hit("leader killed before its own fsync")
	}
	alone := c.LastIndex() > c.Commit()
	for _, q := range w.running() {
		alone = alone && (q == p || q.s.Core().LastIndex() < c.LastIndex())
	}
	if alone {
		w.hit("leader killed with entries nobody else has")
	}
}

func (m *machine) frozen() bool { return m.stuckUntil > m.w.now }

// restartLater brings the machine's process back after a while.
func (m *machine) restartLater() {
	if m.restarting || m.gone {
		return
	}
	m.restarting = true
	down := m.w.around(m.w.opt.downTime)
	if m.w.healing {
		down = min(down, m.w.opt.election) // faults are over, and minutes of absence are one
	}
	m.w.after(down, nil, m.start)
}

// errDisk marks errors that the simulator injects.
var errDisk = errors.New("injected")

func isInjected(err error) bool {
	return errors.Is(err, errDisk) || errors.Is(err, vfs.ErrCrashed) || noSpaceError(err)
}
