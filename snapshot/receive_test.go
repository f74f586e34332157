package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rkvdb/rkv/internal/vfs"
)

// manyFrames is the file of a snapshot at 30 with several frames that do not compress.
func manyFrames(t *testing.T) []byte {
	s := openStore(t, vfs.NewMem())
	src := make(blocks, 6)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range src {
		src[i] = make([]byte, targetFrameRaw)
		for j := 0; j < len(src[i]); j += 8 {
			binary.LittleEndian.PutUint64(src[i][j:], rng.Uint64())
		}
	}
	require.Greater(t, write(t, s, 30, src).Frames, 4)
	return rawBytes(t, s, 30)
}

func partials(t *testing.T, fs *vfs.Mem) (found []string) {
	names, err := fs.List(testDir)
	require.NoError(t, err)
	for _, n := range names {
		if strings.HasSuffix(n, partialSuffix) {
			found = append(found, n)
		}
	}
	return found
}

var errLine = errors.New("the line broke")

// A stream that breaks again and again, anywhere, is continued every time behind the
// last sound frame: no byte of those is sent twice, over restarts of the receiver too.
func TestReceiveContinues(t *testing.T) {
	file := manyFrames(t)
	stream, o := inOrder(file), offerOf(testMeta(30), file)
	frame := len(stream) / 6
	for _, step := range []int{frame / 2, frame + frame/3, 3 * frame} {
		fs := vfs.NewMem()
		s := openStore(t, fs)
		have := int64(0)
		streams := 0
		for end := step; ; end += step {
			in := &cutStream{stream: stream, err: errLine, end: min(end, len(stream)-1)}
			if end >= len(stream) {
				in = &cutStream{stream: stream}
			}
			info, err := s.Receive(context.Background(), o, in)
			require.GreaterOrEqual(t, in.from, have, "what was there is sent again")
			if streams++; in.end > 0 {
				require.ErrorIs(t, err, errLine)
				_, ok := s.Newest()
				require.False(t, ok, "half a snapshot is offered")
				require.Less(t, int64(in.end)-in.from, int64(step+2*frame), "it continued too early")
				have = in.from
				if streams%2 == 0 {
					s = openStore(t, fs) // the process starts again
				}
				continue
			}
			require.NoError(t, err)
			require.Positive(t, in.from)
			require.Equal(t, o.Hash, info.Hash)
			break
		}
		require.Equal(t, file, rawBytes(t, s, 30))
		require.Empty(t, partials(t, fs))
	}
}

// What lies in the file between two streams is judged anew: a damaged frame, and what
// is behind it, is asked for again.
func TestReceiveTrustsOnlyWhatItReads(t *testing.T) {
	file := manyFrames(t)
	stream, o := inOrder(file), offerOf(testMeta(30), file)
	whole := int64(len(stream))
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		from   func(from int64) bool
	}{
		"nothing":      {func(b []byte) []byte { return b }, func(at int64) bool { return at > whole/2 }},
		"a late frame": {func(b []byte) []byte { b[len(b)/3] ^= 1; return b }, func(at int64) bool { return at > 0 && at < whole/2 }},
		"first frame":  {func(b []byte) []byte { b[0] ^= 1; return b }, func(at int64) bool { return at > 0 && at < whole/8 }},
		"the footer":   {func(b []byte) []byte { b[len(b)-9] ^= 1; return b }, func(at int64) bool { return at == 0 }},
		"its end":      {func(b []byte) []byte { return b[:len(b)-1] }, func(at int64) bool { return at == 0 }},
		"all of it":    {func([]byte) []byte { return nil }, func(at int64) bool { return at == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openStore(t, fs)
			_, err := s.Receive(context.Background(), o, &cutStream{stream: stream, end: len(stream) * 4 / 5, err: errLine})
			require.ErrorIs(t, err, errLine)
			path := filepath.Join(testDir, partials(t, fs)[0])
			b, err := fs.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, fs.WriteFile(path, c.damage(b)))
			in := &cutStream{stream: stream}
			_, err = s.Receive(context.Background(), o, in)
			require.NoError(t, err)
			require.True(t, c.from(in.from), "it began at %d of %d", in.from, whole)
			require.Equal(t, file, rawBytes(t, s, 30))
		})
	}
}

