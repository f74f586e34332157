package transport

import "fmt"

// Reason says why a handshake was refused. The values are part of the protocol.
type Reason uint8

// The reasons. Those from ReasonCluster on are sent with proof of the secret.
const (
	ReasonNone         Reason = iota
	ReasonVersion             // protocol version not spoken here
	ReasonLane                // unknown lane
	ReasonSecret              // the proof is wrong
	ReasonCluster             // both cluster ids are known and differ
	ReasonReceiver            // dialed another node or incarnation than meant
	ReasonSender              // the sender's incarnation is not the one our membership names
	ReasonOldBoot             // this incarnation was already seen with a later boot
	ReasonSecondHolder        // another live process has this id, incarnation and boot
	ReasonBusy                // too many connections of this kind, or a peer to be asked about its past again
	ReasonOldCopy             // an older copy of a directory that was met since
	reasonCount
)

var reasonTexts = [reasonCount]string{
	ReasonNone:         "accepted",
	ReasonVersion:      "unsupported protocol version",
	ReasonLane:         "unknown lane",
	ReasonSecret:       "wrong cluster secret",
	ReasonCluster:      "another cluster's id",
	ReasonReceiver:     "not the node or incarnation that was dialed",
	ReasonSender:       "the sender's incarnation is not the member's",
	ReasonOldBoot:      "a later boot of this incarnation was already seen",
	ReasonSecondHolder: "another live process has the same identity",
	ReasonBusy:         "busy",
	ReasonOldCopy:      "its data directory is an older copy, or a copy of it went on elsewhere",
}

// String is the reason in a log line.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonTexts[r]
	}
	return fmt.Sprintf("unknown reason %d", uint8(r))
}

// RefusedError is a handshake refused by the other side, or by us if the other
// side failed to prove itself. Retrying helps only after somebody changed
// something.
type RefusedError struct {
	Addr   string
	Reason Reason
}

// Error names the address and the reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("transport: %s refused the connection: %s", e.Addr, e.Reason)
}

// RemoteError is an error returned by the peer's handler of a call or snapshot.
type RemoteError struct{ Text string }

// Error is the remote handler's text.
func (e *RemoteError) Error() string { return "transport: peer answered: " + e.Text }
