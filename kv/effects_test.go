package kv

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// fxLog is a listener that keeps a line per effect.
type fxLog struct{ lines []string }

func (l *fxLog) Effects(f *Effects) {
	for _, e := range f.List {
		switch e.Kind {
		case EffectEvent:
			l.lines = append(l.lines, fmt.Sprintf("event %d %s %s", e.DB, e.Event, e.Key))
		case EffectKey:
			l.lines = append(l.lines, fmt.Sprintf("key %d %s", e.DB, e.Key))
		case EffectFlush:
			l.lines = append(l.lines, fmt.Sprintf("flush %d", e.DB))
		case EffectPublish, EffectShardPublish:
			l.lines = append(l.lines, fmt.Sprintf("publish %v %s %s", e.Kind == EffectShardPublish, e.Key, e.Value))
		}
	}
}

func (l *fxLog) take() []string { lines := l.lines; l.lines = nil; return lines }

func listen(n *testNode, kinds EffectKind) *fxLog {
	l := &fxLog{}
	n.s.Listen(l).Want(kinds)
	return l
}

// do runs one chunk of the commands.
func doAll(n *testNode, cmds ...[]string) {
	var c Chunk
	for _, args := range cmds {
		addCommand(&c, args...)
	}
	n.run(&c)
}

func TestEffectsComeInOrderOfTheLog(t *testing.T) {
	n := newTestNode(t)
	doAll(n, []string{"config", "set", "notify-keyspace-events", "KEAn"})
	l := listen(n, EffectEvent|EffectKey|EffectFlush|EffectPublish|EffectShardPublish)
	doAll(n, []string{"set", "a", "1"}, []string{"publish", "ch", "m"}, []string{"lpush", "l", "x"},
		[]string{"lpop", "l"}, []string{"spublish", "sh", "n"}, []string{"flushdb"})
	require.Equal(t, []string{
		"key 0 a", "event 0 new a", "event 0 set a",
		"publish false ch m",
		"key 0 l", "event 0 new l", "event 0 lpush l",
		"key 0 l", "event 0 lpop l", "event 0 del l",
		"publish true sh n",
		"flush 0",
	}, l.take())
}

func TestEffectsOnlyWhatIsWanted(t *testing.T) {
	n := newTestNode(t)
	l := &fxLog{}
	place := n.s.Listen(l)
	doAll(n, []string{"set", "a", "1"})
	require.Empty(t, l.take())
	require.Nil(t, n.s.fx.out, "no list is built for nobody")

	place.Want(EffectEvent)
	doAll(n, []string{"set", "a", "1"})
	require.Empty(t, l.take(), "no class is selected")
	doAll(n, []string{"config", "set", "notify-keyspace-events", "E$"})
	doAll(n, []string{"set", "a", "1"}, []string{"lpush", "l", "x"})
	require.Equal(t, []string{"event 0 set a"}, l.take())

	place.Close()
	doAll(n, []string{"set", "a", "1"})
	require.Empty(t, l.take())
}

// Effects come when the replies are there and the lock is free: a listener may read.
func TestEffectsAreToldOutsideTheLock(t *testing.T) {
	n := newTestNode(t)
	l := &readingListener{s: n.s}
	n.s.Listen(l).Want(EffectKey)
	doAll(n, []string{"set", "a", "1"})
	require.Equal(t, []int{1}, l.sizes)
}

type readingListener struct {
	s     *Store
	sizes []int
}

func (l *readingListener) Effects(*Effects) { l.sizes = append(l.sizes, l.s.DBSize(0)) }

func TestEffectsOfExpiryAndInstall(t *testing.T) {
	n := newTestNode(t)
	doAll(n, []string{"config", "set", "notify-keyspace-events", "Ex"}, []string{"psetex", "a", "10", "1"})
	l := listen(n, EffectEvent|EffectKey|EffectFlush)
	n.tick(20)
	require.Equal(t, []string{"key 0 a", "event 0 expired a"}, l.take())

	copyThrough(t, New(Options{}), n.s)
	require.Equal(t, []string{"flush -1"}, l.take())
}

func TestDeliverIsInOneOrderWithApply(t *testing.T) {
	n := newTestNode(t)
	l := listen(n, EffectPublish)
	doAll(n, []string{"publish", "a", "1"})
	n.s.Deliver([]Publication{{Channel: []byte("a"), Message: []byte("2")}})
	doAll(n, []string{"publish", "a", "3"})
	require.Equal(t, []string{"publish false a 1", "publish false a 2", "publish false a 3"}, l.take())
}

// A transaction's PUBLISH is answered by the origin, a script's by every node alike.
func TestPublishCounts(t *testing.T) {
	n := newTestNode(t)
	n.s.CountReceivers(func(bool, []byte) int { return 7 })
	var c Chunk
	addCommand(&c, "publish", "ch", "m")
	addCommand(&c, "eval", "return redis.call('publish', 'ch', 'm')", "0")
	n.run(&c)
	require.Equal(t, ":7\r\n:0\r\n", string(c.Reply.Bytes()))
}

func TestEffectsNameTheirOrigin(t *testing.T) {
	n := newTestNode(t)
	var got []Waiter
	n.s.Listen(listenerFunc(func(f *Effects) {
		for _, e := range f.List {
			got = append(got, e.Origin)
		}
	})).Want(EffectKey)
	w := &nobody{}
	c := Chunk{Waiter: w}
	addCommand(&c, "set", "a", "1")
	n.run(&c)
	var other Chunk
	addCommand(&other, "set", "a", "2")
	n.apply(AppendUnit(nil, UnitHeader{Session: n.session, Seq: 1000, Ops: uint64(other.NumOps)}, other.Ops))
	require.Equal(t, []Waiter{w, nil}, got)
}

type listenerFunc func(f *Effects)

func (l listenerFunc) Effects(f *Effects) { l(f) }

type nobody struct{ _ int }

func (*nobody) ChunkDone(*Chunk) {}

func TestMissesAreThoseOfReads(t *testing.T) {
	n := newTestNode(t)
	doAll(n, []string{"config", "set", "notify-keyspace-events", "Em"}, []string{"set", "there", "1"})
	var c Chunk
	addCommand(&c, "get", "a")
	addCommand(&c, "get", "there")
	addCommand(&c, "object", "encoding", "b")
	addCommand(&c, "append", "c", "x")
	n.run(&c)
	require.Len(t, c.Misses, 1)
	require.Equal(t, "a", string(c.Misses[0].Key))
}

// Every event that a command can record has a class, or nobody would ever hear it.
func TestNotifyClasses(t *testing.T) {
	for _, name := range []string{"zremrangebyscore", "sinterstore", "zunionstore", "zincr", "xgroup-create"} {
		require.NotZero(t, notifyClass(name), name)
	}
	require.Zero(t, notifyClass(""))
	for text, want := range map[string]string{
		"KEAmn": "AKEm", "nglm": "glnm", "": "", "g$lshzxetdKE": "AKE", "EK$": "$KE",
	} {
		f, ok := parseNotify([]byte(text))
		require.True(t, ok)
		require.Equal(t, want, f.String())
	}
	_, ok := parseNotify([]byte("KQ"))
	require.False(t, ok)
}
