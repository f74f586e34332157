package vfs

import "errors"

var (
	// ErrLocked means another process (or another holder in this one) has the lock.
	ErrLocked = errors.New("vfs: lock file is held by somebody else")
	// ErrCrashed is returned by handles that were open when a Mem was crashed.
	ErrCrashed = errors.New("vfs: the machine crashed under this handle")
	// ErrClosed is returned by handles that were closed.
	ErrClosed = errors.New("vfs: file is closed")
)
