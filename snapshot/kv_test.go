package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/raftcore"
	"github.com/rkvdb/rkv/snapshot"
)

// kv.Cut is a Source, without either package knowing the other.
var _ snapshot.Source = (*kv.Cut)(nil)

// machine applies commands to a state machine, one entry each.
type machine struct {
	t     testing.TB
	store *kv.Store
	index uint64
	seq   uint64
	sess  uint64
}

func newMachine(t testing.TB) *machine {
	m := &machine{t: t, store: kv.New(kv.Options{HashSeed: 77})}
	var c kv.Chunk
	c.AppendOpen(1, 1, 1)
	m.apply(kv.AppendUnit(nil, kv.UnitHeader{Ops: uint64(c.NumOps)}, c.Ops))
	m.sess = m.index
	return m
}

func (m *machine) apply(unit []byte) {
	m.index++
	body := kv.BuildEntry(kv.EntryHeader{Stamp: 1_700_000_000_000, Seed: m.index, Level: kv.ApplyLevel}, unit)
	require.NoError(m.t, m.store.Apply([]kv.LogEntry{{Index: m.index, Body: body}}, nil))
}

// do applies commands given as lines, in one entry.
func (m *machine) do(lines ...string) {
	var c kv.Chunk
	for _, line := range lines {
		var args [][]byte
		for _, a := range strings.Fields(line) {
			args = append(args, []byte(a))
		}
		c.AppendOp(kv.Lookup(args[0]), args)
	}
	m.seq++
	m.apply(kv.AppendUnit(nil, kv.UnitHeader{Session: m.sess, Seq: m.seq, Ops: uint64(c.NumOps)}, c.Ops))
}

func (m *machine) fill(keys int) {
	for i := 0; i < keys; {
		var lines []string
		for range 500 {
			n := strconv.Itoa(i)
			lines = append(lines, "SET key:"+n+" "+strings.Repeat("value"+n, 1+i%9))
			if i%50 == 0 {
				lines = append(lines, "HSET hash"+n+" a 1 b 2", "RPUSH biglist e"+n, "ZADD board "+n+" member"+n, "PEXPIRE key:"+n+" 100000"+n)
			}
			i++
		}
		m.do(lines...)
	}
}

// restore is what a node does with a snapshot.
func restore(r *snapshot.Reader) (*kv.Store, error) {
	store := kv.New(kv.Options{})
	loader := store.NewLoader()
	prepare, stop := loader.Hurry()
	go prepare()
	defer stop()
	decoder := kv.NewRDBLoader(loader)
	defer decoder.Abort()
	if err := r.Restore(decoder.Feed); err != nil {
		return nil, err
	}
	if err := decoder.Finish(); err != nil {
		return nil, err
	}
	return store, loader.Commit(r.Meta().Index)
}

// The whole way: cut, write, stream to another member, verify, restore, go on, and
// a snapshot of the restored store. Digests and files are equal at every station.
func TestTheWayOfASnapshot(t *testing.T) {
	leader := newMachine(t)
	leader.fill(20_000)
	index, digest := leader.store.Digest()

	cut := leader.store.OpenCut()
	leader.do("FLUSHALL") // the cut does not move
	defer cut.Close()
	ctx := context.Background()
	first, err := snapshot.Open(vfs.NewMem(), "/a", snapshot.Options{})
	require.NoError(t, err)
	meta := raftcore.SnapshotMeta{Index: cut.Index, Term: 3, Membership: raftcore.Membership{
		Members: []raftcore.Member{{ID: 1, Incarnation: 1, PeerAddr: "localhost:1"}}}}
	require.Equal(t, index, cut.Index)
	info, err := first.Write(ctx, meta, cut)
	require.NoError(t, err)
	require.Greater(t, info.Frames, 1)

	raw, err := first.Open(index)
	require.NoError(t, err)
	var stream bytes.Buffer
	_, err = stream.ReadFrom(raw.StreamFrom(0))
	require.NoError(t, err)
	second, err := snapshot.Open(vfs.NewMem(), "/b", snapshot.Options{})
	require.NoError(t, err)
	received, err := second.Receive(ctx, raw.Offer(), snapshot.Whole(stream.Bytes()))
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	require.Equal(t, info.Hash, received.Hash)

	r, err := second.OpenNewest()
	require.NoError(t, err)
	defer r.Close()
	follower, err := restore(r)
	require.NoError(t, err)
	gotIndex, gotDigest := follower.Digest()
	require.Equal(t, index, gotIndex)
	require.Equal(t, digest, gotDigest)

	third, err := snapshot.Open(vfs.NewMem(), "/c", snapshot.Options{})
	require.NoError(t, err)
	again := follower.OpenCut()
	defer again.Close()
	secondGeneration, err := third.Write(ctx, meta, again)
	require.NoError(t, err)
	require.Equal(t, info.Hash, secondGeneration.Hash, "a snapshot of a restored store is the same file")
}

