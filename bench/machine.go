package main

import (
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// machine watches the processors themselves: a thread on each, before all others, that
// only sleeps. When it wakes up late its processor stood still, because the host gave it to
// somebody else or the kernel did not let go of it. In a virtual machine that is most of
// the longest pauses anything has.
type machine struct {
	stop   chan struct{}
	procs  int
	done   sync.WaitGroup
	mu     sync.Mutex
	stalls []span
	denied error // it may not run before all others: then it says nothing
}

// span is a time.
type span struct{ from, to time.Time }

func (s span) length() time.Duration { return s.to.Sub(s.from) }

const (
	machineNap = time.Millisecond
	// lateNap is not the clock's own doing.
	lateNap = 2 * time.Millisecond
)

func watchMachine() *machine {
	m := &machine{stop: make(chan struct{})}
	// Each thread keeps a P of Go's while it sleeps: what it waits for is the kernel alone.
	m.procs = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(m.procs + runtime.NumCPU())
	for cpu := range runtime.NumCPU() {
		m.done.Go(func() { m.watch(cpu) })
	}
	return m
}

// watch keeps its thread to itself: it ends with the goroutine.
func (m *machine) watch(cpu int) {
	runtime.LockOSThread()
	if err := beFirst(cpu); err != nil {
		m.mu.Lock()
		m.denied = err
		m.mu.Unlock()
		return
	}
	for {
		select {
		case <-m.stop:
			return
		default:
		}
		from := time.Now()
		nap(machineNap)
		if to := time.Now(); to.Sub(from) > machineNap+lateNap {
			m.mu.Lock()
			m.stalls = append(m.stalls, span{from.Add(machineNap), to})
			m.mu.Unlock()
		}
	}
}

// end stops watching. The times in which a processor stood still come in order, those
// that overlap as one.
func (m *machine) end() (stalls []span) {
	close(m.stop)
	m.done.Wait()
	runtime.GOMAXPROCS(m.procs)
	slices.SortFunc(m.stalls, func(a, b span) int { return a.from.Compare(b.from) })
	for _, s := range m.stalls {
		if n := len(stalls); n > 0 && !s.from.After(stalls[n-1].to) {
			if s.to.After(stalls[n-1].to) {
				stalls[n-1].to = s.to
			}
			continue
		}
		stalls = append(stalls, s)
	}
	return stalls
}

// without is how long a span is without the times in which a processor stood still.
func (s span) without(stalls []span) time.Duration {
	left := s.length()
	for _, x := range stalls {
		from, to := x.from, x.to
		if from.Before(s.from) {
			from = s.from
		}
		if to.After(s.to) {
			to = s.to
		}
		if d := to.Sub(from); d > 0 {
			left -= d
		}
	}
	return left
}

// longestWithout is the longest of spans without the times in which a processor stood still.
func longestWithout(spans, stalls []span) (d time.Duration) {
	for _, s := range spans {
		d = max(d, s.without(stalls))
	}
	return d
}

// beFirst puts the calling thread on one processor, before all threads that are not of
// real time.
func beFirst(cpu int) error {
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

// nap sleeps as precisely as the kernel can: time.Sleep needs another thread's help, and
// afterwards nothing of Go's runtime is waited for.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}
