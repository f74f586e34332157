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

// TestPFCountKeepsItsCount: the first PFCOUNT of one key after a change puts the count
// into the value, by way of the log; further ones are reads.
func TestPFCountKeepsItsCount(t *testing.T) {
	n := newTestNode(t)
	stale := func() bool { return n.do("GETRANGE", "h", "15", "15") == `"\x80"` }
	n.do("PFADD", "h", "a", "b", "c")
	require.True(t, stale())
	entries := n.index
	require.Equal(t, "(integer) 3", n.do("PFCOUNT", "h"))
	require.False(t, stale())
	require.Greater(t, n.index, entries, "it was an entry")
	entries = n.index
	require.Equal(t, "(integer) 3", n.do("PFCOUNT", "h"))
	require.Equal(t, "(integer) 3", n.do("PFCOUNT", "h", "none"))
	require.Equal(t, entries, n.index, "these were not")
	n.do("PFADD", "h", "a", "b", "c")
	require.False(t, stale(), "nothing was new")
	n.do("PFADD", "h", "1", "2", "3")
	require.True(t, stale())

	var c Chunk
	c.Stale = true
	addCommand(&c, "PFCOUNT", "h")
	entries = n.index
	n.run(&c)
	require.Equal(t, "(integer) 6", tapeText(t, c.Reply.Bytes()))
	require.Equal(t, entries, n.index, "old answers are not worth an entry")
	require.True(t, stale())
	require.Contains(t, n.do("EVAL_RO", "return redis.call('pfcount','h')", "0"), "Write commands are not allowed from read-only scripts")
	require.Equal(t, "(integer) 6", n.do("EVAL", "return redis.call('pfcount','h')", "0"))
	require.False(t, stale())
	c = Chunk{}
	addCommand(&c, "PFADD", "h", "z")
	addCommand(&c, "PFCOUNT", "h")
	n.run(&c)
	require.False(t, stale(), "beside a write it goes with it")
	n.do("PFADD", "h", "y")
	require.Equal(t, "(integer) 8", n.do("PFCOUNT", "h"))
	n.do("SETRANGE", "h", "16", "\x00\x00\x00\x00\x00")
	require.Equal(t, "(integer) 8", n.do("PFCOUNT", "h"), "the count is in the header")
	n.do("SETRANGE", "h", "15", "\x80")
	require.Contains(t, n.do("PFCOUNT", "h"), "INVALIDOBJ")
	require.True(t, stale(), "an error changes nothing")
}
