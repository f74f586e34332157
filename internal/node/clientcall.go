package node

import (
	"context"
	"fmt"

	"github.com/rkvdb/rkv/raftcore"
)

// callClient asks a node to do something with one of its clients.
const callClient = "client"

// ServeClientCalls sets who does what other nodes ask of this node's clients. It is
// called once, before clients are served. serve may block.
func (n *Node) ServeClientCalls(serve func(words []string) (int64, error)) {
	n.clientCalls.Store(&serve)
}

// ClientCall asks the node with the id to do something with one of its clients, and
// returns what it answered; 0 if no such node takes part. It blocks until then or
// until ctx ends. After an error nobody knows whether it was done.
func (n *Node) ClientCall(ctx context.Context, id uint64, words []string) (int64, error) {
	m := findMember(n.Status().Membership, raftcore.NodeID(id))
	if m == nil {
		return 0, nil
	}
	r, err := n.ask(ctx, m.PeerAddr, call{Kind: callClient, From: n.self(), Words: words})
	switch {
	case err != nil:
		return 0, replyError(fmt.Sprintf("TIMEOUT node %d, which has the client, did not answer", id))
	case r.Error != "":
		return 0, replyError(r.Error)
	}
	return r.Value, nil
}

func (n *Node) answerClientCall(c call, r *callReply) {
	serve := n.clientCalls.Load()
	if serve == nil {
		r.Error = "ERR the node does not serve clients yet"
		return
	}
	var err error
	if r.Value, err = (*serve)(c.Words); err != nil {
		r.Error = err.Error()
	}
}
