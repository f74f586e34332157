package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fillRandom gives a node keys of all types in all encodings, in several
// databases, with a history: collections that grew into trees and shrank again.
func fillRandom(n *testNode, seed uint64, keys int) {
	rng := rand.New(rand.NewPCG(seed, 7))
	for i := range keys {
		db := []int{0, 0, 0, 3, 15}[rng.IntN(5)]
		key := fmt.Sprintf("key:%d:%s", i, randomBytes(rng, 12))
		doIn(n, db, randomCommand(rng, key)...)
		if rng.IntN(3) == 0 {
			doIn(n, db, randomShrink(rng, key)...)
		}
		if rng.IntN(4) == 0 {
			doIn(n, db, "PEXPIRE", key, strconv.Itoa(1+rng.IntN(1<<40)))
		}
	}
	// One of each that is sure to be large, or at an edge.
	doIn(n, 0, "SET", "big", string(randomBytes(rng, 3<<20)))
	doIn(n, 0, "SET", "edge", strings.Repeat("e", bigString))
	doIn(n, 0, "SET", "over", strings.Repeat("o", bigString+1))
	doIn(n, 0, "SET", "", "")
	doIn(n, 0, "RPUSH", "long", "head", string(randomBytes(rng, 2<<20)), "", "tail")
	doIn(n, 0, "ZADD", "inf", "-inf", "a", "inf", "b", "0", "c", "-0", "d", "1e300", "e", "-4.9e-324", "f", "0.1", "g")
	doIn(n, 0, "SADD", "ints", "1", "-32768", "32768")
	doIn(n, 0, "SADD", "wide", "9223372036854775807", "-9223372036854775808")
}

func randomBytes(rng *rand.Rand, limit int) []byte {
	b := make([]byte, rng.IntN(limit+1), limit+8)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i : i+8 : cap(b)][:8], rng.Uint64())
	}
	return b
}

// randomElem is a number of any width, or bytes, mostly short.
func randomElem(rng *rand.Rand) string {
	switch rng.IntN(4) {
	case 0:
		return strconv.FormatInt(int64(rng.Uint64())>>rng.IntN(64), 10)
	case 1:
		return string(randomBytes(rng, 1<<rng.IntN(14)))
	}
	return string(randomBytes(rng, 40))
}

func randomScore(rng *rand.Rand) string {
	if rng.IntN(2) == 0 {
		return strconv.Itoa(rng.IntN(100))
	}
	return strconv.FormatFloat(math.Ldexp(rng.NormFloat64(), rng.IntN(200)-100), 'g', -1, 64)
}

func randomCommand(rng *rand.Rand, key string) []string {
	count := 1 + rng.IntN(10)
	if rng.IntN(4) == 0 {
		count = 1 + rng.IntN(600)
	}
	elem := func() string { return randomElem(rng) }
	small := func() string { return strconv.Itoa(rng.IntN(1000)) + "x" }
	number := func() string { return strconv.FormatInt(int64(rng.Uint64())>>rng.IntN(64), 10) }
	if rng.IntN(2) == 0 {
		elem = small
	}
	var args []string
	switch rng.IntN(6) {
	case 0:
		return []string{"SET", key, elem()}
	case 1:
		args, elem = []string{"SADD", key}, number
	case 2:
		args = []string{"SADD", key}
	case 3:
		args = []string{"RPUSH", key}
	case 4:
		args = []string{"HSET", key}
		count *= 2
	case 5:
		args = []string{"ZADD", key}
		for range count {
			args = append(args, randomScore(rng), elem())
		}
		return args
	}
	for range count {
		args = append(args, elem())
	}
	return args
}

// randomShrink makes the collection under key smaller, whatever its type; it fails
// with WRONGTYPE otherwise.
func randomShrink(rng *rand.Rand, key string) []string {
	n := strconv.Itoa(1 + rng.IntN(200))
	return [][]string{{"SPOP", key, n}, {"LTRIM", key, "0", n}, {"ZREMRANGEBYRANK", key, n, "-1"}}[rng.IntN(3)]
}

func doIn(n *testNode, db int, args ...string) {
	n.t.Helper()
	var c Chunk
	c.AppendSelect(db)
	addCommand(&c, args...)
	n.run(&c)
}

