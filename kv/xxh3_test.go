package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Values of another implementation, at the lengths where the algorithm changes.
func TestXXH3(t *testing.T) {
	require.EqualValues(t, uint64(0xb6acb9d84a38ff74), xxh3([]byte("Hello world")), "the example of Redis's DIGEST")
	for _, tc := range []struct {
		n    int
		want uint64
	}{
		{0, 0x2d06800538d394c2},
		{1, 0xc44bdff4074eecdb},
		{2, 0x9093381c8763d62e},
		{3, 0xc3489259e968ad9e},
		{4, 0xd3d60c1519014e89},
		{5, 0x559935c0f3f7327f},
		{8, 0xb88dee77f6bf6980},
		{9, 0x03688dcad730d826},
		{16, 0x9da23836adf2be1e},
		{17, 0xf34c3c9cf5a112d1},
		{32, 0x99cb9ad0f1a11fbe},
		{33, 0xc077b45492d29cde},
		{64, 0x6efb76ff16f37561},
		{65, 0x2640848e9137156b},
		{96, 0x764d2d5db92942df},
		{97, 0x077acb7e5f4fd940},
		{128, 0x65f3c2c00fa93185},
		{129, 0x28065c6ec25f5b25},
		{130, 0xefd194879b822f04},
		{160, 0xcc592da68fea2254},
		{161, 0x6409c7155c76d359},
		{239, 0x6ce0b13191e635ea},
		{240, 0x4917a75c0ef8eed7},
		{241, 0x541b19226f0052e8},
		{255, 0x99b37c2c806e33d3},
		{256, 0xff5a1cefade75bb9},
		{512, 0xe0410eb388a9c9fa},
		{513, 0xd42c9edb66b8b84d},
		{1023, 0x3d31fcc1037648a4},
		{1024, 0x71bee625238addb4},
		{1025, 0xd9b414f4e1bbf7ad},
		{1088, 0xb74e423e955e509d},
		{2048, 0x3293e8238bd8f743},
		{3000, 0xf8b5749ec75008ab},
		{5000, 0xed0146266d138bd8},
		{65537, 0x306efa3b942cf93f},
	} {
		b := make([]byte, tc.n)
		for i := range b {
			b[i] = byte(i*7 + i>>8)
		}
		require.Equal(t, tc.want, xxh3(b), tc.n)
	}
}
