package main

import (
	"context"
	"errors"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/internal/vfs"
	"github.com/rkvdb/rkv/segmentlog"
	"github.com/rkvdb/rkv/snapshot"
)

// Exit codes, for scripts and service managers.
const (
	exitError    = 1
	exitUsage    = 2 // flags, environment or configuration file
	exitDataDir  = 3 // locked, foreign or unreadable data directory
	exitCorrupt  = 4 // damage was found; nothing was changed
	exitNoQuorum = 5 // rkv cluster: no leader, or no answer in time
	exitAgain    = 130
)

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// quorumError is an answer of a cluster that cannot decide.
type quorumError struct{ error }

func exitCode(err error) int {
	var (
		usage  usageError
		quorum quorumError
		log    *segmentlog.CorruptionError
		hard   *segmentlog.HardStateError
		snap   *snapshot.CorruptionError
	)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, vfs.ErrLocked), errors.Is(err, node.ErrForeign), errors.Is(err, node.ErrDataDir):
		return exitDataDir
	case errors.As(err, &log), errors.As(err, &hard), errors.As(err, &snap), errors.Is(err, node.ErrDamaged):
		return exitCorrupt
	case errors.As(err, &quorum), errors.Is(err, context.DeadlineExceeded):
		return exitNoQuorum
	}
	return exitError
}