// blocksOf is the RDB of a store, and the keys announced with it.
func blocksOf(t testing.TB, s *Store) (rdb []byte, keys int) {
	c := s.OpenCut()
	defer c.Close()
	require.NoError(t, c.Blocks(func(raw []byte, n int) error {
		require.LessOrEqual(t, len(raw), 2*rdbBlock, "a piece is bounded whatever the values")
		rdb = append(rdb, raw...)
		keys += n
		return nil
	}))
	return rdb, keys
}

// load restores rdb, fed in pieces of the given size, into a new store.
func load(t testing.TB, rdb []byte, piece int) *Store {
	t.Helper()
	s := New(Options{HashSeed: 1})
	l := s.NewLoader()
	d := NewRDBLoader(l)
	defer d.Abort()
	require.NoError(t, feed(d, rdb, piece))
	require.NoError(t, d.Finish())
	require.NoError(t, l.Commit(l.st.Index))
	return s
}

// feed pushes rdb in pieces that are spoilt as soon as they were taken.
func feed(d interface{ Feed([]byte) error }, rdb []byte, piece int) error {
	for len(rdb) > 0 {
		n := min(piece, len(rdb))
		tmp := bytes.Clone(rdb[:n])
		if err := d.Feed(tmp); err != nil {
			return err
		}
		for i := range tmp {
			tmp[i] = 0xee
		}
		rdb = rdb[n:]
	}
	return nil
}

// held lists everything in a store with the way it is held.
func held(t testing.TB, s *Store) []string {
	c := s.OpenCut()
	defer c.Close()
	out := []string{fmt.Sprintf("state %x", c.State())}
	for db := range c.Databases {
		require.NoError(t, c.Each(db, func(key []byte, v Value) error {
			var line strings.Builder
			fmt.Fprintf(&line, "%d %q %v enc=%d at=%d %x", db, key, v.Type, v.Enc, v.ExpireAt, v.Bytes)
			if v.Obj != nil {
				fmt.Fprintf(&line, " str=%x", v.Obj.str)
				for _, tree := range []*tree{v.Obj.t, v.Obj.t2} {
					if tree == nil {
						continue
					}
					fmt.Fprintf(&line, " tree(%d):", tree.len())
					for it := tree.first(); it.valid(); it.next() {
						fmt.Fprintf(&line, " %x=%x", it.key(), it.val())
					}
				}
			}
			out = append(out, line.String())
			return nil
		}))
	}
	return out
}

func TestRDBRoundTrip(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := newTestNode(t)
			fillRandom(n, seed, 250)
			first, keys := blocksOf(t, n.s)
			second := load(t, first, 1<<20)
			require.Equal(t, held(t, n.s), held(t, second))

			index, digest := n.s.Digest()
			index2, digest2 := second.Digest()
			require.Equal(t, index, index2)
			require.Equal(t, digest, digest2)
			total := 0
			for db := range second.Databases() {
				require.Equal(t, n.s.DBSize(db), second.DBSize(db))
				total += second.DBSize(db)
			}
			require.Equal(t, total, keys)

			again, _ := blocksOf(t, second)
			require.True(t, bytes.Equal(first, again), "a snapshot of a restored store is the same snapshot")
			// And it goes on like the original.
			next := second.Stats()
			require.Equal(t, n.s.Stats().Expires, next.Expires)
		})
	}
}

// Every kind of value is really in the test above.
func TestRDBRoundTripCoversAllEncodings(t *testing.T) {
	n := newTestNode(t)
	fillRandom(n, 1, 400)
	seen := map[string]bool{}
	c := n.s.OpenCut()
	defer c.Close()
	for db := range c.Databases {
		require.NoError(t, c.Each(db, func(_ []byte, v Value) error {
			seen[fmt.Sprint(v.Type, v.Enc)] = true
			return nil
		}))
	}
	for _, want := range []string{
		fmt.Sprint(TypeString, EncRaw), fmt.Sprint(TypeString, EncBigString),
		fmt.Sprint(TypeList, EncPacked), fmt.Sprint(TypeList, EncTree),
		fmt.Sprint(TypeSet, EncPacked), fmt.Sprint(TypeSet, EncIntset), fmt.Sprint(TypeSet, EncTree),
		fmt.Sprint(TypeZSet, EncPacked), fmt.Sprint(TypeZSet, EncTree),
		fmt.Sprint(TypeHash, EncPacked), fmt.Sprint(TypeHash, EncTree),
	} {
		require.True(t, seen[want], want)
	}
}

