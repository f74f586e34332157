package resp

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll set, level-triggered for sockets, whose descriptor is parked in Go's
// netpoller: a waiting loop holds no processor that the log's fdatasync or the
// applier could use (docs/adr/0006). It also holds an eventfd, by which other
// goroutines wake the loop, and a timerfd for its ticks.
type poller struct {
	epfd   int
	file   *os.File // owns epfd
	raw    syscall.RawConn
	park   bool // false: Go's netpoller refused the descriptor, wait in epoll itself
	wakefd int
	timer  int
	alarm  int // a timerfd that goes off once
	events []unix.EpollEvent
}

// Interest of a socket. Errors and hang-ups are always reported.
const (
	wantRead  = unix.EPOLLIN | unix.EPOLLRDHUP
	wantWrite = unix.EPOLLOUT
)

func newPoller(tick time.Duration) (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	p := &poller{epfd: epfd, wakefd: -1, timer: -1, alarm: -1, events: make([]unix.EpollEvent, 1024)}
	if err := p.init(tick); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) init(tick time.Duration) error {
	var err error
	if p.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	every := unix.NsecToTimespec(tick.Nanoseconds())
	if err := unix.TimerfdSettime(p.timer, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	if p.alarm, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	for _, fd := range []int{p.wakefd, p.timer, p.alarm} {
		// Edge-triggered: reported once for each wake and each time a timer goes off, so
		// that only the tick has to be read, which else would be its last.
		if err := p.add(fd, unix.EPOLLIN|unix.EPOLLET); err != nil {
			return err
		}
	}
	// os.NewFile registers a non-blocking descriptor with the netpoller.
	if err := unix.SetNonblock(p.epfd, true); err != nil {
		return fmt.Errorf("set epoll descriptor non-blocking: %w", err)
	}
	p.file = os.NewFile(uintptr(p.epfd), "epoll")
	p.park = p.file.SetReadDeadline(time.Time{}) == nil
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return fmt.Errorf("epoll descriptor: %w", err)
	}
	return nil
}

func (p *poller) close() {
	if p.wakefd >= 0 {
		_ = unix.Close(p.wakefd)
	}
	if p.timer >= 0 {
		_ = unix.Close(p.timer)
	}
	if p.alarm >= 0 {
		_ = unix.Close(p.alarm)
	}
	if p.file != nil {
		_ = p.file.Close()
		return
	}
	_ = unix.Close(p.epfd)
}

func (p *poller) add(fd int, interest uint32) error {
	err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: interest, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll_ctl add: %w", err)
	}
	return nil
}

func (p *poller) modify(fd int, interest uint32) error {
	return unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: interest, Fd: int32(fd)})
}

func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

// wait returns what is ready. With park it waits until something is.
func (p *poller) wait(park bool) []unix.EpollEvent {
	if !park {
		return p.events[:p.poll(0)]
	}
	if !p.park {
		return p.events[:p.blockingWait()]
	}
	n := 0
	// The poll must happen inside the callback: Read clears the readiness it finds,
	// so a poll before it alone would lose wake-ups.
	err := p.raw.Read(func(uintptr) bool {
		n = p.poll(0)
		return n > 0
	})
	if err != nil {
		return p.events[:p.blockingWait()]
	}
	return p.events[:n]
}

// poll is epoll_pwait without telling the scheduler, which is right with timeout 0.
func (p *poller) poll(timeout int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(timeout), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (p *poller) blockingWait() int {
	n, err := unix.EpollWait(p.epfd, p.events, -1)
	if err != nil {
		return 0
	}
	return n
}

// wake makes a parked wait return. Any goroutine may call it.
func (p *poller) wake() {
	one := [8]byte{1}
	_, _ = rawWrite(p.wakefd, one[:])
}

// setAlarm makes the alarm go off once, instead of when it was set to before. A timerfd is
// as exact as the clock, whatever the process's timer slack.
func (p *poller) setAlarm(after time.Duration) {
	at := unix.NsecToTimespec(after.Nanoseconds())
	_ = unix.TimerfdSettime(p.alarm, 0, &unix.ItimerSpec{Value: at}, nil)
}

// drainFD empties the tick's timerfd.
func drainFD(fd int) {
	var buf [8]byte
	_, _ = rawRead(fd, buf[:])
}

// rawRead and rawWrite are for non-blocking descriptors only: the scheduler is not
// told, which saves a hand-over per call.
func rawRead(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

func rawWrite(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
