package snapshot

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/rkvdb/rkv/raftcore"
)

// A snapshot file, all numbers little endian:
//
//	+---------+---------+-----+-----------+--------------------------+
//	| frame 0 | frame 1 | ... | frame n-1 | footer (skippable frame) |
//	+---------+---------+-----+-----------+--------------------------+
//
// Each frame is one complete zstd frame that declares its content size; decoded
// and concatenated they are one RDB file. The footer is a zstd skippable frame, so
// that `zstd -dc` passes over it:
//
//	 0 skippable magic u32  0x184D2A5E
//	 4 skippable size  u32  bytes that follow in the footer
//	 8 version         u32  1; a reader refuses what it does not know
//	12 frames          u32
//	16 index           u64  raft index and term of the last entry in the state
//	24 term            u64
//	32 keys            u64  sum over the frames
//	40 raw size        u64  sum over the frames
//	48 membership      u32 length, then raftcore.EncodeMembership's bytes
//	.. frame table     n x { raw u32, compressed u32, CRC-32C u32, keys u32 }
//	.. SHA-256         32 bytes, over every byte of the file before it
//	.. footer length   u32  from the skippable magic to the end of the file
//	.. footer CRC-32C  u32  from the skippable magic up to here
//	.. tail magic      8 bytes "rkvsnap1"
//
// What each check is for. The frame CRC (of the compressed bytes) finds rot
// before a byte reaches the decompressor, and says where. The declared sizes bound
// memory before it is taken. The footer CRC makes the table trustworthy without
// reading the file, so a directory is listed in a few small reads. The SHA-256
// finds what CRCs cannot, frames exchanged between two files with a footer to
// match among it, and names the contents: two nodes, or a node and a backup, hold
// the same snapshot iff it is equal. A faster hash would do for rot alone, but at
// 1 to 2 GB/s a core (SHA extensions) it costs less than the decompression.
//
// Frames are small because decoding one is what a reader beside live traffic cannot be
// interrupted in: 96 KiB cost less than 1 % of size against 1 MiB.
const (
	skippableMagic  = 0x184D2A5E
	formatVersion   = 1
	tailMagic       = "rkvsnap1"
	footerHeadSize  = 52
	frameEntrySize  = 16
	footerTailSize  = 32 + 4 + 4 + 8
	trailerSize     = 4 + 4 + 8
	maxMembership   = 1 << 20
	maxFooterSize   = 64 << 20 // 4 M frames: 400 GiB of RDB
	minFileSize     = footerHeadSize + footerTailSize
	hashSize        = 32
	targetFrameRaw  = 96 << 10                            // a frame is closed once it holds this much
	maxFrameRaw     = 2 << 20                             // earlier versions closed them at 1 MiB
	maxFrameEncoded = maxFrameRaw + maxFrameRaw/64 + 1024 // zstd's worst case, and room
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameInfo is one row of the frame table.
type frameInfo struct {
	raw, encoded, crc, keys uint32
}

// footer is the decoded footer.
type footer struct {
	meta       raftcore.SnapshotMeta
	membership []byte
	frames     []frameInfo
	keys       uint64
	rawSize    uint64
	hash       [hashSize]byte
}

// dataSize is the length of all frames, and so the footer's offset.
func (f *footer) dataSize() int64 {
	var n int64
	for i := range f.frames {
		n += int64(f.frames[i].encoded)
	}
	return n
}

// size is the footer's length in bytes.
func (f *footer) size() int {
	return footerHeadSize + len(f.membership) + len(f.frames)*frameEntrySize + footerTailSize
}

// appendHead appends the footer up to the hash.
func (f *footer) appendHead(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, skippableMagic)
	dst = le.AppendUint32(dst, uint32(f.size()-8))
	dst = le.AppendUint32(dst, formatVersion)
	dst = le.AppendUint32(dst, uint32(len(f.frames)))
	dst = le.AppendUint64(dst, f.meta.Index)
	dst = le.AppendUint64(dst, f.meta.Term)
	dst = le.AppendUint64(dst, f.keys)
	dst = le.AppendUint64(dst, f.rawSize)
	dst = le.AppendUint32(dst, uint32(len(f.membership)))
	dst = append(dst, f.membership...)
	for i := range f.frames {
		fr := &f.frames[i]
		dst = le.AppendUint32(dst, fr.raw)
		dst = le.AppendUint32(dst, fr.encoded)
		dst = le.AppendUint32(dst, fr.crc)
		dst = le.AppendUint32(dst, fr.keys)
	}
	return dst
}

// appendTail completes the footer; dst holds exactly what appendHead made.
func (f *footer) appendTail(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, f.hash[:]...)
	dst = le.AppendUint32(dst, uint32(f.size()))
	dst = le.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
	return append(dst, tailMagic...)
}