// A snapshot that was cut off in the middle must not have changed the store.
func TestRestoreOfATruncatedStreamChangesNothing(t *testing.T) {
	m := newMachine(t)
	m.fill(1000)
	var rdb bytes.Buffer
	cut := m.store.OpenCut()
	defer cut.Close()
	require.NoError(t, cut.Blocks(func(raw []byte, _ int) error { rdb.Write(raw); return nil }))
	target := newMachine(t)
	target.do("SET mine 1")
	_, before := target.store.Digest()
	decoder := kv.NewRDBLoader(target.store.NewLoader())
	require.NoError(t, decoder.Feed(rdb.Bytes()[:rdb.Len()-100]))
	require.Error(t, decoder.Finish())
	_, after := target.store.Digest()
	require.Equal(t, before, after)
}

// BenchmarkWrite is a snapshot of keys of 16 bytes with values of 64, in which the table's
// order is not the memory's. Besides the time it reports the CPU time per key, which
// other processes do not change.
func BenchmarkWrite(b *testing.B) {
	m := largeMachine(b, "SET key:%012d %s")
	b.ResetTimer()
	before := cpuTime(b)
	var keys uint64
	for i := range b.N {
		s, err := snapshot.Open(vfs.OS{}, b.TempDir(), snapshot.Options{})
		require.NoError(b, err)
		cut := m.store.OpenCut()
		info, err := s.Write(context.Background(), raftcore.SnapshotMeta{Index: uint64(i + 1)}, cut)
		require.NoError(b, err)
		cut.Close()
		b.SetBytes(info.RawSize)
		keys += info.Keys
	}
	b.ReportMetric(float64(keys)/b.Elapsed().Seconds(), "keys/s")
	b.ReportMetric(float64(cpuTime(b)-before)/float64(keys), "cpu-ns/key")
}

// BenchmarkRestore is the start of a node with such keys.
func BenchmarkRestore(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkRestore(b, "SET key:%012d %s") })
	b.Run("expiring", func(b *testing.B) { benchmarkRestore(b, "SET key:%012d %s PXAT 19%011[1]d") })
}

// largeMachine holds 2 M keys whose values compress to about 48 bytes.
func largeMachine(b *testing.B, command string) *machine {
	const keys, letters = 2_000_000, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	m := newMachine(b)
	dice := rand.New(rand.NewPCG(1, 2))
	var value [64]byte
	for i := 0; i < keys; {
		var lines []string
		for range 1000 {
			for j := range value {
				value[j] = letters[dice.IntN(len(letters))]
			}
			lines = append(lines, fmt.Sprintf(command, i, value[:]))
			i++
		}
		m.do(lines...)
	}
	return m
}

func benchmarkRestore(b *testing.B, command string) {
	m := largeMachine(b, command)
	s, err := snapshot.Open(vfs.OS{}, b.TempDir(), snapshot.Options{})
	require.NoError(b, err)
	cut := m.store.OpenCut()
	info, err := s.Write(context.Background(), raftcore.SnapshotMeta{Index: cut.Index}, cut)
	require.NoError(b, err)
	cut.Close()
	m.store.Close()
	b.SetBytes(info.RawSize)
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		r, err := s.OpenNewest()
		require.NoError(b, err)
		restored, err := restore(r)
		require.NoError(b, err)
		require.NoError(b, r.Close())
		restored.Close()
	}
	n := float64(info.Keys) * float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "keys/s")
	b.ReportMetric(float64(cpuTime(b)-before)/n, "cpu-ns/key")
}

// cpuTime is what this process used so far.
func cpuTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func Example() {
	store, err := snapshot.Open(vfs.NewMem(), "/data/snapshots", snapshot.Options{})
	if err != nil {
		panic(err)
	}
	machine := kv.New(kv.Options{HashSeed: 1})
	cut := machine.OpenCut()
	info, err := store.Write(context.Background(), raftcore.SnapshotMeta{Index: 1, Term: 1}, cut)
	cut.Close()
	fmt.Println(info.Name, err)
	newest, ok := store.Newest()
	fmt.Println(newest.Meta.Index, ok)
	// Output:
	// 00000000000000000001-00000000000000000001.rkvsnap <nil>
	// 1 true
}
