package node

import "errors"

// ErrDiskStalled stops a node whose disk owes an answer for Config.StallLimit.
var ErrDiskStalled = errors.New("the disk does not answer")

// replyError is an error whose text is the reply, in Redis's words.
type replyError string

func (e replyError) Error() string { return string(e) }

// Replies to clients. Definite ones promise that nothing happened and nothing
// will; errUnknownOutcome and errReplyLost are the only other kind (DESIGN 10).
const (
	errNoLeader       = replyError("CLUSTERDOWN The cluster has no leader; nothing was written, try again")
	errBusy           = replyError("ERR the cluster is too busy; nothing was written, try again")
	errRemoved        = replyError("CLUSTERDOWN This node was removed from its cluster; nothing was written, use another node")
	errStopped        = replyError("CLUSTERDOWN This node is shutting down; nothing was written, use another node")
	errUnknownOutcome = replyError("TIMEOUT The command may or may not have been applied")
	errReplyLost      = replyError("TIMEOUT applied, reply lost")
	// errDiskFull is definite: the chunk was not proposed. The prefix is Redis's for a
	// server whose disk refuses.
	errDiskFull = replyError("MISCONF No space left on device: the cluster has no quorum with free disk space. " +
		"Nothing was written. Reads and commands that free memory, such as DEL, go on")
	errTooBig = replyError("ERR command exceeds the maximum size of a log entry")
)

// noLeader is what a request hears that found no leader in time; removed: this node
// left its cluster, so waiting longer would not help.
func noLeader(removed bool) error {
	if removed {
		return errRemoved
	}
	return errNoLeader
}
