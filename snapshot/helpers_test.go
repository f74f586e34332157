package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/raftcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDir = "/data/snapshots"

// blocks is a Source of given pieces, each with one key.
type blocks [][]byte

func (b blocks) Blocks(emit func(raw []byte, keys int) error) error {
	for _, raw := range b {
		// A copy that is spoilt afterwards: raw is valid only during the call.
		tmp := bytes.Clone(raw)
		if err := emit(tmp, 1); err != nil {
			return err
		}
		for i := range tmp {
			tmp[i] = 0xee
		}
	}
	return nil
}

func (b blocks) bytes() []byte { return bytes.Join(b, nil) }

// sourceFunc is a Source that is a function.
type sourceFunc func(emit func(raw []byte, keys int) error) error

func (f sourceFunc) Blocks(emit func(raw []byte, keys int) error) error { return f(emit) }

// someBlocks makes n pieces of about size bytes, half of which compress.
func someBlocks(seed uint64, n, size int) blocks {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make(blocks, n)
	for i := range b {
		b[i] = make([]byte, size+rng.IntN(size/2+1))
		for j := 0; j+8 <= len(b[i])/2; j += 8 {
			binary.LittleEndian.PutUint64(b[i][j:], rng.Uint64())
		}
	}
	return b
}

func testMeta(index uint64) raftcore.SnapshotMeta {
	return raftcore.SnapshotMeta{Index: index, Term: index/10 + 1}
}

func openStore(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(fs, testDir, Options{})
	require.NoError(t, err)
	return s
}

func write(t *testing.T, s *Store, index uint64, src Source) Info {
	t.Helper()
	info, err := s.Write(context.Background(), testMeta(index), src)
	require.NoError(t, err)
	return info
}

// contents verifies and restores a snapshot.
func contents(t *testing.T, s *Store, index uint64) []byte {
	t.Helper()
	r, err := s.Open(index)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.Verify())
	var out []byte
	require.NoError(t, r.Restore(func(raw []byte) error { out = append(out, raw...); return nil }))
	return out
}

// rawBytes is the file of a snapshot.
func rawBytes(t *testing.T, s *Store, index uint64) []byte {
	t.Helper()
	r, err := s.Open(index)
	require.NoError(t, err)
	defer r.Close()
	b := make([]byte, r.Offer().Size)
	_, err = r.RawAt().ReadAt(b, 0)
	require.NoError(t, err)
	return b
}

// inOrder is a file's bytes in the order of sending. Of a file whose end cannot be
// read it is the file.
func inOrder(file []byte) []byte {
	if len(file) < trailerSize {
		return file
	}
	n := int(binary.LittleEndian.Uint32(file[len(file)-trailerSize:]))
	if n > len(file) {
		return file
	}
	return append(bytes.Clone(file[len(file)-n:]), file[:len(file)-n]...)
}

// offerOf announces a file under a meta, with the hash that the file claims.
func offerOf(meta raftcore.SnapshotMeta, file []byte) Offer {
	o := Offer{Meta: meta, Size: int64(len(file))}
	if len(file) >= footerTailSize {
		copy(o.Hash[:], file[len(file)-footerTailSize:])
	}
	return o
}

// receiveFile streams a file to a store as the snapshot meta.
func receiveFile(s *Store, meta raftcore.SnapshotMeta, file []byte) (Info, error) {
	return s.Receive(context.Background(), offerOf(meta, file), Whole(inOrder(file)))
}

// cutStream is a stream that ends too early, or is slow; it notes where it began.
type cutStream struct {
	stream []byte
	r      io.Reader
	from   int64
	end    int   // where it breaks; 0: never
	err    error // with what
}

func (c *cutStream) From(offset int64) error {
	c.from = offset
	end := len(c.stream)
	if c.end > 0 {
		end = c.end
	}
	c.r = iotest.HalfReader(bytes.NewReader(c.stream[min(int(offset), end):end]))
	if c.err != nil {
		c.r = io.MultiReader(c.r, iotest.ErrReader(c.err))
	}
	return nil
}

func (c *cutStream) Read(p []byte) (int, error) { return c.r.Read(p) }
