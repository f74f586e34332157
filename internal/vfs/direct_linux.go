package vfs

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// direct is how Writev passes the page cache by where that is expected to be brief
// (docs/adr/0035): the kernel makes no page dirty and looks for none to write when the sync
// comes, which then only has to empty the disk's own cache. The disk takes whole blocks, in
// memory that begins at one, so the last block's bytes are kept here and written again with
// what follows them.
type direct struct {
	fd   int
	last []byte // of one block: what of it is written
	end  int64  // of the file so far; last ends there
}

// directBlock is a multiple of every disk's and file system's unit that Direct accepts.
const directBlock = 4096

// blocks are buffers for direct writes: as much as is written briefly, with what makes it
// whole blocks at either end, and one block for alignment.
var blocks = sync.Pool{New: func() any {
	const size = briefSyncBytes + 2*directBlock
	b := make([]byte, size+directBlock)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (directBlock - 1)
	b = b[skip : skip+size]
	return &b
}}

// Direct opens the file once more, for direct writes. Where the file system has none, or
// wants larger blocks, or the file is no number of blocks, Writev goes on as before.
func (o *osFile) Direct() {
	size, err := o.Size()
	if o.direct != nil || err != nil || size%directBlock != 0 || !directAligned(o.fd) {
		return
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(o.fd), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	o.direct = &direct{fd: fd, last: make([]byte, 0, directBlock), end: -1}
}

// directAligned reports whether the file system says that blocks of ours are fine. One that
// says nothing (before Linux 6.1) is tried.
func directAligned(fd int) bool {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return true
	}
	fits := func(n uint32) bool { return n > 0 && n <= directBlock && directBlock%n == 0 }
	return fits(st.Dio_mem_align) && fits(st.Dio_offset_align)
}

// writeBlocks is Writev in whole blocks, directly where that is brief. Through the page cache
// it is in whole blocks, too: the kernel would have to read a block first that it does not
// know and is given a part of.
func (o *osFile) writeBlocks(bufs [][]byte, off int64) error {
	d, total := o.direct, 0
	for _, b := range bufs {
		total += len(b)
	}
	if total == 0 {
		return nil
	}
	head, err := o.lastBlock(off)
	if err != nil {
		return err
	}
	from, used := off-int64(len(head)), len(head)+total
	rest := -used & (directBlock - 1)
	d.end = -1 // unknown, should the write fail
	all := append(append([][]byte{head}, bufs...), zeroBlock[:rest])
	if o.syncs.foresee(total) {
		n, err := o.writeDirect(all, from)
		if err != nil {
			return err
		}
		all, from = dropBytes(all, n), from+int64(n)
	}
	if err := o.pwritev(all, from); err != nil {
		return err
	}
	if o.direct != nil {
		d.keepLast(head, bufs, used&(directBlock-1))
		d.end = off + int64(total)
	}
	o.syncs.owes(total)
	return nil
}

var zeroBlock [directBlock]byte

// keepLast keeps the last n bytes of head and bufs.
func (d *direct) keepLast(head []byte, bufs [][]byte, n int) {
	var last [directBlock]byte
	at := n
	for i := len(bufs) - 1; i >= 0 && at > 0; i-- {
		b := bufs[i]
		at -= copy(last[max(0, at-len(b)):at], b[max(0, len(b)-at):])
	}
	copy(last[:at], head[len(head)-at:])
	d.last = append(d.last[:0], last[:n]...)
}

// lastBlock is what the file has of off's block before off.
func (o *osFile) lastBlock(off int64) ([]byte, error) {
	d, n := o.direct, int(off%directBlock)
	if d.end == off {
		return d.last, nil
	}
	b := d.last[:n]
	if n == 0 {
		return b, nil
	}
	d.end = -1 // last's memory is used for another block
	if _, err := o.f.ReadAt(b, off-int64(n)); err != nil {
		return nil, err
	}
	return b, nil
}

// writeDirect writes bufs, which are whole blocks and at most a block more than is brief. It
// reports how much: all, or less where the rest must go through the page cache.
func (o *osFile) writeDirect(bufs [][]byte, off int64) (int, error) {
	buf := blocks.Get().(*[]byte)
	defer blocks.Put(buf)
	b := (*buf)[:0]
	for _, p := range bufs {
		b = append(b, p...)
	}
	return o.pwriteDirect(b, off)
}

// pwriteDirect is pwrite(2), repeated where a signal interrupted it. A file system that
// takes no direct writes after all (EINVAL) writes nothing.
func (o *osFile) pwriteDirect(b []byte, off int64) (n int, err error) {
	began := time.Now()
	err = retryEINTR(func() error {
		n, err = unix.Pwrite(o.direct.fd, b, off)
		return err
	})
	o.syncs.spent(time.Since(began))
	switch {
	case errors.Is(err, unix.EINVAL):
		return 0, o.endDirect()
	case err != nil:
		return 0, wrapPath("pwrite", o.Name(), err)
	case n == 0:
		return 0, wrapPath("pwrite", o.Name(), io.ErrShortWrite)
	}
	return n, nil
}

// endDirect has Writev go through the page cache from now on.
func (o *osFile) endDirect() error {
	if o.direct == nil {
		return nil
	}
	fd := o.direct.fd
	o.direct = nil
	return wrapPath("close", o.Name(), unix.Close(fd))
}
