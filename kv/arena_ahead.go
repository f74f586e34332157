package kv

import (
	"sync"

	"github.com/rkvdb/rkv/internal/pages"
)

// memoryAhead makes chunks of huge pages ready while those before are filled: the kernel
// takes as long to clear them, above all in a virtual machine, as a loader to fill a
// good part of them. run is for one goroutine.
type memoryAhead struct {
	ready chan []byte
	hurry bool // for a loader
	// populate gives memory its pages and reports whether it has them.
	populate func([]byte) bool
	begin    sync.Once
	begun    chan struct{}
	end      sync.Once
	ended    chan struct{}
}

// chunksAhead are ready for a loader at most: they, and one more, are made in vain at the
// end of a load. For a store there is the one more.
const chunksAhead = 4

func newMemoryAhead(hurry bool) *memoryAhead {
	m := &memoryAhead{hurry: hurry, populate: pages.PopulateAside, begun: make(chan struct{}), ended: make(chan struct{})}
	if m.ready = make(chan []byte); hurry {
		m.ready = make(chan []byte, chunksAhead)
	}
	return m
}

// take is a chunk that is ready, or else one without memory yet: for a loader of huge
// pages, for a store, whose clients would wait for the first touch of each, of small ones.
func (m *memoryAhead) take() []byte {
	m.begin.Do(func() { close(m.begun) })
	select {
	case mem := <-m.ready:
		return mem
	default:
	}
	mem := mapMemory(chunkBytes)
	if m.hurry {
		adviseHuge(mem)
	}
	return mem
}

// run makes chunks, from the first take on until stop, or for a store until the kernel makes
// no pages ahead.
func (m *memoryAhead) run() {
	select {
	case <-m.begun:
	case <-m.ended:
		return
	}
	for {
		mem := mapMemory(chunkBytes)
		adviseHuge(mem)
		// A kernel that makes no pages ahead would make huge ones at a client's first touch.
		if m.populate(mem) || m.hurry {
			select {
			case m.ready <- mem:
				continue
			case <-m.ended:
			}
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
