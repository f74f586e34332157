package resp

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uring performs many sends, or receives, on non-blocking sockets by one system call: an
// io_uring (docs/adr/0036) used as nothing but that. What was added is performed when
// perform is called, and has been when that returns. It belongs to one goroutine.
type uring struct {
	fd       int
	mem      []byte // both queues
	sqeMem   []byte
	sqHead   *uint32
	sqTail   *uint32
	sqMask   uint32
	sqIndex  []uint32
	cqHead   *uint32
	cqTail   *uint32
	cqMask   uint32
	cqes     []ringResult
	sqes     []ringRequest
	results  [ringSize]int32
	requests uint32 // added and not performed
	broken   bool
}

// ringSize bounds the requests of one call: the scheduler is not told of it.
const ringSize = 64

// ringBytes bounds a request for the same reason: what moves more is better off with a
// call of its own.
const ringBytes = 64 << 10

// ringRequest is struct io_uring_sqe, as far as sends and receives use it.
type ringRequest struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off           uint64
	addr          uint64
	length        uint32
	msgFlags      uint32
	userData      uint64
	_             [3]uint64
}

// ringResult is struct io_uring_cqe.
type ringResult struct {
	userData uint64
	res      int32
	_        uint32
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wqFD uint32
	_                                                      [3]uint32
	sq                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// From include/uapi/linux/io_uring.h.
const (
	ringSend, ringReceive = 26, 27
	ringOneMapping        = 1 << 0
	ringGetEvents         = 1 << 0
	ringOffQueues         = 0
	ringOffRequests       = 0x10000000
	ringProbe             = 8 // IORING_REGISTER_PROBE
)

// newURing fails where the kernel has no io_uring, does not know sends and receives
// (before 5.6), or does not let this process have one.
func newURing() (*uring, error) {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &uring{fd: int(fd)}
	unix.CloseOnExec(r.fd)
	if err := r.init(&p); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *uring) init(p *ringParams) error {
	if p.features&ringOneMapping == 0 {
		return fmt.Errorf("io_uring_setup: %w", unix.EOPNOTSUPP)
	}
	if err := r.knows(ringSend, ringReceive); err != nil {
		return err
	}
	const access, kind = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(ringResult{})))
	var err error
	if r.mem, err = unix.Mmap(r.fd, ringOffQueues, int(size), access, kind); err != nil {
		return fmt.Errorf("io_uring queues: %w", err)
	}
	if r.sqeMem, err = unix.Mmap(r.fd, ringOffRequests, int(p.sqEntries)*int(unsafe.Sizeof(ringRequest{})), access, kind); err != nil {
		return fmt.Errorf("io_uring requests: %w", err)
	}
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[off])) }
	r.sqHead, r.sqTail, r.sqMask = word(p.sq.head), word(p.sq.tail), *word(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.sqIndex = unsafe.Slice(word(p.sq.array), p.sqEntries)
	r.cqes = unsafe.Slice((*ringResult)(unsafe.Pointer(&r.mem[p.cq.cqes])), p.cqEntries)
	r.sqes = unsafe.Slice((*ringRequest)(unsafe.Pointer(&r.sqeMem[0])), p.sqEntries)
	return nil
}

// knows asks whether the kernel has these operations.
func (r *uring) knows(ops ...int) error {
	var probe struct {
		last, count uint8
		_           [3]uint16
		_           uint64
		ops         [64]struct {
			op, _ uint8
			flags uint16
			_     uint32
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), ringProbe,
		uintptr(unsafe.Pointer(&probe)), uintptr(len(probe.ops)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_register: %w", errno)
	}
	for _, op := range ops {
		if probe.ops[op].flags&1 == 0 {
			return fmt.Errorf("io_uring operation %d: %w", op, unix.EOPNOTSUPP)
		}
	}
	return nil
}

func (r *uring) close() {
	if r.mem != nil {
		_ = unix.Munmap(r.mem)
	}
	if r.sqeMem != nil {
		_ = unix.Munmap(r.sqeMem)
	}
	_ = unix.Close(r.fd)
}

func (r *uring) full() bool { return r.requests == ringSize }

// send and receive add a request. The result will be that of the same number, from 0. p
// must not be empty, nor on a stack, and is the ring's until perform returns.
func (r *uring) send(fd int, p []byte)    { r.add(ringSend, fd, p) }
func (r *uring) receive(fd int, p []byte) { r.add(ringReceive, fd, p) }

func (r *uring) add(op uint8, fd int, p []byte) {
	at := (*r.sqTail + r.requests) & r.sqMask
	r.sqes[at] = ringRequest{
		opcode: op, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(&p[0]))), length: uint32(len(p)),
		msgFlags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL, userData: uint64(r.requests),
	}
	r.sqIndex[at] = at
	r.requests++
}

// perform does what was added and returns the results, which are the next perform's to
// overwrite: bytes moved, or the negative errno. What the kernel did not begin has
// EAGAIN: the socket will be found ready again.
func (r *uring) perform() []int32 {
	n := r.requests
	results := r.results[:n]
	for i := range results {
		results[i] = -int32(unix.EAGAIN)
	}
	r.requests = 0
	atomic.StoreUint32(r.sqTail, *r.sqTail+n)
	begun, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, 0, 0, 0)
	if errno != 0 {
		begun = 0
		// Memory may be short for a moment, and a signal may come; the rest is for good.
		r.broken = errno != unix.EAGAIN && errno != unix.EBUSY && errno != unix.ENOMEM && errno != unix.EINTR
	}
	atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead)) // what it did not take is not asked again
	r.collect(results, int(begun))
	runtime.KeepAlive(r)
	return results
}

// outcome is a result as a system call of one socket would have had it.
func outcome(res int32) (n int, err error) {
	switch {
	case res >= 0:
		return int(res), nil
	case syscall.Errno(-res) == unix.EINTR:
		return 0, unix.EAGAIN // it will be found ready again
	}
	return 0, syscall.Errno(-res)
}

// collect takes the results of the requests begun. None of them waits for its socket, so
// they are there; but if one were still under way, its memory would be in use: then it is
// waited for, with the scheduler told.
func (r *uring) collect(results []int32, begun int) {
	head := *r.cqHead
	for taken := 0; taken < begun; {
		for tail := atomic.LoadUint32(r.cqTail); head != tail; head++ {
			c := &r.cqes[head&r.cqMask]
			results[c.userData] = c.res
			taken++
		}
		atomic.StoreUint32(r.cqHead, head)
		if taken < begun {
			_, _, _ = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, uintptr(begun-taken), ringGetEvents, 0, 0)
		}
	}
}