// A snapshot keeps what OBJECT ENCODING says of strings, also where their bytes do not
// tell it: a script may ask, and every node must hear the same.
func TestRDBKeepsTheEncodingOfStrings(t *testing.T) {
	n := newTestNode(t)
	n.do("SET", "edited", "1")
	n.do("APPEND", "edited", "2")
	n.do("SET", "empty", "")
	n.do("APPEND", "empty", "")
	n.do("INCRBYFLOAT", "float", "7")
	for _, size := range []int{0, 1, 44, 45, 63, 64, 255, 256, 16383, 16384, 70000} {
		key := "s" + strconv.Itoa(size)
		n.do("SET", key, strings.Repeat("x", size))
		n.do("COPY", key, "edited"+key)
		n.do("SETBIT", "edited"+key, "0", "0")
	}
	rdb, _ := blocksOf(t, n.s)
	copied := load(t, rdb, 1<<20)
	ask := func(s *Store, key string) string {
		v, ok := s.dbs[0].get([]byte(key))
		require.True(t, ok, key)
		return objectEncoding(v)
	}
	for key, want := range map[string]string{
		"edited": "raw", "empty": "raw", "float": "embstr", "s0": "embstr", "s44": "embstr", "s45": "raw", "s63": "raw",
		"s64": "raw", "s255": "raw", "s256": "raw", "s16383": "raw", "s16384": "raw", "s70000": "raw",
		"editeds1": "raw", "editeds44": "raw", "editeds45": "raw", "editeds255": "raw", "editeds70000": "raw",
	} {
		require.Equal(t, want, ask(n.s, key), key)
		require.Equal(t, want, ask(copied, key), key+" after the snapshot")
	}
	require.Equal(t, held(t, n.s), held(t, copied))
}

// The short way that most strings are decoded on ends where the long one must take over.
func TestRDBStringsOfAllLengths(t *testing.T) {
	n := newTestNode(t)
	for _, key := range []int{1, 62, 63, 64, 65, 300} {
		for _, size := range []int{0, 1, 2, 44, 45, 63, 64, 65, 255, 256, 257, 16383, 16384} {
			name := strings.Repeat("k", key-1) + string(rune('a'+size%26))
			n.do("SET", name, strings.Repeat("v", size))
			n.do("SETEX", name+"x", "1000", strings.Repeat("v", size))
			n.do("SET", name+"n", strconv.Itoa(size*size))
		}
	}
	rdb, _ := blocksOf(t, n.s)
	want := held(t, n.s)
	for _, piece := range []int{1, 5, 66, 1000, 1 << 20} {
		require.Equal(t, want, held(t, load(t, rdb, piece)), "pieces of %d bytes", piece)
	}
}

// A large collection that shrank stays in trees, a packed one stays packed though
// the thresholds are lower now.
func TestRDBKeepsTheEncoding(t *testing.T) {
	n := newTestNode(t)
	for i := range 40 {
		n.do("HSET", "packed", strconv.Itoa(i), "v")
		n.do("ZADD", "z", strconv.Itoa(i), "m"+strconv.Itoa(i))
		n.do("SADD", "s", "m"+strconv.Itoa(i))
		n.do("RPUSH", "l", strings.Repeat("x", 1000))
	}
	n.do("HSET", "tree", "f", strings.Repeat("v", 65))
	n.do("HSET", "tree", "f", "v")
	n.do("SADD", "treeset", strings.Repeat("v", 65), "1")
	n.do("SREM", "treeset", strings.Repeat("v", 65))
	n.do("ZADD", "treez", "1", strings.Repeat("v", 65), "2", "b")
	n.do("ZREM", "treez", strings.Repeat("v", 65))
	n.do("LTRIM", "l", "0", "0")
	var c Chunk
	c.AppendConfigSet([][]byte{[]byte("hash-max-listpack-entries"), []byte("10"), []byte("zset-max-listpack-entries"), []byte("10"),
		[]byte("set-max-listpack-entries"), []byte("10")})
	n.run(&c)
	rdb, _ := blocksOf(t, n.s)
	require.Equal(t, held(t, n.s), held(t, load(t, rdb, 1<<20)))
}

