package node

// replyError is an error whose text is the reply, in Redis's words.
type replyError string

func (e replyError) Error() string { return string(e) }

// Replies to clients. Definite ones promise that nothing happened and nothing
// will; errUnknownOutcome and errReplyLost are the only other kind (DESIGN 10).
const (
	errNoLeader       = replyError("CLUSTERDOWN The cluster has no leader; nothing was written, try again")
	errStopped        = replyError("CLUSTERDOWN This node is shutting down; nothing was written, use another node")
	errUnknownOutcome = replyError("TIMEOUT The command may or may not have been applied")
	errReplyLost      = replyError("TIMEOUT applied, reply lost")
	errTooBig         = replyError("ERR command exceeds the maximum size of a log entry")
)
