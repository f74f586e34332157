package segmentlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// meta is what the file `hardstate` says: the hard state of Raft, and which part
// of the segment files is in force. One durable slot write is the moment at which
// a vote, a compaction, a truncation or a reset happens; everything that follows
// it is clean-up that recovery repeats.
type meta struct {
	sequence uint64
	logID    uint64
	hard     raftcore.HardState

	// first is the lowest segment number in force; lower files were released.
	first uint64
	// baseIndex and baseTerm identify the entry before the log's first: the base
	// of segment first, or of the segment to come if there is none.
	baseIndex, baseTerm uint64

	// promiseSegment and promiseOffset: everything up to there was synced when
	// this slot was written. Damage below it is damage, whatever it looks like.
	promiseSegment uint64
	promiseOffset  int64
	// promiseIndex and promiseTerm identify the last entry below it, zero if that
	// was not known: what Survey goes by if that very record is lost.
	promiseIndex, promiseTerm uint64

	// cut is a truncation that may be unfinished: the bytes of cutSegment from
	// cutOffset on, and the segments above it and below cutBelow, are void.
	cutSegment uint64
	cutOffset  int64
	cutBelow   uint64

	// suspectIndex and suspectTerm: see Suspect; zero when there is none.
	suspectIndex, suspectTerm uint64
}

// The file has two slots of 4 KiB. Slot writes alternate, so the older one stays
// intact while the newer is written. Each slot holds its record twice, in its first
// and in its last sector: a single rotten sector loses nothing, and since a disk
// writes sectors whole, a power cut leaves one of the two readable.
//
//	 0 magic       u32  "rkvH"
//	 4 CRC         u32  CRC-32C of bytes 8..159
//	 8 version     u32  1
//	12 reserved    u32
//	16 sequence    u64  the higher one counts; slot = sequence mod 2
//	24 log id      u64
//	32 term        u64
//	40 vote        u64
//	48 commit      u64
//	56 first       u64
//	64 base index  u64
//	72 base term   u64
//	80 promise segment u64, 88 promise offset u64
//	96 cut segment u64, 104 cut offset u64, 112 cut below u64
//	120 suspect index u64, 128 suspect term u64
//	136 promise index u64, 144 promise term u64
//	152 zeros up to 512
const (
	metaMagic      = 0x48766b72 // "rkvH"
	metaRecordSize = 160
	metaFileSize   = 2 * blockSize
	metaMirror     = blockSize - sectorSize
)

func (m *meta) slot() []byte {
	b := make([]byte, blockSize)
	le.PutUint32(b[0:], metaMagic)
	le.PutUint32(b[8:], formatV1)
	for i, v := range []uint64{
		m.sequence, m.logID, m.hard.Term, uint64(m.hard.Vote), m.hard.Commit,
		m.first, m.baseIndex, m.baseTerm, m.promiseSegment, uint64(m.promiseOffset),
		m.cutSegment, uint64(m.cutOffset), m.cutBelow, m.suspectIndex, m.suspectTerm,
		m.promiseIndex, m.promiseTerm,
	} {
		le.PutUint64(b[16+8*i:], v)
	}
	le.PutUint32(b[4:], crc32.Checksum(b[8:metaRecordSize], castagnoli))
	copy(b[metaMirror:], b[:metaRecordSize])
	return b
}

// parseSlot reads the newer intact copy in a slot. After a torn write of the slot
// the two copies may differ; both are true, and the newer one is not older than
// anything acknowledged.
func parseSlot(b []byte) (meta, bool) {
	x, okX := parseMetaRecord(b[:metaRecordSize])
	y, okY := parseMetaRecord(b[metaMirror : metaMirror+metaRecordSize])
	if !okX || (okY && y.sequence > x.sequence) {
		return y, okY
	}
	return x, true
}

func parseMetaRecord(b []byte) (meta, bool) {
	if le.Uint32(b) != metaMagic || le.Uint32(b[8:]) != formatV1 ||
		le.Uint32(b[4:]) != crc32.Checksum(b[8:metaRecordSize], castagnoli) {
		return meta{}, false
	}
	u := func(i int) uint64 { return le.Uint64(b[16+8*i:]) }
	return meta{
		sequence: u(0), logID: u(1),
		hard:  raftcore.HardState{Term: u(2), Vote: raftcore.NodeID(u(3)), Commit: u(4)},
		first: u(5), baseIndex: u(6), baseTerm: u(7),
		promiseSegment: u(8), promiseOffset: int64(u(9)),
		cutSegment: u(10), cutOffset: int64(u(11)), cutBelow: u(12),
		suspectIndex: u(13), suspectTerm: u(14),
		promiseIndex: u(15), promiseTerm: u(16),
	}, true
}

// createMeta makes the file with both slots filled, so that an empty slot is
// damage and never "not yet written". Durable, name included, when it returns.
func createMeta(fs vfs.FS, dir string, logID uint64) error {
	temp := filepath.Join(dir, metaTemp)
	f, err := fs.Create(temp)
	if err != nil {
		return err
	}
	zero := meta{sequence: 0, logID: logID, first: 1}
	one := zero
	one.sequence = 1
	err = f.Writev([][]byte{zero.slot(), one.slot()}, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temp, filepath.Join(dir, metaName)); err != nil {
		return err
	}
	return fs.SyncDir(dir)
}

// readMeta returns the newest slot. A slot without an intact copy is a refusal
// even if the other is fine: sectors are written whole, so this is not a torn
// write but damage, and the lost slot may be the newer one, with a vote in it.
func readMeta(fs vfs.FS, dir string) (meta, error) {
	name := filepath.Join(dir, metaName)
	f, err := fs.OpenRead(name)
	if err != nil {
		return meta{}, err
	}
	defer f.Close()
	b := make([]byte, metaFileSize)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return meta{}, &HardStateError{File: name, Reason: fmt.Sprintf("%d of %d bytes are readable (%v)", n, len(b), err)}
	}
	even, okEven := parseSlot(b[:blockSize])
	odd, okOdd := parseSlot(b[blockSize:])
	switch {
	case !okEven && !okOdd:
		return meta{}, &HardStateError{File: name, Reason: "both slots are damaged"}
	case !okEven:
		return meta{}, &HardStateError{File: name, Reason: "slot 0 is damaged in both copies"}
	case !okOdd:
		return meta{}, &HardStateError{File: name, Reason: "slot 1 is damaged in both copies"}
	case even.logID != odd.logID || even.sequence%2 != 0 || odd.sequence%2 != 1:
		return meta{}, &HardStateError{File: name, Reason: "the slots do not belong together"}
	}
	if even.sequence > odd.sequence {
		return even, nil
	}
	return odd, nil
}

// writeMeta makes m the newest slot, durably.
func writeMeta(f vfs.File, m *meta) error {
	if err := f.Writev([][]byte{m.slot()}, int64(m.sequence%2)*blockSize); err != nil {
		return err
	}
	return f.Datasync()
}