// Keys, lengths, elements and the CRC may be cut anywhere.
func TestRDBBlocksMayBeCutAnywhere(t *testing.T) {
	n := newTestNode(t)
	fillRandom(n, 3, 60)
	n.do("DEL", "big", "long")
	rdb, _ := blocksOf(t, n.s)
	want := held(t, n.s)
	for _, piece := range []int{1, 2, 3, 7, 64, 1000, 4099} {
		require.Equal(t, want, held(t, load(t, rdb, piece)), "pieces of %d bytes", piece)
	}
}

func smallRDB(t testing.TB) []byte {
	n := newTestNode(t)
	n.do("SET", "s", "value")
	n.do("SET", "i", "12345")
	n.do("RPUSH", "l", "a", "1", strings.Repeat("b", 70))
	n.do("HSET", "h", "f", "v")
	n.do("HSET", "ht", "f", strings.Repeat("v", 65))
	n.do("SADD", "si", "1", "2", "70000")
	n.do("SADD", "sp", "x", "2")
	n.do("SADD", "st", strings.Repeat("v", 65))
	n.do("ZADD", "z", "1.5", "a", "2", "b")
	n.do("ZADD", "zt", "1.5", strings.Repeat("v", 65))
	n.do("PEXPIRE", "z", "100000")
	rdb, _ := blocksOf(t, n.s)
	return rdb
}

// decode feeds all of rdb to a loader; nothing is committed.
func decode(rdb []byte, piece int) error {
	d := NewRDBLoader(New(Options{HashSeed: 1}).NewLoader())
	defer d.Abort()
	if err := feed(d, rdb, piece); err != nil {
		return err
	}
	return d.Finish()
}

func TestRDBDamageIsFound(t *testing.T) {
	rdb := smallRDB(t)
	require.NoError(t, decode(rdb, 4096))
	for n := range rdb {
		require.Error(t, decode(rdb[:n], 100), "first %d of %d bytes", n, len(rdb))
		bad := bytes.Clone(rdb)
		for _, mask := range []byte{1, 0x40, 0xff} {
			bad[n] = rdb[n] ^ mask
			require.Error(t, decode(bad, 4096), "byte %d ^ %#x", n, mask)
		}
	}
	require.ErrorIs(t, decode(append(bytes.Clone(rdb), 0), 4096), ErrRDB)
	require.ErrorIs(t, decode(append(bytes.Clone(rdb), 0), len(rdb)), ErrRDB)
}

func TestRDBLoaderCanBeDropped(t *testing.T) {
	rdb := smallRDB(t)
	for n := 0; n < len(rdb); n += 13 {
		d := NewRDBLoader(New(Options{}).NewLoader())
		require.NoError(t, d.Feed(rdb[:n]))
		d.Abort()
		d.Abort()
		require.Error(t, d.Finish())
		require.Error(t, d.Feed([]byte{1}))
	}
}

func TestRDBSourceStopsAtTheSinksError(t *testing.T) {
	n := newTestNode(t)
	fillRandom(n, 1, 50)
	c := n.s.OpenCut()
	defer c.Close()
	full := errors.New("full")
	calls := 0
	require.ErrorIs(t, c.Blocks(func([]byte, int) error { calls++; return full }), full)
	require.Equal(t, 1, calls)
}

// rdbOf frames one key of a foreign file, without a CRC.
func rdbOf(version int, body ...byte) []byte {
	b := fmt.Appendf(nil, "REDIS%04d", version)
	b = append(b, body...)
	return append(b, rdbOpEOF, 0, 0, 0, 0, 0, 0, 0, 0)
}

// imports loads a foreign file into a store that has a state.
func imports(t testing.TB, rdb []byte) (*testNode, error) {
	n := newTestNode(t)
	c := n.s.OpenCut()
	state := c.State()
	c.Close()
	l := n.s.NewLoader()
	require.NoError(t, l.SetState(state))
	d := NewRDBImporter(l)
	defer d.Abort()
	if err := feed(d, rdb, 1000); err != nil {
		return nil, err
	}
	if err := d.Finish(); err != nil {
		return nil, err
	}
	require.NoError(t, l.Commit(n.index))
	return n, nil
}

