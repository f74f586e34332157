package node

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/rkvdb/rkv/internal/transport"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// acquaintances is this node's memory of who spoke for raft identities, in the file
// "peers" of the data directory (docs/adr/0015). A data directory that is replaced by
// an older copy has forgotten votes and acknowledgements that were counted on: whoever
// heard of them knows a life of the directory that the copy does not.
type acquaintances struct {
	fs  vfs.FS
	dir string
	log *slog.Logger

	mu   sync.Mutex
	rows []acquaintance // the one met last comes last
	// unsaved: the file lacks some of rows, for the disk refused. Peers are talked to
	// all the same: a full disk must not cut a node off whoever restarts, and every
	// meeting tries again.
	unsaved bool
}

// acquaintance is the newest life met of a raft identity.
type acquaintance struct {
	Node        raftcore.NodeID
	Incarnation uint64
	Boot, Life  uint64
}

const (
	peersName  = "peers"
	peersMagic = "rkvP1\n"
	// maxAcquaintances bounds the file; only who proved the cluster's secret adds to it.
	maxAcquaintances = 1024
	// maxLives is how many starts a directory remembers. A peer that missed more of them
	// than that has to believe what it is told.
	maxLives = 1024
)

// openAcquaintances reads the file. One that is damaged is begun anew: it guards
// against an operator's mistake and carries no promise of its own.
func openAcquaintances(fs vfs.FS, dir string, log *slog.Logger) (*acquaintances, error) {
	a := &acquaintances{fs: fs, dir: dir, log: log}
	name := filepath.Join(dir, peersName)
	exists, err := fs.Exists(name)
	if err != nil || !exists {
		return a, err
	}
	raw, err := readFile(fs, name)
	if err != nil {
		return a, err
	}
	if !a.decode(raw) {
		a.rows = nil
		log.Warn("the memory of peers is damaged; older copies of their directories are not noticed until they are met again", "file", name)
	}
	return a, nil
}

func (a *acquaintances) decode(raw []byte) bool {
	head := len(peersMagic) + 4
	if len(raw) < head || string(raw[:len(peersMagic)]) != peersMagic ||
		crc32.Checksum(raw[head:], castagnoli) != binary.LittleEndian.Uint32(raw[len(peersMagic):]) {
		return false
	}
	return codec.NewDecoderBytes(raw[head:], msgpackHandle).Decode(&a.rows) == nil
}

// save replaces the file, durably. mu is held.
func (a *acquaintances) save() {
	var body []byte
	err := codec.NewEncoderBytes(&body, msgpackHandle).Encode(a.rows)
	if err == nil {
		raw := append([]byte(peersMagic), 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(raw[len(peersMagic):], crc32.Checksum(body, castagnoli))
		err = replaceFile(a.fs, a.dir, peersName, append(raw, body...))
	}
	if err != nil && !a.unsaved {
		a.log.Warn("cannot remember peers beyond this process", "error", err)
	}
	a.unsaved = err != nil
}

// Newest implements transport.Acquaintances.
func (a *acquaintances) Newest(node raftcore.NodeID, incarnation uint64) (of, boot uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range slices.Backward(a.rows) {
		if r.Node == node && (incarnation == 0 || r.Incarnation == incarnation) {
			return r.Incarnation, r.Boot
		}
	}
	return 0, 0
}

// Meet implements transport.Acquaintances.
func (a *acquaintances) Meet(p transport.Acquaintance) transport.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.rows, func(r acquaintance) bool { return r.Node == p.Node && r.Incarnation == p.Incarnation })
	rows := a.rows
	if i >= 0 {
		switch verdict := a.rows[i].judge(&p); verdict {
		case known:
			if a.unsaved {
				a.save()
			}
			return transport.ReasonNone
		case later:
		case unasked:
			// It is asked about the right boot the next time.
			a.rows = append(slices.Delete(slices.Clone(a.rows), i, i+1), a.rows[i])
			return transport.ReasonBusy
		case older:
			return transport.ReasonOldBoot
		default:
			return transport.ReasonOldCopy
		}
		rows = slices.Delete(slices.Clone(rows), i, i+1)
	}
	rows = append(slices.Clone(rows), acquaintance{p.Node, p.Incarnation, p.Boot, p.Life})
	a.rows = rows[max(0, len(rows)-maxAcquaintances):]
	a.save()
	return transport.ReasonNone
}

// The verdicts of judge.
type kinship int

const (
	known    kinship = iota // the life met last
	later                   // it descends from that
	unasked                 // it may, but was not asked
	older                   // an earlier boot
	stranger                // a copy that went on by itself
)

// judge compares a peer with the life of its identity that was met last.
func (r *acquaintance) judge(p *transport.Acquaintance) kinship {
	switch {
	case p.Boot < r.Boot:
		return older
	case p.Boot == r.Boot && p.Life == r.Life:
		return known
	case p.Boot == r.Boot:
		return stranger
	case p.AskedBoot != r.Boot:
		return unasked
	case p.LifeThen == r.Life || p.LifeThen == 0 && p.Boot-r.Boot >= maxLives:
		return later
	}
	return stranger
}

// life is the number of the start of this directory with the given boot, 0 if it was
// too long ago.
func (id *Identity) life(boot uint64) uint64 {
	if back := id.Boot - boot; boot <= id.Boot && back < uint64(len(id.Lives)) {
		return id.Lives[uint64(len(id.Lives))-1-back]
	}
	return 0
}

// describeRefusal is what the operator of a refused node has to know.
func describeRefusal(peer raftcore.NodeID, reason transport.Reason) error {
	return fmt.Errorf("%w: peer %d refuses this node: %v; if the data directory was restored from a copy, empty it and start the node again with --join; "+
		"if another process runs with a copy of it, stop that one", ErrSuperseded, peer, reason)
}
