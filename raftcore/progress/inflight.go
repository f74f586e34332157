package progress

// Inflight is the window of messages sent and not acknowledged, oldest first. It
// bounds what a slow or dead member may hold in buffers on its behalf.
type Inflight struct {
	maxMessages, maxBytes int
	bytes                 int // sum over queue; zero when the member is idle (R35)
	queue                 []sent
}

type sent struct {
	last  uint64 // index of the message's last entry; ascending in the queue
	bytes int
}

func (f *Inflight) full() bool {
	return len(f.queue) >= f.maxMessages || f.bytes >= f.maxBytes
}

func (f *Inflight) add(last uint64, bytes int) {
	f.queue = append(f.queue, sent{last, bytes})
	f.bytes += bytes
}

// freeTo drops the messages acknowledged by match.
func (f *Inflight) freeTo(match uint64) {
	n := 0
	for n < len(f.queue) && f.queue[n].last <= match {
		f.bytes -= f.queue[n].bytes
		n++
	}
	f.queue = f.queue[:copy(f.queue, f.queue[n:])]
}

func (f *Inflight) reset() { f.queue, f.bytes = f.queue[:0], 0 }