// A frame that is damaged on its way is not written; the ones before it stay.
func TestReceiveChecksEachFrame(t *testing.T) {
	file := manyFrames(t)
	stream, o := inOrder(file), offerOf(testMeta(30), file)
	bad := append([]byte(nil), stream...)
	bad[len(bad)/2] ^= 1
	s := openStore(t, vfs.NewMem())
	_, err := s.Receive(context.Background(), o, Whole(bad))
	var damage *CorruptionError
	require.ErrorAs(t, err, &damage)
	in := &cutStream{stream: stream}
	_, err = s.Receive(context.Background(), o, in)
	require.NoError(t, err)
	require.Greater(t, in.from, int64(len(stream)/4))
	require.Less(t, in.from, int64(len(stream)/2))
}

// Another offer takes the place of a part; a part of what is outdated goes.
func TestPartsDoNotPileUp(t *testing.T) {
	file := manyFrames(t)
	stream, o := inOrder(file), offerOf(testMeta(30), file)
	fs := vfs.NewMem()
	s := openStore(t, fs)
	half := func(o Offer, stream []byte) error {
		_, err := s.Receive(context.Background(), o, &cutStream{stream: stream, end: len(stream) / 2, err: errLine})
		return err
	}
	require.ErrorIs(t, half(o, stream), errLine)
	require.Len(t, partials(t, fs), 1)

	other := openStore(t, vfs.NewMem())
	write(t, other, 50, someBlocks(2, 6, targetFrameRaw))
	newer := rawBytes(t, other, 50)
	require.ErrorIs(t, half(offerOf(testMeta(50), newer), inOrder(newer)), errLine)
	require.Equal(t, []string{partialName(testMeta(50))}, partials(t, fs))

	// The same index and term with other bytes, from another member: begin anew.
	write(t, other, 55, someBlocks(2, 6, targetFrameRaw))
	third := openStore(t, vfs.NewMem())
	write(t, third, 55, someBlocks(3, 6, targetFrameRaw))
	a, b := rawBytes(t, other, 55), rawBytes(t, third, 55)
	require.ErrorIs(t, half(offerOf(testMeta(55), a), inOrder(a)), errLine)
	in := &cutStream{stream: inOrder(b)}
	_, err := s.Receive(context.Background(), offerOf(testMeta(55), b), in)
	require.NoError(t, err)
	require.Zero(t, in.from)
	require.Equal(t, b, rawBytes(t, s, 55))

	require.ErrorIs(t, half(offerOf(testMeta(60), a), inOrder(a)), ErrMismatch)
	require.Empty(t, partials(t, fs))
	write(t, third, 70, someBlocks(3, 6, targetFrameRaw))
	c := rawBytes(t, third, 70)
	require.ErrorIs(t, half(offerOf(testMeta(70), c), inOrder(c)), errLine)
	write(t, s, 80, blocks{{1}}) // a snapshot of its own overtook it
	require.NoError(t, s.Retire(2))
	require.Empty(t, partials(t, fs))
}

// A full disk keeps no part: the log needs the room.
func TestPartGoesWhenTheDiskIsFull(t *testing.T) {
	file := manyFrames(t)
	stream, o := inOrder(file), offerOf(testMeta(30), file)
	fs := vfs.NewMem()
	s := openStore(t, fs)
	_, err := s.Receive(context.Background(), o, &cutStream{stream: stream, end: len(stream) / 2, err: errLine})
	require.ErrorIs(t, err, errLine)
	fs.SetFault(func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite {
			return unix.ENOSPC
		}
		return nil
	})
	_, err = s.Receive(context.Background(), o, Whole(stream))
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Empty(t, partials(t, fs))
	fs.SetFault(nil)
	_, err = s.Receive(context.Background(), o, Whole(stream))
	require.NoError(t, err)
}
