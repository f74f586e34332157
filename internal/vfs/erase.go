package vfs

import (
	"errors"
	"time"
)

// EraseStep is a good step for Erase on a real disk.
const EraseStep = 8 << 20

// ErasePause is how long Erase should leave the disk to others after a step that took so
// long.
func ErasePause(took time.Duration) time.Duration { return max(50*time.Millisecond, 4*took) }

// Erase removes a file little by little, for a file system may tell the disk of each
// block that is free again (the mount option discard), and of a gigabyte at once the disk
// tells nobody anything else for a while: everybody's syncs wait. It cuts step bytes off
// the end, has that much and no more told by a sync, calls rest with what that took, and
// so on until nothing is left but the name. If rest fails it stops there and returns the
// error; a nil rest never does. A file that cannot be cut, or that has another name
// besides (an operator's copy by a hard link), is removed at once. Half-erased files must
// be recognised by their name, which is durable before the call: a crash may leave any
// length.
func Erase(fs FS, name string, step int64, rest func(took time.Duration) error) error {
	if rest == nil {
		rest = func(time.Duration) error { return nil }
	}
	var stop error
	uncut := shorten(fs, name, step, func(took time.Duration) error {
		stop = rest(took)
		return stop
	})
	if stop != nil {
		return stop
	}
	started := time.Now()
	if err := fs.Remove(name); err != nil {
		return errors.Join(err, uncut)
	}
	return rest(time.Since(started))
}

// shorten cuts a file until step bytes or less remain.
func shorten(fs FS, name string, step int64, rest func(took time.Duration) error) (err error) {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	size, err := f.Size()
	if err != nil {
		return err
	}
	for size > step && !shared(f) {
		started := time.Now()
		size -= step
		if err := f.Truncate(size); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := rest(time.Since(started)); err != nil {
			return err
		}
	}
	return nil
}

// shared reports whether a file has other names, as far as that can be known: then its
// bytes are somebody else's as well.
func shared(f File) bool {
	l, ok := f.(Links)
	if !ok {
		return false
	}
	n, err := l.Links()
	return err == nil && n > 1
}
