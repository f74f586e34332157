package kv

import (
	"strconv"
	"strings"
	"testing"
)

// BenchmarkWholeValue runs commands that go through a whole value, once an iteration:
// as long as one takes the store does nothing else. Run it with -benchtime=5x. % and ~ are
// as in BenchmarkBigO, half and tenth are such parts of the number of elements.
func BenchmarkWholeValue(b *testing.B) {
	const (
		list   = "RPUSH k element:%"
		set    = "SADD k element:%"
		hash   = "HSET k field:% value"
		zset   = "ZADD k % element:%"
		stream = "XADD k %-1 field element:%"
	)
	for _, c := range []struct{ name, fill, before, command string }{
		{"ZREMRANGEBYRANK half", zset, "COPY k d REPLACE", "ZREMRANGEBYRANK d 0 half"},
		{"ZREMRANGEBYSCORE tenth", zset, "COPY k d REPLACE", "ZREMRANGEBYSCORE d 0 tenth"},
		{"COPY list", list, "", "COPY k d REPLACE"},
		{"COPY set", set, "", "COPY k d REPLACE"},
		{"COPY hash", hash, "", "COPY k d REPLACE"},
		{"COPY zset", zset, "", "COPY k d REPLACE"},
		{"RENAME zset", zset, "", "RENAME k d;RENAME d k"},
		{"SORT", "RPUSH k ~", "", "SORT k"},
		{"SORT ALPHA", list, "", "SORT k ALPHA"},
		{"SORT LIMIT", "RPUSH k ~", "", "SORT k LIMIT 0 10"},
		{"SORT STORE", "RPUSH k ~", "", "SORT k STORE d"},
		{"SORT fractions", "RPUSH k ~.5", "", "SORT k"},
		{"ZUNIONSTORE", zset, "COPY k k2", "ZUNIONSTORE d 2 k k2"},
		{"ZINTERSTORE", zset, "COPY k k2", "ZINTERSTORE d 2 k k2"},
		{"ZDIFFSTORE", zset, "", "ZDIFFSTORE d 2 k none"},
		{"ZRANGESTORE", zset, "", "ZRANGESTORE d k 0 -1"},
		{"ZRANGESTORE half", "ZADD k ~ element:%", "", "ZRANGESTORE d k 0 half BYSCORE"},
		{"DUMP list", list, "", "DUMP k"},
		{"DUMP stream", stream, "", "DUMP k"},
		{"DUMP zset", zset, "", "DUMP k"},
		{"DUMP hash", hash, "", "DUMP k"},
		{"SUNIONSTORE", set, "COPY k k2", "SUNIONSTORE d k k2"},
		{"SINTERSTORE", set, "COPY k k2", "SINTERSTORE d k k2"},
		{"SDIFFSTORE", set, "", "SDIFFSTORE d k none"},
		{"SMEMBERS", set, "", "SMEMBERS k"},
		{"LPOS", list, "", "LPOS k missing"},
		{"LINSERT", list, "", "LINSERT k BEFORE missing x"},
		{"LINSERT half", list, "COPY k d REPLACE", "LINSERT d BEFORE element:half x"},
		{"LREM none", list, "", "LREM k 0 missing"},
		{"LREM all", "RPUSH k a b", "COPY k d REPLACE", "LREM d 0 a"},
		{"XTRIM half", stream, "COPY k d REPLACE", "XTRIM d MAXLEN = half"},
		{"BITOP", "APPEND k 0123456789abcdef", "COPY k k2", "BITOP XOR d k k2"},
	} {
		for _, size := range []int{200_000, 1_000_000} {
			b.Run(c.name+"/n="+strconv.Itoa(size), func(b *testing.B) {
				n := newTestNode(b)
				fillBig(n, c.fill, size)
				b.ResetTimer()
				for range b.N {
					b.StopTimer()
					if c.before != "" {
						n.run(wholeChunk(c.before, size))
					}
					chunk := wholeChunk(c.command, size)
					n.log = n.log[:0]
					b.StartTimer()
					n.run(chunk)
				}
			})
		}
	}
}

func wholeChunk(commands string, size int) *Chunk {
	c := new(Chunk)
	words := strings.NewReplacer("half", strconv.Itoa(size/2), "tenth", strconv.Itoa(size/10))
	for _, command := range strings.Split(commands, ";") {
		addCommand(c, strings.Fields(words.Replace(command))...)
	}
	return c
}
