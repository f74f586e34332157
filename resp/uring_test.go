package resp

import (
	"bytes"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func ringOrSkip(t *testing.T) *uring {
	r, err := newURing()
	if err != nil {
		t.Skipf("this kernel or its rules allow no io_uring: %v", err)
	}
	t.Cleanup(r.close)
	return r
}

func socketPairs(t *testing.T, n int) (a, b []int) {
	for range n {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = unix.Close(p[0]), unix.Close(p[1]) })
		a, b = append(a, p[0]), append(b, p[1])
	}
	return a, b
}

// What is added together comes back in that order, whatever becomes of each: bytes, a
// socket that has none or takes none, an end, a peer that is gone.
func TestURingDoesWhatASystemCallForEachWould(t *testing.T) {
	r := ringOrSkip(t)
	a, b := socketPairs(t, ringSize)
	bufs := make([][]byte, ringSize)
	for round := range 50 { // the queues wrap around
		for i := range a {
			r.send(a[i], fmt.Appendf(nil, "%d of %d", i, round))
		}
		require.False(t, r.takes(1, ringBytes))
		for i, res := range r.perform() {
			require.EqualValues(t, len(fmt.Sprintf("%d of %d", i, round)), res)
		}
		for i := range b {
			bufs[i] = make([]byte, 100)
			r.receive(b[i], bufs[i])
		}
		for i, res := range r.perform() {
			require.Equal(t, fmt.Sprintf("%d of %d", i, round), string(bufs[i][:res]))
		}
	}
	require.Empty(t, r.perform(), "nothing was added")

	room := make([]byte, 10)
	for write := 0; write >= 0; { // until it takes no more
		write, _ = unix.Write(a[1], make([]byte, 1<<16))
	}
	require.NoError(t, unix.Close(a[2]))
	require.NoError(t, unix.Shutdown(a[3], unix.SHUT_WR))
	r.receive(b[0], room)
	r.send(a[1], []byte("x"))
	r.send(b[2], []byte("x"))
	r.receive(b[3], room)
	r.receive(-1, room)
	r.send(a[4], []byte("after all that"))
	results := r.perform()
	for i, want := range []syscall.Errno{unix.EAGAIN, unix.EAGAIN, unix.EPIPE, 0, unix.EBADF} {
		n, err := outcome(results[i])
		require.Zero(t, n)
		if want == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, want, "request %d", i)
		}
	}
	n, err := outcome(results[5])
	require.NoError(t, err)
	require.Equal(t, len("after all that"), n)
	require.NoError(t, r.broken)
}

// A ring that the kernel has taken away begins nothing, and says so.
func TestURingThatIsGone(t *testing.T) {
	r := ringOrSkip(t)
	a, _ := socketPairs(t, 1)
	fd := r.fd
	r.fd = -1
	r.send(a[0], []byte("x"))
	results := r.perform()
	r.fd = fd
	require.Equal(t, []int32{notDone}, results)
	require.ErrorIs(t, r.broken, unix.EBADF)
}

// A request that the kernel does not begin, here because its preparation fails, takes those
// behind it along: none of them is done, and what is asked next is.
func TestURingThatStopsInTheMiddle(t *testing.T) {
	r := ringOrSkip(t)
	a, b := socketPairs(t, 4)
	for i := range a {
		r.send(a[i], []byte{byte('a' + i)})
	}
	r.sqes[(*r.sqTail+1)&r.sqMask].flags = 0x80 // no such flag
	results := r.perform()
	require.EqualValues(t, 1, results[0])
	require.Negative(t, results[1])
	require.Equal(t, []int32{notDone, notDone}, results[2:])
	require.NoError(t, r.broken)
	for i := range b {
		r.receive(b[i], make([]byte, 8))
	}
	results = r.perform()
	require.EqualValues(t, 1, results[0])
	for _, res := range results[1:] {
		_, err := outcome(res)
		require.ErrorIs(t, err, unix.EAGAIN, "nothing was sent")
	}
}

// What only a ring says is not taken for the socket's word.
func TestURingsOwnTroubleIsNobodysEnd(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.ENOMEM, unix.ENOBUFS, unix.ECANCELED, unix.EINTR} {
		require.EqualValues(t, notDone, ownResult(-int32(errno)), errno.Error())
	}
	for _, res := range []int32{0, 7, -int32(unix.EAGAIN), -int32(unix.EPIPE), -int32(unix.ECONNRESET)} {
		require.Equal(t, res, ownResult(res))
	}
}

// A call is bounded in bytes, not in requests alone.
func TestURingTakesSoMuch(t *testing.T) {
	r := ringOrSkip(t)
	a, _ := socketPairs(t, 1)
	for range ringBytes / ringRequestBytes {
		require.True(t, r.takes(ringRequestBytes, ringBytes))
		r.send(a[0], make([]byte, ringRequestBytes))
	}
	require.False(t, r.takes(1, ringBytes))
	r.forget()
	require.True(t, r.takes(ringRequestBytes, ringBytes))
}

// A loop whose ring fails goes on without.
func TestLoopWithoutItsURing(t *testing.T) {
	ringOrSkip(t)
	s := startServer(t, nil)
	conns := []*testClient{s.dial(), s.dial(), s.dial()}
	done := make(chan struct{})
	s.loops[0].post(func() { // it belongs to the loop
		r := s.loops[0].ring
		_ = unix.Close(r.fd)
		r.fd = -1
		close(done)
	})
	<-done
	for range 200 { // until several come at once
		for _, c := range conns {
			c.send("PING\r\n")
		}
		for _, c := range conns {
			c.expect("+PONG\r\n")
		}
	}
	require.Contains(t, s.logs.String(), "io_uring failed")
}

// Clients in lockstep, so that the loop finds many sockets ready: small and large
// requests, clients that leave in the middle, with io_uring and without.
func TestManySocketsInOneTurn(t *testing.T) {
	for _, without := range []bool{false, true} {
		t.Run(fmt.Sprintf("without io_uring %v", without), func(t *testing.T) {
			s := startServer(t, func(o *Options) { o.NoIOUring = without })
			if !without && s.loops[0].ring == nil {
				t.Skip("this kernel or its rules allow no io_uring")
			}
			const clients = 100
			conns := make([]*testClient, clients)
			for i := range conns {
				conns[i] = s.dial()
			}
			for round := range 20 {
				var wg sync.WaitGroup
				for i, c := range conns {
					wg.Go(func() {
						size := []int{1, 100, firstBuffer, ringRequestBytes, ringBytes}[(i+round)%5]
						value := bytes.Repeat([]byte{byte('a' + i%26)}, size)
						if _, err := fmt.Fprintf(c.conn, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", size, value); err != nil {
							t.Errorf("client %d: %v", i, err)
						}
						if round == 10 && i%7 == 0 {
							c.conn.Close() // its reply finds nobody
							return
						}
						want := fmt.Sprintf("$%d\r\n%s\r\n", size, value)
						got := make([]byte, len(want))
						c.deadline()
						for n := 0; n < len(got); {
							k, err := c.r.Read(got[n:])
							if err != nil {
								t.Errorf("client %d, round %d, after %d of %d bytes: %v", i, round, n, len(got), err)
								return
							}
							n += k
						}
						if string(got) != want {
							t.Errorf("client %d, round %d: another reply", i, round)
						}
					})
				}
				wg.Wait()
				for i := range conns {
					if round == 10 && i%7 == 0 {
						conns[i] = s.dial()
					}
				}
			}
			require.Equal(t, `"PONG"`, s.dial().do("ECHO", "PONG"))
		})
	}
}
