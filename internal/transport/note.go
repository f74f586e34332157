package transport

import (
	"github.com/rkvdb/rkv/raftcore"
)

// A note is bytes of the node's own (publications and who listens to what,
// docs/adr/0011). It goes on the bulk lane, in order with the appends, so that a
// message is not overtaken by the commit index that follows it. Notes are sent at most
// once: what does not fit is refused at once, what is unsent when the connection
// breaks is gone.

// noteQueueBytes bounds the notes that wait for one peer: a slow one must not make
// this node keep every message of the cluster for it. They have a budget of their own
// beside the log's.
const noteQueueBytes = 16 << 20

// SendNote queues a note and returns at once; Flush writes it. False means that it was not queued and
// will not be sent. The bytes are shared until written.
func (t *Transport) SendNote(to raftcore.NodeID, note []byte) bool {
	lanes := t.lanes(to)
	if lanes == nil || !lanes.bulk.note(note) {
		t.counters.droppedNotes.Add(1)
		return false
	}
	return true
}

// note queues a note, or reports that there is no room.
func (l *lane) note(note []byte) bool {
	if frameHeaderSize+len(note) > l.t.opts.MaxFrameBytes {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting := l.pending.noteBytes; l.w == nil || waiting > 0 && waiting+len(note) > noteQueueBytes {
		return false
	}
	l.pending.addNote(note)
	return true
}

// addNote appends one frame that holds a note.
func (b *batch) addNote(note []byte) {
	at := len(b.buf)
	b.buf = beginFrame(b.buf)
	endFrame(b.buf, at, kindNote, len(note), note)
	b.frames++
	b.bytes += frameHeaderSize + len(note)
	b.noteBytes += frameHeaderSize + len(note)
	b.addBody(note)
}

func (b *burst) addNote(note []byte) {
	if len(b.notes) == 0 {
		b.deliver()
	}
	b.notes = append(b.notes, note)
	b.bytes += len(note)
	b.bound()
}
