package node

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
)

// pubsub is the loop's part of publish/subscribe (docs/adr/0011): it brings
// publications of this node's clients to the leader, gives them their order if this
// node leads, holds what was ordered until the entry before it is applied, and tells
// the other nodes what this node's clients listen to.
type pubsub struct {
	subs *subscriptions

	// waiting are this node's publications without an answer, oldest first.
	waiting []*publishing
	next    uint64
	// seen is the newest publication of each node that was put in order or delivered
	// here: older ones are copies.
	seen map[raftcore.NodeID]publicationID
	term uint64 // of the newest delivery

	// mail waits for entries: every entry up to handed was given to the applier.
	mail      []delivery
	mailBytes int
	handed    uint64
	dropped   uint64

	listeners
}

// publishing is one call of Publish.
type publishing struct {
	id       uint64
	ps       []kv.Publication
	done     func(receivers []int, err error)
	arrived  time.Time
	sentTerm uint64 // as unit.sentTerm
	sentAt   time.Time
	exposed  bool
}

// maxMailBytes bounds what waits for a node that lags: messages are at most once, and
// a lagging node must not die of them.
const maxMailBytes = 16 << 20

// Publish brings messages to all nodes' subscribers. done is called once, on an
// arbitrary goroutine: with the number of clients that listen, for each message, or
// with an error in Redis's words. It never blocks; ps becomes the node's.
func (n *Node) Publish(ps []kv.Publication, done func(receivers []int, err error)) {
	p := &publishing{ps: ps, done: done}
	if !n.inbox.put(func(in *input) {
		in.calls = append(in.calls, func(l *loop) { l.publish(p) })
	}) {
		done(nil, errStopped)
	}
}

// HandleNotes implements transport.Handler.
func (n *Node) HandleNotes(from raftcore.NodeID, notes [][]byte) {
	if !n.running.Load() {
		return
	}
	n.inbox.add(func(in *input) {
		in.calls = append(in.calls, func(l *loop) {
			for _, b := range notes {
				if err := l.note(from, b); err != nil {
					l.log.Warn("dropped a note", "from", uint64(from), "error", err)
				}
			}
		})
	})
	n.pump(false)
}

func (l *loop) publish(p *publishing) {
	ps := &l.pubsub
	ps.next++
	p.id, p.arrived = ps.next, l.cfg.Now()
	ps.waiting = append(ps.waiting, p)
	l.pumpPublications()
}

// pumpPublications gives the leader what it was not given yet, in order.
func (l *loop) pumpPublications() {
	if len(l.pubsub.waiting) == 0 {
		return
	}
	leader := l.core.Leader()
	if leader == 0 {
		return
	}
	if leader == l.id {
		l.publishOwn()
		return
	}
	now := l.cfg.Now()
	for _, p := range l.pubsub.waiting {
		if p.sentTerm == l.core.Term() && now.Sub(p.sentAt) < l.cfg.ResendTimeout {
			continue
		}
		b := binary.AppendUvarint(nil, notePublish)
		for _, v := range [...]uint64{l.incarnation, l.boot, p.id} {
			b = binary.AppendUvarint(b, v)
		}
		b = appendPublications(b, p.ps)
		if !l.fx.sendNote(leader, b) {
			return // later ones must not overtake it
		}
		p.sentTerm, p.sentAt, p.exposed = l.core.Term(), now, true
	}
}

func (l *loop) publishOwn() {
	waiting := l.pubsub.waiting
	l.pubsub.waiting = nil
	for _, p := range waiting {
		id := publicationID{l.id, l.incarnation, l.boot, p.id}
		p.done(l.order(id, p.ps), nil)
	}
}

// order gives a publication its place, as the leader, and tells everybody.
func (l *loop) order(id publicationID, ps []kv.Publication) (receivers []int) {
	for i := range ps {
		receivers = append(receivers, l.pubsub.subs.receivers(ps[i].Shard, ps[i].Channel))
	}
	d := delivery{term: l.core.Term(), index: l.core.Commit(), from: id, ps: ps}
	if !l.accept(d) {
		return receivers // a copy
	}
	note := d.append(nil)
	for peer := range l.pubsub.peers {
		if !l.fx.sendNote(peer, note) {
			l.pubsub.dropped++
		}
	}
	return receivers
}

// accept puts a delivery into the mail, unless it is a copy or of a leader before the
// one heard last.
func (l *loop) accept(d delivery) bool {
	ps := &l.pubsub
	last := ps.seen[d.from.origin]
	same := last.incarnation == d.from.incarnation && last.boot == d.from.boot
	if d.term < ps.term || same && d.from.number <= last.number {
		return false
	}
	ps.term = d.term
	if ps.seen == nil {
		ps.seen = make(map[raftcore.NodeID]publicationID)
	}
	ps.seen[d.from.origin] = d.from
	size := publicationBytes(d.ps)
	if len(ps.mail) > 0 && ps.mailBytes+size > maxMailBytes {
		ps.dropped++
		return true
	}
	ps.mail = append(ps.mail, d)
	ps.mailBytes += size
	l.deliverMail()
	return true
}