// parseTrailer reads the file's last trailerSize bytes and returns the footer's
// length, at most fileSize.
func parseTrailer(b []byte, file string, fileSize int64) (int, error) {
	at := fileSize - trailerSize
	if len(b) != trailerSize || string(b[8:]) != tailMagic {
		return 0, corrupt(file, at+8, "tail magic "+tailMagic, fmt.Sprintf("%q", b))
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n < minFileSize || n > maxFooterSize || n > fileSize {
		return 0, corrupt(file, at, "a footer length within the file", n)
	}
	return int(n), nil
}

// parseFooter decodes and checks b, the whole footer, which lies at the end of a
// file of fileSize bytes. It trusts nothing: every number is checked against the
// bytes at hand before it is used.
func parseFooter(b []byte, file string, fileSize int64) (*footer, error) {
	le := binary.LittleEndian
	base := fileSize - int64(len(b))
	if len(b) < minFileSize || base < 0 {
		return nil, corrupt(file, 0, "a footer", fmt.Sprintf("%d bytes", len(b)))
	}
	if n, err := parseTrailer(b[len(b)-trailerSize:], file, fileSize); err != nil {
		return nil, err
	} else if n != len(b) {
		return nil, corrupt(file, fileSize-trailerSize, fmt.Sprintf("footer length %d", len(b)), n)
	}
	crcAt := len(b) - 12
	if want, got := le.Uint32(b[crcAt:]), crc32.Checksum(b[:crcAt], castagnoli); want != got {
		return nil, corrupt(file, base, crcText(want), crcText(got))
	}
	if got := le.Uint32(b); got != skippableMagic || le.Uint32(b[4:]) != uint32(len(b)-8) {
		return nil, corrupt(file, base, "a skippable frame to the end of the file", crcText(got))
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return nil, fmt.Errorf("snapshot: %s: format version %d, known is %d", file, v, formatVersion)
	}
	f := &footer{
		meta:    raftcore.SnapshotMeta{Index: le.Uint64(b[16:]), Term: le.Uint64(b[24:])},
		keys:    le.Uint64(b[32:]),
		rawSize: le.Uint64(b[40:]),
	}
	n, m := uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[48:]))
	if footerHeadSize+m+n*frameEntrySize+footerTailSize != uint64(len(b)) {
		return nil, corrupt(file, base+12, fmt.Sprintf("counts that fill %d bytes", len(b)),
			fmt.Sprintf("%d frames, %d bytes of membership", n, m))
	}
	f.membership = append([]byte(nil), b[footerHeadSize:footerHeadSize+m]...)
	table := b[footerHeadSize+m:]
	copy(f.hash[:], table[n*frameEntrySize:])
	if err := f.parseTable(table[:n*frameEntrySize], file, base); err != nil {
		return nil, err
	}
	var err error
	if f.meta.Membership, err = raftcore.DecodeMembership(f.membership); err != nil {
		return nil, fmt.Errorf("snapshot: %s: membership: %w", file, err)
	}
	return f, nil
}

// parseTable decodes the frame table and checks it against the sums and against
// the room there is for frames.
func (f *footer) parseTable(b []byte, file string, room int64) error {
	le := binary.LittleEndian
	f.frames = make([]frameInfo, 0, len(b)/frameEntrySize)
	var raw, keys uint64
	var encoded int64
	for ; len(b) > 0; b = b[frameEntrySize:] {
		fr := frameInfo{raw: le.Uint32(b), encoded: le.Uint32(b[4:]), crc: le.Uint32(b[8:]), keys: le.Uint32(b[12:])}
		if fr.raw == 0 || fr.raw > maxFrameRaw || fr.encoded == 0 || fr.encoded > maxFrameEncoded {
			return corrupt(file, room, fmt.Sprintf("frame %d of at most %d bytes", len(f.frames), maxFrameRaw),
				fmt.Sprintf("%d raw, %d compressed", fr.raw, fr.encoded))
		}
		raw, keys, encoded = raw+uint64(fr.raw), keys+uint64(fr.keys), encoded+int64(fr.encoded)
		f.frames = append(f.frames, fr)
	}
	if raw != f.rawSize || keys != f.keys || encoded != room {
		return corrupt(file, room, fmt.Sprintf("frames of %d bytes, %d raw, %d keys", room, f.rawSize, f.keys),
			fmt.Sprintf("%d, %d, %d", encoded, raw, keys))
	}
	return nil
}

func (f *footer) info(name string) Info {
	return Info{
		Meta: f.meta, Name: name, Size: f.dataSize() + int64(f.size()), RawSize: int64(f.rawSize),
		Keys: f.keys, Frames: len(f.frames), Hash: f.hash,
	}
}
