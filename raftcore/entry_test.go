package raftcore

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

// The checksum is CRC-32C of term, index (8 bytes little endian each), type, body.
func TestChecksumIsCRC32COfIdentityAndBody(t *testing.T) {
	for _, body := range [][]byte{nil, {}, []byte("x"), make([]byte, 1000)} {
		id := binary.LittleEndian.AppendUint64(nil, 7)
		id = binary.LittleEndian.AppendUint64(id, 1<<40+3)
		id = append(id, byte(EntryConfig))
		want := crc32.Checksum(append(id, body...), crc32.MakeTable(crc32.Castagnoli))
		require.Equal(t, want, Checksum(7, 1<<40+3, EntryConfig, body))
	}
	body := make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() { Checksum(1, 2, EntryNormal, body) }))
}