func publicationBytes(ps []kv.Publication) (n int) {
	for i := range ps {
		n += len(ps[i].Channel) + len(ps[i].Message) + 64
	}
	return n
}

// deliverMail hands over what no longer waits for an entry.
func (l *loop) deliverMail() {
	ps := &l.pubsub
	if len(ps.mail) == 0 {
		return
	}
	ps.handed = max(ps.handed, l.gauges.applied())
	n := 0
	for n < len(ps.mail) && ps.mail[n].index <= ps.handed {
		l.fx.deliver(ps.mail[n].ps)
		ps.mailBytes -= publicationBytes(ps.mail[n].ps)
		n++
	}
	clear(ps.mail[:n])
	if ps.mail = ps.mail[n:]; len(ps.mail) == 0 {
		ps.mail = nil
	}
}

// applyEntries hands committed entries to the applier, with the mail between them.
func (l *loop) applyEntries(es []raftcore.Entry) {
	ps := &l.pubsub
	for len(ps.mail) > 0 && len(es) > 0 {
		ps.handed = max(ps.handed, es[0].Index-1)
		if l.deliverMail(); len(ps.mail) == 0 {
			break
		}
		n := 1
		for n < len(es) && es[n].Index <= ps.mail[0].index {
			n++
		}
		l.fx.apply(es[:n:n])
		ps.handed = es[n-1].Index
		es = es[n:]
	}
	if len(es) > 0 {
		l.fx.apply(es)
		ps.handed = max(ps.handed, es[len(es)-1].Index)
	}
	l.deliverMail()
}

// note takes a note of another node.
func (l *loop) note(from raftcore.NodeID, b []byte) error {
	r := noteReader{b: b}
	switch r.uint() {
	case notePublish:
		id := publicationID{from, r.uint(), r.uint(), r.uint()}
		ps := r.publications()
		if err := r.done(); err != nil {
			return err
		}
		l.publishFor(id, ps)
	case notePublished:
		id, n := r.uint(), r.count(1)
		receivers := make([]int, n)
		for i := range receivers {
			receivers[i] = int(r.uint())
		}
		if err := r.done(); err != nil {
			return err
		}
		l.published(id, receivers)
	case noteUnwanted:
		l.unwanted(r.uint())
	case noteDeliver:
		d := r.delivery()
		if err := r.done(); err != nil {
			return err
		}
		l.accept(d)
	case noteListening:
		version, flags, list := r.listening()
		if err := r.done(); err != nil {
			return err
		}
		l.listening(from, version, flags, list)
	case noteHeard:
		l.heard(from, r.uint())
	case noteAddresses:
		a := r.addresses()
		if err := r.done(); err != nil {
			return err
		}
		l.addresses(from, a)
	case noteRepeat:
		if err := r.done(); err != nil {
			return err
		}
		l.repeatListening(from)
	default:
		return errNote
	}
	return nil
}

// publishFor orders another node's publication, if this node leads.
func (l *loop) publishFor(id publicationID, ps []kv.Publication) {
	if l.core.Leader() != l.id {
		b := binary.AppendUvarint(nil, noteUnwanted)
		l.fx.sendNote(id.origin, binary.AppendUvarint(b, id.number))
		return
	}
	receivers := l.order(id, ps)
	b := binary.AppendUvarint(nil, notePublished)
	b = binary.AppendUvarint(b, id.number)
	b = binary.AppendUvarint(b, uint64(len(receivers)))
	for _, n := range receivers {
		b = binary.AppendUvarint(b, uint64(n))
	}
	l.fx.sendNote(id.origin, b)
}

// published is the leader's answer.
func (l *loop) published(id uint64, receivers []int) {
	for i, p := range l.pubsub.waiting {
		if p.id != id {
			continue
		}
		l.pubsub.waiting = slices.Delete(l.pubsub.waiting, i, i+1)
		if len(receivers) != len(p.ps) {
			p.done(nil, errUnknownOutcome)
			return
		}
		p.done(receivers, nil)
		return
	}
}

// unwanted: the node it was sent to does not lead.
func (l *loop) unwanted(id uint64) {
	for _, p := range l.pubsub.waiting {
		if p.id == id {
			p.sentTerm = 0
		}
	}
}

// resetPublications: the way to the leader was lost, with what was on it.
func (l *loop) resetPublications() {
	for _, p := range l.pubsub.waiting {
		p.sentTerm = 0
	}
}

// expirePublications answers those that waited longer than patience allows.
func (l *loop) expirePublications(now time.Time) {
	ps := &l.pubsub
	patience := l.patience()
	for len(ps.waiting) > 0 && now.Sub(ps.waiting[0].arrived) >= patience {
		p := ps.waiting[0]
		ps.waiting = ps.waiting[1:]
		if p.exposed {
			p.done(nil, errUnknownOutcome)
		} else {
			p.done(nil, noLeader(l.origin.removed))
		}
	}
}

// stop answers everybody who waits: the node ends.
func (ps *pubsub) stop() {
	for _, p := range ps.waiting {
		err := error(errStopped)
		if p.exposed {
			err = errUnknownOutcome
		}
		p.done(nil, err)
	}
	ps.waiting = nil
	ps.listeners.answerAll()
}
