package kv

import (
	"strconv"
	"strings"
	"testing"
)

// BenchmarkBigO runs commands on a value of a thousand elements and on one of a million.
// What Redis documents as O(1) or O(log N) must take about as long on both (docs/performance.md);
// what goes through all elements is measured per element. % is a pseudo-random
// number below the number of elements, @ one so far from the end that 100 follow.
func BenchmarkBigO(b *testing.B) {
	for _, c := range []struct{ name, fill, command string }{
		{"LINDEX", "RPUSH k element:%", "LINDEX k %"},
		{"LRANGE 100", "RPUSH k element:%", "LRANGE k @ +99"},
		{"LSET", "RPUSH k element:%", "LSET k % changed:%"},
		{"LPUSH+RPOP", "RPUSH k element:%", "LPUSH k element:%;RPOP k"},
		{"SISMEMBER", "SADD k element:%", "SISMEMBER k element:%"},
		{"SRANDMEMBER", "SADD k element:%", "SRANDMEMBER k"},
		{"SPOP+SADD", "SADD k element:%", "SPOP k;SADD k element:%"},
		{"SSCAN 100", "SADD k element:%", "SSCAN k 0 COUNT 100"},
		{"HGET", "HSET k field:% value", "HGET k field:%"},
		{"HSET", "HSET k field:% value", "HSET k field:% changed"},
		{"HSCAN 100", "HSET k field:% value", "HSCAN k 0 COUNT 100"},
		{"ZSCORE", "ZADD k % element:%", "ZSCORE k element:%"},
		{"ZRANK", "ZADD k % element:%", "ZRANK k element:%"},
		{"ZRANGE 100", "ZADD k % element:%", "ZRANGE k @ +99"},
		{"ZRANGEBYSCORE 100", "ZADD k % element:%", "ZRANGEBYSCORE k @ +inf LIMIT 0 100"},
		{"ZCOUNT", "ZADD k % element:%", "ZCOUNT k @ +inf"},
		{"ZADD", "ZADD k % element:%", "ZADD k % element:%"},
		{"XRANGE 100", "XADD k %-1 field value", "XRANGE k @ + COUNT 100"},
		{"XADD", "XADD k %-1 field value", "XADD k * field value"},
		{"GETRANGE 100", "APPEND k 0123456789", "GETRANGE k @ +99"},
		{"SETRANGE", "APPEND k 0123456789", "SETRANGE k @ changed"},
		{"SCAN 100", "SET key:% value", "SCAN 0 COUNT 100"},
		{"RANDOMKEY", "SET key:% value", "RANDOMKEY"},
		{"each: SORT", "RPUSH k ~", "SORT k LIMIT 0 10"},
		{"each: LPOS", "RPUSH k element:%", "LPOS k missing"},
		{"each: BITCOUNT", "APPEND k 0123456789", "BITCOUNT k"},
	} {
		for _, size := range []int{1_000, 1_000_000} {
			b.Run(c.name+"/n="+strconv.Itoa(size), func(b *testing.B) {
				n := newTestNode(b)
				fillBig(n, c.fill, size)
				each := strings.HasPrefix(c.name, "each: ")
				batch := 100
				if each {
					batch = 1
				}
				b.ResetTimer()
				for done := 0; done < b.N; done += batch {
					b.StopTimer()
					chunk := bigChunk(strings.Split(c.command, ";"), size, done, batch)
					n.log = n.log[:0]
					b.StartTimer()
					n.run(chunk)
				}
				if each {
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/element")
				}
			})
		}
	}
}

// fillBig runs the command once for each number below size, which takes the place of %.
// ~ are the same numbers in an order without pattern.
func fillBig(n *testNode, command string, size int) {
	args := strings.Fields(command)
	for i := 0; i < size; {
		c := new(Chunk)
		for end := min(i+1000, size); i < end; i++ {
			one := make([]string, len(args))
			for j, a := range args {
				one[j] = strings.ReplaceAll(a, "%", strconv.Itoa(i+1))
				one[j] = strings.ReplaceAll(one[j], "~", strconv.Itoa(i*7919%size))
			}
			addCommand(c, one...)
		}
		n.run(c)
		n.log = n.log[:0]
	}
}

// bigChunk repeats the commands with numbers for % and @; +99 is the number of @ and 99.
func bigChunk(commands []string, size, from, count int) *Chunk {
	c := new(Chunk)
	for i := range count {
		num := int(uint64(from+i) * 0x9e3779b97f4a7c15 >> 20 % uint64(size))
		at := num * (size - 100) / size
		args := strings.Fields(commands[i%len(commands)])
		for j, a := range args {
			if a == "+99" {
				a = strconv.Itoa(at + 99)
			}
			a = strings.ReplaceAll(a, "%", strconv.Itoa(num))
			args[j] = strings.ReplaceAll(a, "@", strconv.Itoa(at))
		}
		addCommand(c, args...)
	}
	return c
}