func TestRDBTypesThatAreNotSupported(t *testing.T) {
	for code, what := range map[byte]string{6: "module", 22: "field expiry", 9: "zipmap", 99: "unknown"} {
		_, err := imports(t, rdbOf(11, code, 3, 'k', 'e', 'y', 0))
		var u *UnsupportedRDBError
		require.ErrorAs(t, err, &u)
		require.Equal(t, code, u.Code)
		require.Equal(t, "key", string(u.Key))
		require.ErrorContains(t, err, what)
	}
	_, err := imports(t, rdbOf(11, rdbOpFunction2, 1, 'x'))
	require.ErrorContains(t, err, "function library")
}

func TestRDBMalformed(t *testing.T) {
	key := func(code byte, value ...byte) []byte { return append([]byte{code, 1, 'k'}, value...) }
	blob := func(b []byte) []byte { return append(appendRDBLen(nil, uint64(len(b))), b...) }
	pack := func(elems ...string) []byte {
		b := beginListpack(nil)
		for _, e := range elems {
			b = appendListpack(b, []byte(e))
		}
		return blob(endListpack(b, 0, len(elems)))
	}
	nan := []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
	for name, body := range map[string][]byte{
		"string beyond the end":       key(rdbString, 0x80, 0x7f, 0xff, 0xff, 0xff),
		"string beyond any memory":    key(rdbString, 0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"list beyond the end":         key(rdbList, 0x80, 0x7f, 0xff, 0xff, 0xff),
		"list beyond any memory":      key(rdbList, 0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"length of unknown kind":      key(rdbString, 0x82),
		"string of unknown kind":      key(rdbString, 0xc4),
		"LZF bomb":                    key(rdbString, 0xc3, 3, 0x80, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"LZF reference before start":  key(rdbString, 0xc3, 2, 3, 0x20, 0x05),
		"LZF too short":               key(rdbString, 0xc3, 2, 3, 0x00, 'a'),
		"odd hash":                    key(rdbHashListpack, pack("f")...),
		"repeated field":              key(rdbHashListpack, pack("f", "1", "f", "2")...),
		"repeated member":             key(rdbSetListpack, pack("m", "m")...),
		"repeated member in elements": key(rdbSet, 2, 1, 'm', 1, 'm'),
		"sorted set out of order":     key(rdbZSetListpack, pack("a", "2", "b", "1")...),
		"score is no number":          key(rdbZSetListpack, pack("a", "x")...),
		"score is NaN":                key(rdbZSet2, append([]byte{1, 1, 'm'}, nan...)...),
		"old score is NaN":            key(rdbZSet, 1, 1, 'm', 253),
		"member twice":                key(rdbZSet, 2, 1, 'm', 254, 1, 'm', 255),
		"listpack of nothing":         key(rdbHashListpack, 0),
		"listpack without end":        key(rdbSetListpack, blob([]byte{7, 0, 0, 0, 0, 0, 0})...),
		"listpack entry too long":     key(rdbSetListpack, blob([]byte{9, 0, 0, 0, 1, 0, 0xbf, 1, 0xff})...),
		"listpack that ends early":    key(rdbSetListpack, blob([]byte{8, 0, 0, 0, 0, 0, 0xff, 0xff})...),
		"ziplist entry too long":      key(rdbListZiplist, blob([]byte{13, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0x3f, 0xff})...),
		"intset of width 3":           key(rdbSetIntset, blob([]byte{3, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3})...),
		"intset out of order":         key(rdbSetIntset, blob([]byte{2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0})...),
		"intset with count beyond":    key(rdbSetIntset, blob([]byte{2, 0, 0, 0, 255, 255, 255, 255, 2, 0, 1, 0})...),
		"node of unknown kind":        key(rdbListQuicklist2, append([]byte{2, 3}, pack("a")...)...),
		"database that is not there":  append([]byte{rdbOpSelectDB, 99}, key(rdbString, 1, 'v')...),
		"expiry of the end":           {rdbOpExpireMs, 0, 0, 0, 0, 0, 0, 0, 0, rdbOpEOF},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := imports(t, rdbOf(11, body...))
			require.Error(t, err)
			var u *UnsupportedRDBError
			require.False(t, errors.As(err, &u))
		})
	}
	for _, head := range []string{"REDIS0000", "REDIS0013", "REDIS00x1", "redis0011", "PK\x03\x04....."} {
		_, err := imports(t, append([]byte(head), rdbOpEOF, 0, 0, 0, 0, 0, 0, 0, 0))
		require.ErrorIs(t, err, ErrRDB, head)
	}
}

// What a snapshot must not be: without its state, or with keys in front of it.
func TestRDBSnapshotNeedsItsState(t *testing.T) {
	require.ErrorContains(t, decode(rdbOf(11), 10), "rkv-state")
	require.ErrorContains(t, decode(rdbOf(11, rdbString, 1, 'k', 1, 'v'), 10), "before the system state")
}

// Layouts of older versions, byte by byte as Redis documents them.
func TestRDBOldLayouts(t *testing.T) {
	zl := func(entries ...byte) []byte {
		b := append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, entries...)
		b = append(b, 0xff)
		b[0] = byte(len(b))
		return append([]byte{byte(len(b))}, b...)
	}
	body := append([]byte{rdbListZiplist, 1, 'l'}, zl(
		0, 2, 'a', 'b', // string
		4, 0xfe, 0xff, // -1 in 8 bit
		3, 0xf1, // 0 at once
		2, 0xfd, // 12 at once
		2, 0xc0, 0x39, 0x30, // 12345
		4, 0xf0, 0xff, 0xff, 0x7f, // 8388607
		5, 0xd0, 0, 0, 0, 0x80, // -2147483648
		6, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80, // the least
		10, 0x40, 3, 'x', 'y', 'z')...)
	body = append(body, rdbHashZiplist, 1, 'h')
	body = append(body, zl(0, 1, 'f', 3, 1, 'v')...)
	body = append(body, rdbZSetZiplist, 1, 'z')
	body = append(body, zl(0, 1, 'm', 3, 3, '1', '.', '5')...)
	body = append(body, rdbListQuicklist, 1, 'q', 2)
	body = append(body, zl(0, 1, 'a')...)
	body = append(body, zl(0, 1, 'b')...)
	body = append(body, rdbZSet, 1, 'o', 3, 1, 'a', 255, 1, 'b', 2, '1', '0', 1, 'c', 254)
	body = append(body, rdbOpExpire, 0, 0x94, 0x35, 0x77, rdbOpFreq, 5, rdbString, 1, 'e', 1, 'v')
	body = append(body, rdbOpIdle, 9, rdbString, 1, 'i', 0xc1, 0x39, 0x30)
	body = append(body, rdbSet, 1, 'n', 0) // empty: left out
	body = append(body, rdbSet, 1, 'p', 2, 1, 'x', 1, 'y')
	n, err := imports(t, rdbOf(7, body...))
	require.NoError(t, err)
	n.do("CONFIG", "SET", "redis-version", "7.4") // it hides no listpack
	for command, want := range map[string]string{
		"LRANGE l 0 -1":            `"ab" "-1" "0" "12" "12345" "8388607" "-2147483648" "-9223372036854775808" "xyz"`,
		"HGETALL h":                `"f" "v"`,
		"ZRANGE z 0 -1 WITHSCORES": `"m" "1.5"`,
		"LRANGE q 0 -1":            `"a" "b"`,
		"ZRANGE o 0 -1 WITHSCORES": `"a" "-inf" "b" "10" "c" "inf"`,
		"PEXPIRETIME e":            `(integer) 2000000000000`,
		"GET i":                    `"12345"`,
		"EXISTS n":                 `(integer) 0`,
		"SCARD p":                  `(integer) 2`,
		"OBJECT ENCODING p":        `"listpack"`,
	} {
		require.Equal(t, want, oneLine(n.do(strings.Fields(command)...)), command)
	}
}

