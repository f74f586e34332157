package resp

import (
	"fmt"
	"math"
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
	bytes    int    // theirs
	broken   error  // it is of no use any more
}

// A call takes at most so many requests and bytes to send: the scheduler is not told of it,
// and socket memory that is touched for the first time takes its time (milliseconds for
// 4 MiB). For receives the room counts, of which most is not used.
const (
	ringSize    = 64
	ringBytes   = 256 << 10
	ringReadMax = ringSize * ringRequestBytes
)

// ringRequestBytes bounds a request: what moves more gains nothing from company.
const ringRequestBytes = 16 << 10

// notDone is the result of a request that the kernel did not begin, or could not for a
// reason of the ring's own.
const notDone = math.MinInt32

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

// takes reports whether there is room for n more bytes of most.
func (r *uring) takes(n, most int) bool { return r.requests < ringSize && r.bytes+n <= most }

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
	r.bytes += len(p)
}

// forget drops what was added.
func (r *uring) forget() { r.requests, r.bytes = 0, 0 }

// perform does what was added and returns the results, which are the next perform's to
// overwrite: bytes moved, a negative errno, or notDone.
func (r *uring) perform() []int32 {
	n := r.requests
	r.forget()
	results := r.results[:n]
	for i := range results {
		results[i] = notDone
	}
	atomic.StoreUint32(r.sqTail, *r.sqTail+n)
	begun, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, 0, 0, 0)
	if errno != 0 {
		begun = 0
		// Memory may be short for a moment, and a signal may come; the rest is for good.
		if errno != unix.EAGAIN && errno != unix.EBUSY && errno != unix.ENOMEM && errno != unix.EINTR {
			r.broken = errno
		}
	}
	atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead)) // what it did not take is not asked again
	r.collect(results, int(begun))
	return results
}

// collect takes the results of the requests begun. None of them waits for its socket, so
// they are there; but if one were still under way, its memory would be in use: then it is
// waited for, with the scheduler told.
func (r *uring) collect(results []int32, begun int) {
	head := *r.cqHead
	for taken := 0; taken < begun; {
		for tail := atomic.LoadUint32(r.cqTail); head != tail; head++ {
			c := &r.cqes[head&r.cqMask]
			results[c.userData] = ownResult(c.res)
			taken++
		}
		atomic.StoreUint32(r.cqHead, head)
		if taken == begun {
			return
		}
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, uintptr(begun-taken), ringGetEvents, 0, 0)
		if errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN && errno != unix.EBUSY {
			// The kernel may yet write to buffers of which nobody will ever hear.
			panic(fmt.Sprintf("resp: io_uring has %d requests under way and cannot be waited for: %v", begun-taken, errno))
		}
	}
}

// ownResult tells what a plain call would not have said: then that has to be made.
func ownResult(res int32) int32 {
	switch syscall.Errno(-res) {
	case unix.ENOMEM, unix.ECANCELED, unix.ENOBUFS, unix.EINTR:
		return notDone
	}
	return res
}

// outcome is a result as a system call of one socket would have had it.
func outcome(res int32) (n int, err error) {
	if res >= 0 {
		return int(res), nil
	}
	return 0, syscall.Errno(-res)
}
