package kv

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bitmap makes random bitmap commands over four keys.
func (g commandGen) bitmap() []string {
	key := func() raw { return raw(g.pick("b1", "b2", "b3", "s1")) }
	k := key()
	offset := func() string { return g.pick(g.num(0, 20), g.num(0, 200), g.num(0, 200), "-1", "x") }
	bounds := func() string {
		return g.num(-30, 30) + " " + g.num(-30, 30) + " " + g.pick("", "", "BYTE", "BIT", "BIT")
	}
	switch g.IntN(12) {
	case 0, 1:
		return cmd("SETBIT", k, offset(), g.num(0, 1))
	case 2:
		return cmd("GETBIT", k, offset())
	case 3:
		return cmd("BITCOUNT", k, g.pick("", bounds(), bounds()))
	case 4, 5:
		return cmd("BITPOS", k, g.num(0, 1), g.pick("", g.num(-20, 20), bounds(), bounds()))
	case 6:
		args := cmd("BITOP", g.pick("AND", "OR", "XOR"), key())
		for range 1 + g.IntN(3) {
			args = append(args, string(key()))
		}
		return args
	case 7:
		return cmd("BITOP NOT", key(), key())
	case 8:
		value := make([]byte, g.IntN(24))
		for i := range value {
			value[i] = g.pick("\x00", "\xff", "\xff", "\x81", "a")[0]
		}
		return cmd("SET", k, raw(value))
	case 9:
		return cmd(g.pick("STRLEN", "GET", "GET", "DEL"), k)
	case 10:
		return cmd("SADD s1 a")
	}
	args := cmd("BITFIELD", k)
	for range 1 + g.IntN(4) {
		field := g.pick("u", "i") + g.pick("1", "5", "8", "13", "32", "63", "64")
		number := g.pick("0", "1", "-1", "7", "255", "-128", "127", "9223372036854775807", "-9223372036854775808", g.num(-40, 40))
		at := g.pick("", "#") + g.num(0, 70)
		switch g.IntN(4) {
		case 0:
			args = append(args, "GET", field, at)
		case 1:
			args = append(args, "OVERFLOW", g.pick("WRAP", "SAT", "FAIL"))
		case 2:
			args = append(args, "SET", field, at, number)
		default:
			args = append(args, "INCRBY", field, at, number)
		}
	}
	return args
}

func TestRandomBitmapsAgainstRedis(t *testing.T) {
	runRandomCommands(t, startRedis(t), 8, func(g commandGen) []string { return g.bitmap() })
}

// A bit counted and found by the quick ways is the one a walk over all bits finds.
func TestBitsAgainstAWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		s := make([]byte, r.IntN(40))
		for i := range s {
			s[i] = [...]byte{0, 0, 0xff, 0xff, 1, 0x80, byte(r.Uint32())}[r.IntN(7)]
		}
		lo, hi := int64(r.IntN(8*len(s)+1)), int64(r.IntN(8*len(s)+1))
		count, first := int64(0), [2]int64{-1, -1}
		for i := lo; i < hi; i++ {
			bit := bitAt(s, i)
			count += bit
			if first[bit] < 0 {
				first[bit] = i
			}
		}
		require.Equal(t, count, countBits(s, lo, hi), "%x %d %d", s, lo, hi)
		require.Equal(t, first[0], findBit(s, 0, lo, hi), "%x %d %d", s, lo, hi)
		require.Equal(t, first[1], findBit(s, 1, lo, hi), "%x %d %d", s, lo, hi)
	}
}

// A bitmap above the size of a record is an object, changed in place.
func TestBitOpsAgainstBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 5))
	for range 500 {
		sources := make([][]byte, 1+r.IntN(3))
		longest := 0
		for i := range sources {
			sources[i] = make([]byte, r.IntN(40))
			for j := range sources[i] {
				sources[i][j] = byte(r.Uint32())
			}
			longest = max(longest, len(sources[i]))
		}
		for op, of := range map[bitOp]func(a, b byte) byte{
			bitAnd: func(a, b byte) byte { return a & b },
			bitOr:  func(a, b byte) byte { return a | b },
			bitXor: func(a, b byte) byte { return a ^ b },
		} {
			want := make([]byte, longest)
			copy(want, sources[0])
			for _, s := range sources[1:] {
				for i := range want {
					b := byte(0)
					if i < len(s) {
						b = s[i]
					}
					want[i] = of(want[i], b)
				}
			}
			require.Equal(t, want, append([]byte{}, combineBits(op, sources)...))
		}
	}
}

func TestLargeBitmap(t *testing.T) {
	n := newTestNode(t)
	require.Equal(t, "(integer) 0", n.do("SETBIT", "b", "8000000", "1"))
	cut := n.s.OpenCut()
	defer cut.Close()
	before := cut.Digest()
	require.Equal(t, "(integer) 0", n.do("SETBIT", "b", "8000001", "1"))
	require.Equal(t, "(integer) 2", n.do("BITCOUNT", "b"))
	require.Equal(t, "(integer) 8000000", n.do("BITPOS", "b", "1"))
	require.Equal(t, before, cut.Digest(), "a cut does not change")
	limit := n.s.Settings().ProtoMaxBulkLen * 8
	require.Contains(t, n.do("SETBIT", "b", itoa(limit), "1"), "out of range")
	require.Contains(t, n.do("BITFIELD", "b", "SET", "u8", itoa(limit), "1"), "out of range")
	require.Equal(t, "(integer) 0", n.do("SETBIT", "b", itoa(limit-1), "1"))
	require.Equal(t, "(integer) "+itoa(limit/8), n.do("STRLEN", "b"))
	require.True(t, strings.HasPrefix(n.do("BITFIELD", "b", "GET", "i64", itoa(limit-1)), "1) (integer) -"))
}

func itoa(n int64) string { return string(appendInt(nil, n)) }
