// Package progress is what a leader knows about one member: how far the member's
// durable log is known to match, what to send it next, and how much may be on the
// way. It decides nothing about the log's content and sends nothing itself.
//
// A member is in one of three states:
//
//	Probe      where its log ends is unknown: one message at a time, one answer
//	Replicate  it follows: messages stream, bounded by the window in flight
//	Snapshot   what it needs is no longer in the log: nothing until a snapshot went
//
//	  accepted ─────────▶ Replicate
//	Probe ◀── rejected ──────┘ │
//	  │ ▲                      │ entries compacted
//	  │ └── sent or failed ─┐  ▼
//	  └── compacted ──────▶ Snapshot
package progress
