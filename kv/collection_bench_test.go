package kv

import (
	"strconv"
	"strings"
	"testing"
)

// BenchmarkCollections applies chunks of 1,000 commands, as redis-benchmark sends
// them with its default tests.
func BenchmarkCollections(b *testing.B) {
	for _, c := range []struct{ name, prepare, command string }{
		{"LPUSH", "", "LPUSH mylist xxx"},
		{"RPUSH", "", "RPUSH mylist xxx"},
		{"LPUSH+RPOP", "", "LPUSH mylist xxx;RPOP mylist"},
		{"SADD", "", "SADD myset element:%"},
		{"SADD one", "", "SADD myset element:1"},
		{"SADD+SPOP", "", "SADD myset element:%;SPOP myset"},
		{"HSET", "", "HSET myhash element:% xxx"},
		{"HSET one", "", "HSET myhash element:1 xxx"},
		{"HSET 100", "", "HSET myhash element:@ xxx"},
		{"ZADD", "", "ZADD myzset @ element:%"},
		{"ZADD one", "", "ZADD myzset 0 element:1"},
		{"ZADD+ZPOPMIN", "", "ZADD myzset @ element:%;ZPOPMIN myzset"},
		{"LRANGE_100", "RPUSH mylist xxx", "LRANGE mylist 0 99"},
		{"HGET", "HSET myhash element:@ xxx", "HGET myhash element:1"},
		{"ZRANGE", "ZADD z @ element:%", "ZRANGE z 100 199 WITHSCORES"},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := newTestNode(b)
			commands := strings.Split(c.command, ";")
			if c.prepare != "" {
				n.run(benchChunk([]string{c.prepare}, 0, 1000))
			}
			const batch = 1000
			b.ReportAllocs()
			for done := 0; done < b.N; done += batch {
				b.StopTimer()
				chunk := benchChunk(commands, done, batch)
				n.log = n.log[:0]
				b.StartTimer()
				n.run(chunk)
			}
		})
	}
}

// benchChunk repeats the commands; % is a pseudo-random number below a million, @
// one below 100.
func benchChunk(commands []string, from, count int) *Chunk {
	c := new(Chunk)
	for i := range count {
		num := uint64(from+i) * 0x9e3779b97f4a7c15 >> 20
		args := strings.Fields(commands[i%len(commands)])
		for j, a := range args {
			a = strings.ReplaceAll(a, "%", strconv.FormatUint(num%1e6, 10))
			args[j] = strings.ReplaceAll(a, "@", strconv.FormatUint(num%100, 10))
		}
		addCommand(c, args...)
	}
	return c
}
