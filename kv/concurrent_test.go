package kv

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Readers, cuts and statistics beside a writer: what each sees is one moment. Two
// keys are always changed together, so any reader that finds them different saw
// half a transaction.
func TestReadersSeeWholeTransactions(t *testing.T) {
	n := newTestNode(t)
	n.exec(nil, "SET a 0", "SET b 0")
	var stop atomic.Bool
	var wg sync.WaitGroup
	reader := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
				f()
			}
		}()
	}
	var fail atomic.Pointer[string]
	for i := 0; i < 2; i++ {
		var c Chunk
		reader(func() {
			c.Reset()
			addCommand(&c, "GET", "a")
			addCommand(&c, "GET", "b")
			n.s.Read(&c, 0)
			b := c.Reply.Bytes()
			if x, y := string(b[:c.Ends[0]]), string(b[c.Ends[0]:]); x != y {
				s := x + y
				fail.Store(&s)
			}
		})
	}
	reader(func() {
		cut := n.s.OpenCut()
		defer cut.Close()
		values := map[string]bool{}
		_ = cut.Each(0, func(_ []byte, v Value) error {
			values[string(v.Bytes)] = true
			return nil
		})
		if len(values) != 1 {
			s := "a cut in the middle of a transaction"
			fail.Store(&s)
		}
	})
	reader(func() {
		n.s.Stats()
		n.s.Watch(0, []byte("a"))
		n.s.NextDue()
		n.s.Maintain()
	})
	for i := 1; i < 1500; i++ {
		n.exec(nil, "SET a "+strconv.Itoa(i), "SET b "+strconv.Itoa(i))
	}
	stop.Store(true)
	wg.Wait()
	if p := fail.Load(); p != nil {
		require.Fail(t, *p)
	}
}
