package vfs

import (
	"errors"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// zeroRun is what Zero writes at a time, with one block for alignment. Nobody writes to it, so
// that it takes an address but no memory.
var zeroRun [1<<20 + directBlock]byte

// zeroBlocks is the part of zeroRun that begins at a block.
func zeroBlocks() []byte {
	skip := -int(uintptr(unsafe.Pointer(&zeroRun))) & (directBlock - 1)
	return zeroRun[skip : skip+1<<20]
}

// Zero overwrites with direct writes what is a number of blocks, where the file system has
// them. They wait for the disk, and give the processor away before.
func (o *osFile) Zero(from, to int64) error {
	o.forget()
	o.syncs.owes(int(to - from))
	if from%directBlock == 0 && to%directBlock == 0 {
		if fd, ok := o.openDirect(); ok {
			done, err := zeroDirect(fd, from, to)
			if err = errors.Join(err, unix.Close(fd)); err != nil {
				return wrapPath("pwrite", o.Name(), err)
			}
			from = done
		}
	}
	for from < to {
		run := zeroBlocks()
		run = run[:min(int64(len(run)), to-from)]
		if err := o.pwritev([][]byte{run}, from); err != nil {
			return err
		}
		from += int64(len(run))
	}
	return nil
}

// zeroDirect overwrites [from, to) and reports up to where it came: a file system may take no
// direct writes after all (EINVAL).
func zeroDirect(fd int, from, to int64) (done int64, err error) {
	for from < to {
		run := zeroBlocks()
		run = run[:min(int64(len(run)), to-from)]
		n, err := pwrite(fd, run, from)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EINVAL):
			return from, nil
		case err != nil:
			return from, err
		case n == 0:
			return from, io.ErrShortWrite
		}
		from += int64(n)
	}
	return from, nil
}
