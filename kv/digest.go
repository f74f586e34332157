package kv

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/cespare/xxhash/v2"
)

// Cut is all replicated data as of one index. While it is open, memory that it
// still needs is kept; close it soon. It is used by one goroutine.
type Cut struct {
	// Index is the last entry in it, Stamp the state machine's time then.
	Index uint64
	Stamp int64
	// Databases is their number.
	Databases int

	s    *Store
	heap *heap
	cut  *cut
	st   state
}

// OpenCut takes a cut between two entries. It waits for the entry that is being
// applied and holds the lock for a moment that does not grow with the data (ADR 5).
func (s *Store) OpenCut() *Cut {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.lock()
	defer s.mu.Unlock()
	st := s.st.freeze()
	return &Cut{
		Index: st.Index, Stamp: st.Stamp, Databases: len(s.dbs),
		s: s, heap: s.heap, cut: s.heap.openCut(s.dbs), st: st,
	}
}

// State is the encoded system state: all that is replicated beside the keys.
func (c *Cut) State() []byte { return c.st.encode() }

// Each calls fn for every key of a database in hash order, until it returns an
// error. The bytes are valid during the call. It takes no lock for long.
func (c *Cut) Each(db int, fn func(key []byte, v Value) error) error { return c.cut.each(db, fn) }

// Digest is a 128-bit digest of all replicated data, in hex. Stores that applied
// the same entries have equal ones.
func (c *Cut) Digest() string {
	lo, hi := digestCut(c.cut)
	return digestHex(lo, hi, c.st.encode())
}

// digestHex is a digest of the keys' sums and the encoded system state.
func digestHex(lo, hi uint64, st []byte) string {
	var out [16]byte
	binary.BigEndian.PutUint64(out[:8], hi^sumSeeded(st, 1))
	binary.BigEndian.PutUint64(out[8:], lo^sumSeeded(st, 2))
	return hex.EncodeToString(out[:])
}

func sumSeeded(b []byte, seed uint64) uint64 {
	d := xxhash.NewWithSeed(seed)
	d.Write(b)
	return d.Sum64()
}

// Held is what superseded records and pieces of the table take that open cuts, or
// ones closed a moment ago, keep, and what the live data takes, in bytes; open
// reports whether there is a cut.
func (s *Store) Held() (held, live int64, open bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.heap.held, s.heap.arena.live, s.heap.shared != 0
}

// Close lets go of what the cut kept. Closing twice does no harm.
func (c *Cut) Close() {
	if c.cut == nil {
		return
	}
	c.s.lock()
	defer c.s.mu.Unlock()
	c.cut.close()
	c.cut = nil
	if c.heap != c.s.heap && len(c.heap.cuts) == 0 {
		c.heap.unmap() // a snapshot was loaded meanwhile: this was the old data's last reader
	}
}

// Digest is the applied index and the digest of all replicated data at it
// (RAFT DIGEST). It reads a cut: commands go on meanwhile.
func (s *Store) Digest() (index uint64, digest string) {
	c := s.OpenCut()
	defer c.Close()
	return c.Index, c.Digest()
}

// DigestNow is Digest for who is alone with a small store, such as the simulator:
// nothing has to be copied, but everything waits until it is done.
func (s *Store) DigestNow() (index uint64, digest string) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sum keysDigest
	for db, ks := range s.dbs {
		sum.database(s.heap, db, &ks.t.tableView, nil)
	}
	return s.st.Index, digestHex(sum.lo, sum.hi, s.st.encode())
}
