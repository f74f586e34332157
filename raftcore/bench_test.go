package raftcore

import "testing"

// BenchmarkReplicate is the core's share of a committed entry on a three-node
// cluster: one proposal, one Ready per step on each node, disks and network free.
//
//	go test ./raftcore -run xxx -bench Replicate -benchmem
func BenchmarkReplicate(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(map[int]string{1: "one", 16: "sixteen"}[batch], func(b *testing.B) {
			c := newBenchCluster(b)
			body := make([]byte, 200)
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					if _, err := c[0].Propose(EntryNormal, body); err != nil {
						b.Fatal(err)
					}
				}
				c.settle()
			}
			if c[1].Commit() != c[0].Commit() {
				b.Fatal("followers lag")
			}
		})
	}
}

type benchCluster []*Core

func newBenchCluster(b *testing.B) benchCluster {
	var c benchCluster
	for id := NodeID(1); id <= 3; id++ {
		core, err := New(Config{ID: id, Incarnation: 1, Seed: uint64(id), WindowBytes: 1 << 20,
			Snapshot: SnapshotMeta{Membership: Membership{Members: voters(1, 2, 3)}}})
		if err != nil {
			b.Fatal(err)
		}
		c = append(c, core)
	}
	for c[0].Role() != Leader {
		c[0].Tick()
		c.settle()
	}
	return c
}

func (c benchCluster) settle() {
	for moved := true; moved; {
		moved = false
		for _, core := range c {
			if !core.HasReady() {
				continue
			}
			moved = true
			ready := core.Ready()
			if ready.Save != nil {
				core.Saved(ready.Save.ID)
			}
			for _, m := range ready.Send {
				c[m.To-1].Step(m)
			}
			for _, m := range ready.SendAfterSave {
				c[m.To-1].Step(m)
			}
			if n := len(ready.Apply); n > 0 {
				core.Applied(ready.Apply[n-1].Index)
			}
		}
	}
}