// oneLine drops the numbers of a multi-line reply.
func oneLine(reply string) string {
	lines := strings.Split(reply, "\n")
	for i, l := range lines {
		if at := strings.Index(l, ") "); at >= 0 && !strings.HasPrefix(l, "(") {
			lines[i] = l[at+2:]
		}
	}
	return strings.Join(lines, " ")
}

func TestListpackElements(t *testing.T) {
	var elems [][]byte
	for _, n := range []int64{0, 1, 127, 128, -1, -4096, -4097, 4095, 4096, 32767, -32768, 32768, 1 << 23, -1 << 23, 1<<23 - 1,
		math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MaxInt64, math.MinInt64} {
		elems = append(elems, strconv.AppendInt(nil, n, 10))
	}
	for _, n := range []int{0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16377, 16378, 16379, 16380, 16383, 16384, 2097145, 2097146, 2097147, 2097151} {
		elems = append(elems, bytes.Repeat([]byte("s"), n))
	}
	for _, s := range []string{"007", "-0", "+1", " 1", "1 ", "9223372036854775808", "1.0", "\x00"} {
		elems = append(elems, []byte(s))
	}
	b := beginListpack(nil)
	for _, e := range elems {
		b = appendListpack(b, e)
	}
	b = endListpack(b, 0, len(elems))
	it, _, err := iterListpack(b)
	require.NoError(t, err)
	for i, want := range elems {
		got, ok, err := it.next()
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, bytes.Equal(want, got), "element %d: %.40q", i, got)
	}
	_, ok, err := it.next()
	require.NoError(t, err)
	require.False(t, ok)
}

