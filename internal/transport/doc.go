// Package transport carries what the nodes of one cluster say to each other:
// Raft messages, proposals of a follower's clients, snapshot streams and rare
// calls (genesis, join). It authenticates, frames, bounds and orders bytes; it
// decides nothing about the log and never retries a message: Raft does.
//
// # Lanes
//
// To every peer a node dials two one-way connections. The control lane carries
// votes, heartbeats, read indexes and acknowledgements; the bulk lane carries
// every MsgAppend, units, refusals and notes. A heartbeat is thus never behind entries
// (RELIABILITY R36). All MsgAppend share one lane, also those without entries:
// an empty one that overtook the entries before it would be rejected and throw
// the pipeline back to probing. A snapshot has its own connection for as long as
// it lasts, a call likewise.
//
// # Why it cannot deadlock
//
// A reader waits for no outgoing queue, whatever its state; the Handler may compute
// on it, and on a bulk lane wait for the disk, but not for a peer. Flush writes what
// a socket takes and leaves the rest to the lane's goroutine, which waits for nothing
// but its own socket. A queue that is full drops messages, or refuses units, and
// never blocks its caller.
//
// # Goroutines
//
//   - one acceptor;
//   - per incoming connection: one that shakes hands, then reads (snapshot and
//     call handlers run on it, too); a snapshot adds one that says "still alive";
//   - per peer and lane: one that dials, shakes hands, then writes what Flush could
//     not write at once; while it is connected, one that notices the other side
//     hanging up;
//   - SendSnapshot and Call run on their caller, a snapshot with one reader.
//
// Close ends all of them and waits for them.
//
// # What the handshake is worth
//
// The HMAC challenge proves that both ends hold the cluster secret when the
// connection begins. It keeps out strangers, wrong clusters and wrong nodes. It
// neither hides nor seals the frames that follow: against somebody who can
// rewrite packets on the path the network itself must be trusted until there is
// TLS between peers.
package transport
