package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/rkvdb/rkv/internal/pages"
)

// state is everything replicated beside the keyspaces. A test holds its fields
// against stateWire: what is neither written nor declared derived would be lost
// with the next snapshot (DESIGN 4.7).
type state struct {
	// Index is the last entry applied completely.
	Index uint64
	// Stamp is the state machine's time, Unix ms; it never goes back.
	Stamp int64
	// Version counts the steps that may have modified keys: units that took effect
	// and rounds of expiry. WATCH compares by it.
	Version uint64
	// HashSeed is the cluster's secret; the order of keys depends on it.
	HashSeed uint64
	// Level is the version of apply's semantics that every member knows, and that
	// entries are written by.
	Level     uint16
	Settings  Settings
	sessions  sessionTable
	watch     watchTable
	scripts   scriptTable
	functions functionTable
	waiters   waiterTable
	acl       *ACL // immutable
	once      onceTable
}

func newState(hashSeed uint64, databases int) state {
	once, _ := newOnceTable(nil, 0)
	return state{HashSeed: hashSeed, Level: firstLevel, Settings: defaultSettings(), watch: newWatchTable(databases), scripts: newScriptTable(nil), acl: newACL(), once: once}
}

// freeze is a copy that later changes do not touch; its cost is a few hundred
// words, for it shares the watch table's pages.
func (s *state) freeze() state {
	c := *s
	c.sessions = s.sessions.clone()
	c.watch = s.watch.freeze()
	c.scripts = s.scripts.freeze()
	c.functions = s.functions.freeze()
	c.waiters = s.waiters.freeze()
	c.once = s.once.freeze()
	return c
}

// stateWire is state in a snapshot: msgpack, by field name, in a fixed order. A
// field that an older snapshot lacks keeps its default.
type stateWire struct {
	Index       uint64
	Stamp       int64
	Version     uint64
	HashSeed    uint64
	Level       uint16
	Settings    Settings
	Sessions    []session
	LastSession uint64
	// Flush and Swap are, per database, the version of its last flush and of its last
	// SWAPDB. Watch lists the used slots: uvarint distance to the one before, uvarint
	// version.
	Flush []uint64
	Swap  []uint64
	Watch []byte
	// Scripts are the cached scripts in the order of arrival, Functions the libraries
	// by name.
	Scripts   []scriptRow
	Functions []functionRow
	// Waiters are the clients in blocking commands, in the order in which they came.
	Waiters    []waiter
	LastTicket uint64
	// ACL is the users by name; NextUser the next one's id.
	ACL      []aclRow
	NextUser uint64
	// Once are the clients' sessions, used longest ago first; OnceForgotten counts those
	// that are gone.
	Once          []onceRow
	OnceForgotten uint64
}

// stateHandle is shared: it learns each type's layout once, and is safe for concurrent
// use since nobody configures it any more.
var stateHandle = newStateHandle()

func newStateHandle() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.Canonical = true
	return h
}

// encode is deterministic: equal states are equal bytes.
func (s *state) encode() []byte { return s.encodeResting(func() {}) }

// encodeResting is encode for somebody who goes on beside clients: rest is called often.
func (s *state) encodeResting(rest func()) []byte {
	w := stateWire{
		Index: s.Index, Stamp: s.Stamp, Version: s.Version, HashSeed: s.HashSeed, Level: s.Level, Settings: s.Settings,
		Sessions: s.sessions.rows, LastSession: s.sessions.last,
		Flush: s.watch.flush, Swap: s.watch.swap, Watch: s.watch.encode(rest),
		Scripts: s.scripts.rows, Functions: s.functions.rows(),
		Waiters: s.waiters.wire(), LastTicket: s.waiters.last,
		ACL: s.acl.rows(), NextUser: s.acl.nextID,
		Once: s.once.rows(), OnceForgotten: s.once.forgotten,
	}
	// The codec would double what it has until all of it fits.
	out := make([]byte, 0, len(w.Watch)+64<<10)
	rest()
	pages.Populate(out[:cap(out)])
	rest()
	if err := codec.NewEncoderBytes(&out, stateHandle).Encode(&w); err != nil {
		panic("kv: encoding the system state: " + err.Error()) // a type msgpack does not know: a bug
	}
	return out
}

var errState = errors.New("system state is damaged")

func decodeState(b []byte) (s state, err error) {
	defer func() { // the codec panics on some hostile lengths
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errState, p)
		}
	}()
	w := stateWire{Level: firstLevel, Settings: defaultSettings()}
	if err := codec.NewDecoderBytes(b, stateHandle).Decode(&w); err != nil {
		return s, fmt.Errorf("%w: %v", errState, err)
	}
	s = newState(w.HashSeed, len(w.Flush))
	s.Index, s.Stamp, s.Version, s.Level, s.Settings = w.Index, w.Stamp, w.Version, w.Level, w.Settings
	s.sessions = sessionTable{rows: w.Sessions, last: w.LastSession}
	copy(s.watch.flush, w.Flush)
	copy(s.watch.swap, w.Swap)
	sorted := slices.IsSortedFunc(w.Sessions, func(a, b session) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	s.scripts = newScriptTable(w.Scripts)
	var loaded bool
	s.functions, loaded = loadFunctions(w.Functions)
	var waiting, known, once bool
	s.once, once = newOnceTable(w.Once, w.OnceForgotten)
	s.waiters, waiting = newWaiterTable(w.Waiters, w.LastTicket, len(w.Flush))
	s.acl, known = aclFromRows(w.ACL, w.NextUser)
	if !sorted || !loaded || !waiting || !known || !once || !s.watch.decode(w.Watch) {
		return s, errState
	}
	return s, nil
}

// freeze shares the pages: the next change of each copies it.
func (t *watchTable) freeze() watchTable {
	t.epoch++
	return watchTable{pages: slices.Clone(t.pages), epoch: t.epoch, flush: slices.Clone(t.flush), swap: slices.Clone(t.swap)}
}

func (t *watchTable) encode(rest func()) []byte {
	lines := 0
	for p := range t.pages {
		lines += bits.OnesCount64(t.pages[p].lines)
	}
	if lines == 0 {
		return nil
	}
	// As long as an old store's entries are, so that it hardly ever grows.
	out := make([]byte, 0, lines*watchLineSlots*6)
	pages.Populate(out[:cap(out)])
	next := uint64(0)
	for p := range t.pages {
		if p%encodedPerRest == 0 {
			rest()
		}
		page := &t.pages[p]
		for lines := page.lines; lines != 0; lines &= lines - 1 {
			first := bits.TrailingZeros64(lines) * watchLineSlots
			for i, version := range page.slots[first : first+watchLineSlots] {
				if version == 0 {
					continue
				}
				at := uint64(p*watchPageSlots + first + i)
				out = binary.AppendUvarint(out, at-next)
				out = binary.AppendUvarint(out, version)
				next = at + 1
			}
		}
	}
	return out
}

// encodedPerRest are pages that take some 40 us (docs/adr/0034).
const encodedPerRest = 8

func (t *watchTable) decode(b []byte) bool {
	at := uint64(0)
	for len(b) > 0 {
		var gap, version uint64
		var err error
		if gap, b, err = takeUvarint(b); err != nil || gap >= watchSlots {
			return false
		}
		if version, b, err = takeUvarint(b); err != nil || version == 0 {
			return false
		}
		if at += gap; at >= watchSlots {
			return false
		}
		t.set(at, version)
		at++
	}
	return true
}
