package node

import (
	"encoding/binary"
	"errors"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// Notes are what nodes tell each other beside the log (transport.SendNote). Numbers
// are uvarints, strings a length and bytes:
//
//	publish    1 incarnation boot id publications   a node to the leader
//	published  2 id receivers...           the leader's answer
//	unwanted   3 id                        the answer of one that does not lead
//	deliver    4 term index origin incarnation boot id publications   the leader to all
//	listening  5 version flags subscriptions    a node to all; flag 1: forget what was
//	           before, 2: that is all of version
//	heard      6 version                   the leader's answer
//	addresses  7 cluster sentinel          a node to all, once per connection
//	repeat     8                           a node to one whose notes may not have been
//	           taken yet: say listening and addresses again
//
//	publications   count, then each: shard (0, 1) channel message
//	subscriptions  count, then each: kind count name
type noteKind = uint64

const (
	notePublish noteKind = 1 + iota
	notePublished
	noteUnwanted
	noteDeliver
	noteListening
	noteHeard
	noteAddresses
	noteRepeat
)

const (
	listeningReset = 1
	listeningWhole = 2
)

var errNote = errors.New("malformed note")

func appendPublications(b []byte, ps []kv.Publication) []byte {
	b = binary.AppendUvarint(b, uint64(len(ps)))
	for i := range ps {
		shard := uint64(0)
		if ps[i].Shard {
			shard = 1
		}
		b = binary.AppendUvarint(b, shard)
		b = appendNoteBytes(b, ps[i].Channel)
		b = appendNoteBytes(b, ps[i].Message)
	}
	return b
}

func appendNoteBytes(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// noteReader reads a note; after an error everything is zero. What it returns aliases
// the note.
type noteReader struct {
	b   []byte
	bad bool
}

func (r *noteReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *noteReader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// count is a number of elements of at least least bytes each: it bounds what a
// decoder allocates by what has arrived.
func (r *noteReader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.b)/least) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *noteReader) publications() []kv.Publication {
	ps := make([]kv.Publication, r.count(3))
	for i := range ps {
		ps[i].Shard = r.uint() != 0
		ps[i].Channel = r.bytes()
		ps[i].Message = r.bytes()
	}
	return ps
}

func (r *noteReader) done() error {
	if r.bad || len(r.b) != 0 {
		return errNote
	}
	return nil
}

// delivery is a publication in its place.
type delivery struct {
	term, index uint64
	from        publicationID
	ps          []kv.Publication
}

// publicationID names a publication for ever: numbers of one process grow.
type publicationID struct {
	origin            raftcore.NodeID
	incarnation, boot uint64
	number            uint64
}

func (d *delivery) append(b []byte) []byte {
	for _, v := range [...]uint64{
		noteDeliver, d.term, d.index, uint64(d.from.origin), d.from.incarnation, d.from.boot, d.from.number,
	} {
		b = binary.AppendUvarint(b, v)
	}
	return appendPublications(b, d.ps)
}

func (r *noteReader) delivery() (d delivery) {
	d.term, d.index = r.uint(), r.uint()
	d.from.origin = raftcore.NodeID(r.uint())
	d.from.incarnation, d.from.boot, d.from.number = r.uint(), r.uint(), r.uint()
	d.ps = r.publications()
	return d
}

// appendListening appends what list says.
func appendListening(version, flags uint64, list []kv.Subscription) []byte {
	b := binary.AppendUvarint(nil, noteListening)
	b = binary.AppendUvarint(b, version)
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		b = binary.AppendUvarint(b, uint64(list[i].Kind))
		b = binary.AppendUvarint(b, uint64(list[i].Count))
		b = binary.AppendUvarint(b, uint64(len(list[i].Name)))
		b = append(b, list[i].Name...)
	}
	return b
}

func (r *noteReader) listening() (version, flags uint64, list []kv.Subscription) {
	version, flags = r.uint(), r.uint()
	list = make([]kv.Subscription, r.count(3))
	for i := range list {
		list[i].Kind = kv.SubscriptionKind(min(r.uint(), uint64(kv.SubscriptionKinds)))
		list[i].Count = int(min(r.uint(), 1<<40))
		list[i].Name = string(r.bytes())
	}
	return version, flags, list
}
