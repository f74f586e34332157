package raftcore_test

import (
	"fmt"

	"github.com/rkvdb/rkv/raftcore"
)

// A driver in its simplest form: one node, a disk that is never slow, and a state
// machine that prints.
func Example() {
	core, err := raftcore.New(raftcore.Config{
		ID: 1, Incarnation: 1, Seed: 42,
		Snapshot: raftcore.SnapshotMeta{Membership: raftcore.Membership{
			Members: []raftcore.Member{{ID: 1, Incarnation: 1}},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	send := func([]raftcore.Message) {} // to the transport
	write := func(*raftcore.Save) {}    // to the log: returns when durable

	work := func() {
		for core.HasReady() {
			ready := core.Ready()
			send(ready.Send)
			if ready.Save != nil {
				write(ready.Save)
				core.Saved(ready.Save.ID)
			}
			send(ready.SendAfterSave)
			for _, entry := range ready.Apply {
				if entry.Type == raftcore.EntryNormal {
					fmt.Printf("apply %d: %s\n", entry.Index, entry.Body)
				}
				core.Applied(entry.Index)
			}
			for _, read := range ready.Reads {
				fmt.Printf("read %d may be served after entry %d\n", read.ID, read.Index)
			}
		}
	}

	for core.Role() != raftcore.Leader { // the driver ticks by its clock
		core.Tick()
		work()
	}
	_, err = core.Propose(raftcore.EntryNormal, []byte("SET a 1"))
	work()
	core.ReadIndex(1)
	work()
	fmt.Println(core.Status().Commit, err)
	// Output:
	// apply 2: SET a 1
	// read 1 may be served after entry 2
	// 2 <nil>
}