// What is written many at once is what is written one by one, and reads back.
func TestListpackOfAPackedCollection(t *testing.T) {
	var elems [][]byte
	for _, n := range []int{0, 1, 2, 10, 20, 21, 62, 63, 64, 65, 127, 128, 4095, 4096, 70_000} {
		for _, first := range []string{"", "a", "-", "0", "9", "/", ":", "\x00", "\xff"} {
			elems = append(elems, []byte((first + strings.Repeat("7", n))[:n]), []byte((first + strings.Repeat("x", n))[:n]))
		}
	}
	for _, n := range []int{0, 1, 2, 127, 128, len(elems)} {
		one := beginListpack(nil)
		for _, e := range elems[:n] {
			one = appendListpack(one, e)
		}
		all, count := appendListpackAll(beginListpack(nil), packedOf(nil, elems[:n]...))
		require.Equal(t, n, count)
		require.True(t, bytes.Equal(one, all), "%d elements", n)
		it, _, err := iterListpack(endListpack(all, 0, count))
		require.NoError(t, err)
		for i, want := range elems[:n] {
			got, ok, err := it.next()
			require.NoError(t, err)
			require.True(t, ok)
			require.True(t, bytes.Equal(want, got), "element %d of %d bytes", i, len(want))
		}
		_, ok, err := it.next()
		require.NoError(t, err)
		require.False(t, ok)
	}
	none, count := appendListpackAll(nil, nil)
	require.Empty(t, none)
	require.Zero(t, count)
}

func TestCRC64(t *testing.T) {
	// The check value in Redis's crc64.c.
	require.EqualValues(t, uint64(0xe9c6d914c4b8d9ca), crc64Update(0, []byte("123456789")))
	require.EqualValues(t, uint64(0xe9c6d914c4b8d9ca), crc64Update(crc64Update(0, []byte("1234")), []byte("56789")))
	require.Zero(t, crc64Update(0, nil))
}

func FuzzRDB(f *testing.F) {
	f.Add(smallRDB(f)[9:], uint8(50))
	f.Add([]byte{rdbHash, 1, 'h', 1, 1, 'f', 0xc0, 5, rdbString, 1, 'k', 0xc3, 4, 10, 1, 'a', 'b', 0xe0, 0, 1}, uint8(1))
	f.Add([]byte{rdbListZiplist, 1, 'k', 15, 15, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 2, 'a', 'b', 0xff}, uint8(3))
	f.Add(smallStream(), uint8(7))
	s := New(Options{HashSeed: 1})
	c := s.OpenCut()
	state := c.State()
	c.Close()
	f.Fuzz(func(t *testing.T, body []byte, piece uint8) {
		l := s.NewLoader()
		require.NoError(t, l.SetState(state))
		defer l.heap.unmap() // at once: a fuzzer makes thousands of stores a second
		d := NewRDBImporter(l)
		defer d.Abort()
		if feed(d, rdbOf(11, body...), int(piece)+1) != nil || d.Finish() != nil {
			return
		}
		// What was accepted is held in a form that can be written and read again.
		for db, ks := range l.dbs {
			ks.each(func(key []byte, v Value) bool {
				require.False(t, v.Enc == EncPacked && !validPacked(v.Bytes), "%d %q", db, key)
				w := NewRDBWriter(nil)
				require.NoError(t, w.Key(key, v))
				return true
			})
		}
	})
}
