package transport

import "github.com/rkvdb/rkv/raftcore"

// Stats are counters since New.
type Stats struct {
	FramesIn, FramesOut       uint64
	BytesIn, BytesOut         uint64
	Flushes                   uint64 // batches handed to the kernel
	DroppedControl            uint64 // messages not queued: lane down or full
	DroppedBulk               uint64
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
