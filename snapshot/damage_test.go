package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

// smallSnapshot has several frames, so that a flip meets every kind of byte.
func smallSnapshot(t testing.TB) []byte {
	var foot footer
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	require.NoError(t, err)
	var file []byte
	for _, raw := range []string{"REDIS0011 some of it, some of it, some of it", "more", "and the end of it all"} {
		b := enc.EncodeAll([]byte(raw), nil)
		foot.frames = append(foot.frames, frameInfo{uint32(len(raw)), uint32(len(b)), crc32.Checksum(b, castagnoli), 1})
		foot.rawSize += uint64(len(raw))
		foot.keys++
		file = append(file, b...)
	}
	foot.meta = testMeta(20)
	foot.membership = raftcore.EncodeMembership(foot.meta.Membership)
	return seal(file, &foot)
}

// seal appends a footer with all its checks right.
func seal(file []byte, foot *footer) []byte {
	head := foot.appendHead(nil)
	foot.hash = sha256.Sum256(append(bytes.Clone(file), head...))
	return append(file, foot.appendTail(head)...)
}

// accepted reports whether a store would ever hand out the bytes as the snapshot
// at index 20.
func accepted(t *testing.T, file []byte) bool {
	t.Helper()
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll(testDir))
	require.NoError(t, fs.WriteFile(filepath.Join(testDir, fileName(20, 3)), file))
	s, err := Open(fs, testDir, Options{Workers: 1})
	if err != nil {
		return false
	}
	atRest := false
	if r, err := s.OpenNewest(); err == nil {
		atRest = r.Verify() == nil
		require.NoError(t, r.Close())
	}
	if _, ok := s.Newest(); !atRest {
		require.False(t, ok, "a snapshot that failed Verify is still offered")
	}
	empty, err := Open(vfs.NewMem(), testDir, Options{Workers: 1})
	require.NoError(t, err)
	_, err = receiveFile(empty, testMeta(20), file)
	require.Equal(t, atRest, err == nil, "at rest and on receipt the same bytes are judged alike")
	return atRest
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	file := smallSnapshot(t)
	require.True(t, accepted(t, file))
	for i := range file {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(file)
			bad[i] ^= mask
			require.False(t, accepted(t, bad), "byte %d of %d, mask %#x", i, len(file), mask)
		}
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	file := smallSnapshot(t)
	for n := range file {
		require.False(t, accepted(t, file[:n]), "first %d bytes", n)
		require.False(t, accepted(t, file[n+1:]), "without the first %d bytes", n+1)
	}
	require.False(t, accepted(t, append(bytes.Clone(file), 0)))
}

func TestFramesOfAnotherSnapshotAreFound(t *testing.T) {
	a, b := smallSnapshot(t), smallSnapshot(t)
	f, err := parseFooter(footerOf(t, a), "a", int64(len(a)))
	require.NoError(t, err)
	first, second := int(f.frames[0].encoded), int(f.frames[1].encoded)
	swapped := append(bytes.Clone(b[first:first+second]), b[:first]...)
	swapped = append(swapped, b[first+second:]...)
	require.False(t, accepted(t, swapped))
}

func footerOf(t testing.TB, file []byte) []byte {
	n, err := parseTrailer(file[len(file)-trailerSize:], "file", int64(len(file)))
	require.NoError(t, err)
	return file[len(file)-n:]
}

// A forged snapshot can have every checksum right. It must still not take more
// memory than its frames may have.
func TestZstdBomb(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	bomb := enc.EncodeAll(make([]byte, 64<<20), nil)
	require.Less(t, len(bomb), 1<<20)
	for name, raw := range map[string]uint32{"declared small": 100, "declared as large as may be": maxFrameRaw} {
		t.Run(name, func(t *testing.T) {
			foot := footer{meta: testMeta(20), rawSize: uint64(raw), keys: 1,
				membership: raftcore.EncodeMembership(raftcore.Membership{}),
				frames:     []frameInfo{{raw, uint32(len(bomb)), crc32.Checksum(bomb, castagnoli), 1}}}
			require.False(t, accepted(t, seal(bytes.Clone(bomb), &foot)))
		})
	}
}

func TestFrameThatDecodesToLess(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	b := enc.EncodeAll([]byte("short"), nil)
	foot := footer{meta: testMeta(20), rawSize: 50, keys: 1,
		membership: raftcore.EncodeMembership(raftcore.Membership{}),
		frames:     []frameInfo{{50, uint32(len(b)), crc32.Checksum(b, castagnoli), 1}}}
	require.False(t, accepted(t, seal(b, &foot)))
}

