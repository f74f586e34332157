package node

import (
	"encoding/binary"
	"maps"

	"github.com/rkvdb/rkv/raftcore"
)

// Addresses are where a node's clients of other kinds than plain ones reach it; "" if
// it does not serve them.
type Addresses struct{ Cluster, Sentinel string }

// Acquaintance is what this node has heard of another, not from the log.
type Acquaintance struct {
	Addresses
	// Told: the node has said its addresses since this one started.
	Told bool
	// Connected: the nodes are connected now, in both directions.
	Connected bool
}

// neighbours keeps Acquaintances. They are told by a note whenever a connection comes
// up, rather than kept in the membership: addresses that only clients use may change
// with every restart, and nothing that votes depends on them.
type neighbours struct {
	own   Addresses
	known map[raftcore.NodeID]Acquaintance // never changed in place: Status shows it
}

func (b *neighbours) change(id raftcore.NodeID, f func(a *Acquaintance)) {
	known := maps.Clone(b.known)
	if known == nil {
		known = make(map[raftcore.NodeID]Acquaintance)
	}
	a := known[id]
	f(&a)
	known[id] = a
	b.known = known
}

// neighbour notes that a peer came or went.
func (l *loop) neighbour(id raftcore.NodeID, up bool) {
	l.neighbours.change(id, func(a *Acquaintance) { a.Connected = up })
	l.news = true
}

// addresses takes a peer's.
func (l *loop) addresses(from raftcore.NodeID, told Addresses) {
	l.neighbours.change(from, func(a *Acquaintance) { a.Addresses, a.Told = told, true })
	l.news = true
}

func appendAddresses(a Addresses) []byte {
	b := binary.AppendUvarint(nil, noteAddresses)
	b = appendNoteBytes(b, []byte(a.Cluster))
	return appendNoteBytes(b, []byte(a.Sentinel))
}

// maxAddress bounds an address of a note: it is kept and shown to clients.
const maxAddress = 300

func (r *noteReader) addresses() (a Addresses) {
	cluster, sentinel := r.bytes(), r.bytes()
	if len(cluster) > maxAddress || len(sentinel) > maxAddress {
		r.bad = true
		return a
	}
	return Addresses{string(cluster), string(sentinel)}
}
