package snapshot

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// smallKeys is n bytes that look like the RDB of small keys with random values.
func smallKeys(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "\x00\x10key:%012d\x40", i*7919)
		for range 64 {
			b = append(b, byte('a'+r.IntN(26)))
		}
	}
	return b[:n]
}

// Whoever waits for the processor gets it after each piece of a frame, whatever its size, and
// neither that nor an encoder's earlier frame changes it. A frame in pieces is as small as one
// that is compressed at once.
func TestFramesAreCompressedInPieces(t *testing.T) {
	c := codecFor(1)
	once, err := zstd.NewWriter(nil, zstd.WithWindowSize(maxFrameRaw), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	require.NoError(t, err)
	defer once.Close()
	dec, err := c.decoder()
	require.NoError(t, err)
	for _, n := range []int{1, codedAtOnce - 1, codedAtOnce, codedAtOnce + 1, targetFrameRaw, targetFrameRaw + 5000, maxFrameRaw} {
		paced, plain := &job{raw: smallKeys(n)}, &job{raw: smallKeys(n), encoded: []byte("of before")}
		rests := 0
		require.NoError(t, c.encode(paced, func() error { rests++; return nil }))
		require.Equal(t, (n+codedAtOnce-1)/codedAtOnce, rests, "%d bytes", n)
		require.NoError(t, c.encode(plain, nil))
		require.Equal(t, paced.encoded, plain.encoded, "%d bytes", n)
		require.LessOrEqual(t, float64(len(plain.encoded)), 1.01*float64(len(once.EncodeAll(plain.raw, nil)))+16, "%d bytes", n)

		read := &job{encoded: plain.encoded}
		decodeFrame(dec, read, frameInfo{raw: uint32(n), crc: crc32.Checksum(plain.encoded, castagnoli)}, "f")
		require.NoError(t, read.err)
		require.Equal(t, plain.raw, read.raw)
	}
}

// A rest that fails ends a frame at once, and the encoder is as good as new.
func TestCompressionIsInterrupted(t *testing.T) {
	c := &codec{workers: 1}
	j := &job{raw: smallKeys(targetFrameRaw)}
	stop, rests := errors.New("stop"), 0
	require.ErrorIs(t, c.encode(j, func() error { rests++; return stop }), stop)
	require.Equal(t, 1, rests)
	again, fresh := &job{raw: smallKeys(5000)}, &job{raw: smallKeys(5000)}
	require.NoError(t, c.encode(again, nil))
	require.NoError(t, codecFor(1).encode(fresh, nil))
	require.Equal(t, fresh.encoded, again.encoded)
}
