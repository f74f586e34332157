package node

import (
	"encoding/binary"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// listeners keeps the other nodes' knowledge of what this node's clients listen to up
// to date. It is by state, not by history: for each peer there is a set of names whose
// number it has not been sent, and what is sent is the number of that moment. A
// connection that breaks makes everything unsent again.
//
// The two ends of a connection learn at different moments that it is up, and take
// nothing before. So each asks the other to repeat what it said, when it learns it: the
// later of the two is asked of, and asks, when both are ready.
type listeners struct {
	peers map[raftcore.NodeID]*listenerPeer
	// version counts the calls of Announce; the leader repeats the newest it has heard
	// completely.
	version  uint64
	announce []announcement
}

type listenerPeer struct {
	reset   bool // it must forget what it knows
	unsent  map[subscriptionKey]struct{}
	version uint64 // newest one sent
	named   bool   // it was told this node's addresses
	asked   bool   // it was asked to repeat
}

type announcement struct {
	version uint64
	since   time.Time
	done    func()
}

// announcePatience bounds how long a subscriber waits for the leader to know it: a
// subscription works without, only the numbers are late.
const announcePatience = 250 * time.Millisecond

// listeningPiece bounds the names of one note.
const listeningPiece = 1024

// Announce says how many of this node's clients listen to the names from now on. done,
// if not nil, is called once, on an arbitrary goroutine, when the leader knows, or when
// there is nobody to wait for. It never blocks.
func (n *Node) Announce(list []kv.Subscription, done func()) {
	ok := n.inbox.put(func(in *input) {
		in.calls = append(in.calls, func(l *loop) { l.announceListening(list, done) })
	})
	if !ok && done != nil {
		done()
	}
}

func (l *loop) announceListening(list []kv.Subscription, done func()) {
	ps := &l.pubsub
	ps.subs.set(l.id, list)
	ps.version++
	for _, peer := range ps.peers {
		for _, x := range list {
			peer.unsent[subscriptionKey{x.Kind, x.Name}] = struct{}{}
		}
	}
	l.sendListening()
	if done == nil {
		return
	}
	if leader := l.core.Leader(); leader == 0 || leader == l.id {
		done() // this node leads, or nobody does
		return
	}
	// A leader that is not connected yet, as after a start, is told when it is.
	ps.announce = append(ps.announce, announcement{ps.version, l.cfg.Now(), done})
}

// sendListening sends every peer what it lacks.
func (l *loop) sendListening() {
	for id, peer := range l.pubsub.peers {
		if !peer.asked {
			peer.asked = l.fx.sendNote(id, binary.AppendUvarint(nil, noteRepeat))
		}
		if !peer.named {
			peer.named = l.fx.sendNote(id, appendAddresses(l.neighbours.own))
		}
		for peer.reset || len(peer.unsent) > 0 || peer.version < l.pubsub.version {
			if !l.sendListeningPiece(id, peer) {
				break // it is tried again with the next tick
			}
		}
	}
}

func (l *loop) sendListeningPiece(id raftcore.NodeID, peer *listenerPeer) bool {
	var list []kv.Subscription
	for key := range peer.unsent {
		list = append(list, kv.Subscription{Kind: key.kind, Name: key.name, Count: l.pubsub.subs.count(l.id, key)})
		if len(list) == listeningPiece {
			break
		}
	}
	flags := uint64(0)
	if peer.reset {
		flags |= listeningReset
	}
	whole := len(list) == len(peer.unsent)
	if whole {
		flags |= listeningWhole
	}
	if !l.fx.sendNote(id, appendListening(l.pubsub.version, flags, list)) {
		return false
	}
	peer.reset = false
	for _, x := range list {
		delete(peer.unsent, subscriptionKey{x.Kind, x.Name})
	}
	if whole {
		peer.version = l.pubsub.version
	}
	return true
}

// listening takes what another node's clients listen to.
func (l *loop) listening(from raftcore.NodeID, version, flags uint64, list []kv.Subscription) {
	if l.pubsub.peers[from] == nil {
		return // this end does not know that it is connected; it will ask
	}
	if flags&listeningReset != 0 {
		l.pubsub.subs.drop(from)
	}
	l.pubsub.subs.set(from, list)
	if flags&listeningWhole != 0 && l.core.Leader() == l.id {
		l.fx.sendNote(from, binary.AppendUvarint(binary.AppendUvarint(nil, noteHeard), version))
	}
}

// heard is the leader's word that it knows this node's subscriptions.
func (l *loop) heard(from raftcore.NodeID, version uint64) {
	ps := &l.pubsub
	if from != l.core.Leader() {
		return
	}
	n := 0
	for n < len(ps.announce) && ps.announce[n].version <= version {
		ps.announce[n].done()
		n++
	}
	ps.announce = append(ps.announce[:0], ps.announce[n:]...)
}

// peerOfListeners notes that a peer came or went.
func (l *loop) peerOfListeners(id raftcore.NodeID, up bool) {
	ps := &l.pubsub
	if !up {
		delete(ps.peers, id)
		ps.subs.drop(id)
		if id == l.core.Leader() {
			ps.answerAll()
		}
		return
	}
	if ps.peers == nil {
		ps.peers = make(map[raftcore.NodeID]*listenerPeer)
	}
	ps.peers[id] = &listenerPeer{}
	l.unsendListening(id)
}

// repeatListening is a peer's wish to hear everything, which it took nothing of so far.
func (l *loop) repeatListening(from raftcore.NodeID) {
	if l.pubsub.peers[from] != nil { // else it is told when it is connected
		l.unsendListening(from)
	}
}

// unsendListening tells a peer everything, again if it was told.
func (l *loop) unsendListening(id raftcore.NodeID) {
	ps := &l.pubsub
	peer := ps.peers[id]
	*peer = listenerPeer{reset: true, unsent: make(map[subscriptionKey]struct{}), asked: peer.asked}
	for key := range ps.subs.of(l.id) {
		peer.unsent[key] = struct{}{}
	}
	l.sendListening()
}

// answerAll: there is a new leader, or none; nobody waits for the old one's word.
func (ls *listeners) answerAll() {
	for _, a := range ls.announce {
		a.done()
	}
	ls.announce = nil
}

func (ls *listeners) expire(now time.Time) {
	for len(ls.announce) > 0 && now.Sub(ls.announce[0].since) >= announcePatience {
		ls.announce[0].done()
		ls.announce = ls.announce[1:]
	}
}
