package kv

import (
	"sync"

	"github.com/rkvdb/rkv/internal/pages"
)

// memoryAhead makes chunks of huge pages ready while those before are filled: the kernel
// takes as long to clear them, above all in a virtual machine, as a loader to fill a
// good part of them. run and take are for one goroutine each.
type memoryAhead struct {
	ready chan []byte
	begin sync.Once
	begun chan struct{}
	end   sync.Once
	ended chan struct{}
}

// chunksAhead are ready at most: they, and one more, are made in vain at the end of a load.
const chunksAhead = 4

func newMemoryAhead() *memoryAhead {
	return &memoryAhead{ready: make(chan []byte, chunksAhead), begun: make(chan struct{}), ended: make(chan struct{})}
}

// take is a chunk, one that is ready if there is one.
func (m *memoryAhead) take() []byte {
	m.begin.Do(func() { close(m.begun) })
	select {
	case mem := <-m.ready:
		return mem
	default:
	}
	mem := mapMemory(chunkBytes)
	adviseHuge(mem)
	return mem
}

// run makes chunks, from the first take on until stop.
func (m *memoryAhead) run() {
	select {
	case <-m.begun:
	case <-m.ended:
		return
	}
	for {
		mem := mapMemory(chunkBytes)
		adviseHuge(mem)
		pages.Populate(mem)
		select {
		case m.ready <- mem:
			continue
		case <-m.ended:
		}
		unmapMemory(mem)
		break
	}
	for {
		select {
		case mem := <-m.ready:
			unmapMemory(mem)
		default:
			return
		}
	}
}

func (m *memoryAhead) stop() { m.end.Do(func() { close(m.ended) }) }
