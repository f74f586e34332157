package transport

import (
	"sync/atomic"

	"github.com/rkvdb/rkv/raftcore"
)

// Stats are counters since New.
type Stats struct {
	FramesIn, FramesOut       uint64
	BytesIn, BytesOut         uint64
	Flushes                   uint64 // batches handed to the kernel
	DroppedControl            uint64 // messages not queued: lane down or full
	DroppedBulk               uint64
	DroppedNotes              uint64 // SendNote said false
	RefusedUnits              uint64 // units SendUnits did not take, or that were unsent when the lane broke
	Accepted, Dialed          uint64 // handshakes completed
	DialFailures              uint64
	Rejected                  map[Reason]uint64 // handshakes we refused
	Garbage                   uint64            // connections closed before a readable hello
	BadFrames                 uint64            // connections closed for damaged or forbidden frames
	SnapshotsIn, SnapshotsOut uint64            // completed streams
	Peers                     []PeerStats       // by ID
}

// PeerStats is the state of the connections to one peer of SetPeers.
type PeerStats struct {
	ID                      raftcore.NodeID
	Up                      bool // as reported by PeerChanged
	ControlUp, BulkUp       bool // outgoing lanes
	ControlQueue, BulkQueue int  // bytes waiting or being written
	LastError               string
}

// counters are what Stats copies.
type counters struct {
	framesIn, framesOut         atomic.Uint64
	bytesIn, bytesOut           atomic.Uint64
	flushes                     atomic.Uint64
	droppedControl, droppedBulk atomic.Uint64
	refusedUnits                atomic.Uint64
	droppedNotes                atomic.Uint64
	accepted, dialed            atomic.Uint64
	dialFailures                atomic.Uint64
	rejected                    [reasonCount]atomic.Uint64
	garbage, badFrames          atomic.Uint64
	snapshotsIn, snapshotsOut   atomic.Uint64
}

func (c *counters) copy() Stats {
	s := Stats{
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Flushes:        c.flushes.Load(),
		DroppedControl: c.droppedControl.Load(), DroppedBulk: c.droppedBulk.Load(),
		RefusedUnits: c.refusedUnits.Load(), DroppedNotes: c.droppedNotes.Load(),
		Accepted: c.accepted.Load(), Dialed: c.dialed.Load(),
		DialFailures: c.dialFailures.Load(),
		Rejected:     make(map[Reason]uint64),
		Garbage:      c.garbage.Load(), BadFrames: c.badFrames.Load(),
		SnapshotsIn: c.snapshotsIn.Load(), SnapshotsOut: c.snapshotsOut.Load(),
	}
	for r := range c.rejected {
		if n := c.rejected[r].Load(); n > 0 {
			s.Rejected[Reason(r)] = n
		}
	}
	return s
}
