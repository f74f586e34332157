package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func (g commandGen) hll() []string {
	key := func() string { return g.pick("h1", "h2", "h3") }
	switch g.IntN(10) {
	case 0:
		return cmd("GET", key())
	case 1:
		args := cmd("PFMERGE", key())
		for range g.IntN(3) {
			args = append(args, key())
		}
		return args
	case 2:
		return cmd("PFCOUNT", key(), key()) // of one key Redis keeps what it counted
	case 3:
		return cmd(g.pick("PFDEBUG DECODE", "PFDEBUG ENCODING", "STRLEN"), key())
	case 4:
		if g.IntN(8) == 0 {
			return cmd(g.pick("DEL", "PFDEBUG TODENSE"), key())
		}
	}
	args := cmd("PFADD", key())
	for range g.IntN(g.IntN(200) + 1) {
		args = append(args, g.num(0, 100_000))
	}
	return args
}

// Sparse and dense values have the same bytes as in the original, after every
// command.
func TestRandomHyperLogLogsAgainstRedis(t *testing.T) {
	runRandomCommands(t, startRedis(t), 6, func(g commandGen) []string { return g.hll() })
}

// Both forms estimate well within the error the algorithm promises (0.81 %).
func TestHyperLogLogError(t *testing.T) {
	e := hllEditor{h: newHLL(nil), sparseMax: 3000}
	next := 1
	for i := 1; i <= 300_000; i++ {
		_, ok := e.add(appendInt(nil, int64(i)))
		require.True(t, ok)
		if i != next {
			continue
		}
		next = next*3/2 + 1
		var regs hllRegisters
		require.True(t, e.h.mergeInto(&regs))
		require.InEpsilon(t, i, regs.count(), 0.04, "%d dense=%v", i, e.h.dense())
	}
	require.True(t, e.h.dense())
}

func TestHyperLogLogSparseLimitIsASetting(t *testing.T) {
	n := newTestNode(t)
	var c Chunk
	c.AppendConfigSet([][]byte{[]byte("hll-sparse-max-bytes"), []byte("30")})
	n.run(&c)
	n.do("PFADD", "h", "a", "b", "c", "d")
	require.Equal(t, "sparse", n.do("PFDEBUG", "ENCODING", "h"))
	n.do("PFADD", "h", "e", "f", "g", "i", "j")
	require.Equal(t, "dense", n.do("PFDEBUG", "ENCODING", "h"))
}

// No bytes a client can store make a HyperLogLog command fail other than by an error.
func FuzzHyperLogLog(f *testing.F) {
	n := newTestNode(f)
	f.Add([]byte("HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"), "a")
	f.Add([]byte("HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x80\x83\x3f\x40"), "b")
	f.Fuzz(func(t *testing.T, value []byte, element string) {
		n.t, n.log = t, nil
		n.do("SET", "h", string(value))
		n.do("DEL", "m")
		n.do("PFADD", "h", element)
		n.do("PFCOUNT", "h", "h")
		n.do("PFMERGE", "m", "h")
		n.do("PFDEBUG", "DECODE", "h")
		n.do("PFDEBUG", "TODENSE", "h")
	})
}