func TestDamageIsReportedWithItsAddress(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	write(t, s, 1, blocks{{1}})
	info := write(t, s, 2, someBlocks(1, 4, 1<<20))
	require.Equal(t, 4, info.Frames)
	path := filepath.Join(testDir, info.Name)
	r, err := s.Open(2)
	require.NoError(t, err)
	third := int64(r.file.foot.frames[0].encoded + r.file.foot.frames[1].encoded)
	require.NoError(t, fs.FlipBit(path, (third+1000)*8))

	delivered := 0
	err = r.Restore(func([]byte) error { delivered++; return nil })
	var damage *CorruptionError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, 2, delivered)
	require.Equal(t, info.Name, damage.File)
	require.Equal(t, third, damage.Offset)
	require.Contains(t, damage.Expected, "CRC", "found before the decompressor saw it")

	// The store falls back to the one before and sets the file aside.
	require.NoError(t, r.Close())
	require.Equal(t, []uint64{1}, indexes(s))
	require.Equal(t, []uint64{1}, indexes(openStore(t, fs)))
	// So a sound copy of the same index can be taken in again.
	write(t, s, 2, blocks{{2}})
	require.NoError(t, s.Retire(1))
	names, _ := fs.List(testDir)
	require.Equal(t, []string{fileName(2, 1)}, names)
}

// A read error is not damage: the snapshot stays.
func TestReadErrorIsNotDamage(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, fs)
	write(t, s, 2, someBlocks(1, 2, 1<<20))
	r, err := s.Open(2)
	require.NoError(t, err)
	defer r.Close()
	eio := errors.New("input/output error")
	fs.FailNth(vfs.OpRead, 0, eio)
	require.ErrorIs(t, r.Verify(), eio)
	require.Equal(t, []uint64{2}, indexes(s))
	require.NoError(t, r.Verify())
}

// All frames may be sound and the file still not the one that was written: who has
// taken everything in must be told before it uses it.
func TestRestoreChecksTheWholeFile(t *testing.T) {
	file := smallSnapshot(t)
	foot, err := parseFooter(footerOf(t, file), "file", int64(len(file)))
	require.NoError(t, err)
	forged := append(bytes.Clone(file[:len(file)-len(footerOf(t, file))]), foot.appendTail(foot.appendHead(nil))...)
	require.Equal(t, file, forged)
	foot.hash[5] ^= 1
	forged = append(bytes.Clone(file[:len(file)-len(footerOf(t, file))]), foot.appendTail(foot.appendHead(nil))...)
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll(testDir))
	require.NoError(t, fs.WriteFile(filepath.Join(testDir, fileName(20, 3)), forged))
	s := openStore(t, fs)
	r, err := s.OpenNewest()
	require.NoError(t, err)
	defer r.Close()
	delivered := 0
	var damage *CorruptionError
	require.ErrorAs(t, r.Restore(func([]byte) error { delivered++; return nil }), &damage)
	require.Equal(t, 3, delivered)
	require.Contains(t, damage.Expected, "SHA-256")
	require.Empty(t, indexes(s))
}

func TestRestoreStopsAtTheSinksError(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	write(t, s, 2, someBlocks(1, 8, 1<<20))
	r, err := s.Open(2)
	require.NoError(t, err)
	defer r.Close()
	full := errors.New("full")
	calls := 0
	require.ErrorIs(t, r.Restore(func([]byte) error { calls++; return full }), full)
	require.Equal(t, 1, calls)
}

func FuzzFooter(f *testing.F) {
	file := smallSnapshot(f)
	f.Add(footerOf(f, file), int64(len(file)))
	f.Add(footerOf(f, file)[:minFileSize], int64(minFileSize))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if len(b) > minFileSize { // let the fuzzer past the CRC
			binary.LittleEndian.PutUint32(b[len(b)-12:], crc32.Checksum(b[:len(b)-12], castagnoli))
		}
		foot, err := parseFooter(b, "fuzz", size)
		if err != nil {
			return
		}
		again := foot.appendTail(foot.appendHead(nil))
		require.Equal(t, b, again, "what is accepted is what would be written")
		require.Equal(t, size, foot.dataSize()+int64(foot.size()))
	})
}
