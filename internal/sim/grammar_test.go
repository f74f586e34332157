package sim

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rkvdb/rkv/kv"
)

// Every command that touches the replicated state, or reads it, is in the workload.
func TestTheWorkloadHasEveryCommand(t *testing.T) {
	said := map[string]bool{}
	s := speaker{rng: rand.New(rand.NewPCG(1, 1))}
	for range 100_000 {
		cmd, _ := s.say()
		said[cmd.Name] = true
	}
	for _, cmd := range kv.All() {
		for _, x := range append([]*kv.Command{cmd}, cmd.Sub...) {
			switch {
			case x.Run == nil || x.IsLocal():
			case said[x.Name]:
				require.NotContains(t, unsaid, x.Name)
			default:
				require.Contains(t, unsaid, x.Name, "a command of the table that no phrase has")
			}
		}
	}
}

// Every command succeeds now and then: errors alone would compare nothing.
func TestPhrasesSucceed(t *testing.T) {
	s := speaker{rng: rand.New(rand.NewPCG(2, 2))}
	store := kv.New(kv.Options{HashSeed: 1, Databases: 16})
	defer store.Close()
	index := uint64(0)
	apply := func(session uint64, ch *kv.Chunk) {
		index++
		unit := kv.AppendUnit(nil, kv.UnitHeader{Session: session, Seq: index, Low: index, Ops: uint64(ch.NumOps)}, ch.Ops)
		body := kv.BuildEntry(kv.EntryHeader{Stamp: int64(1_700_000_000_000 + index), Seed: index, Level: 1}, unit)
		require.NoError(t, store.Apply([]kv.LogEntry{{Index: index, Kind: kv.EntryNormal, Body: body}}, origin{ch}))
	}
	open := &kv.Chunk{}
	open.AppendOpen(1, 1, 1)
	apply(0, open)
	good, all := map[string]int{}, map[string]int{}
	for range 30_000 {
		cmd, args := s.say()
		ch := &kv.Chunk{}
		appendCommand(ch, dbAny, cmd, args)
		if ch.Logged() {
			apply(1, ch)
		} else {
			store.Read(ch, 0)
		}
		if all[cmd.Name]++; ch.Reply.Len() > 0 && ch.Reply.Bytes()[0] != '-' {
			good[cmd.Name]++
		}
	}
	var never []string
	for name := range all {
		if good[name] == 0 {
			never = append(never, name)
		}
	}
	require.Empty(t, never)
}

// origin is the node that every unit comes from.
type origin struct{ ch *kv.Chunk }

func (o origin) Chunk(uint64, uint64) *kv.Chunk { return o.ch }
func (origin) Blocked(*kv.Chunk, int64)         {}
func (origin) Done(*kv.Chunk)                   {}
