package segmentlog

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The files of a log directory:
//
//	hardstate              term, vote, and what is in force (meta.go)
//	hardstate.tmp          the first of these, being written
//	0000000000000007.seg   segment 7, active or prepared
//	free-0000000000000003  a file being prepared, or released and waiting for it
const (
	metaName   = "hardstate"
	metaTemp   = "hardstate.tmp"
	segSuffix  = ".seg"
	freePrefix = "free-"
)

func segPath(dir string, id uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", id, segSuffix))
}

func freePath(dir string, id uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x", freePrefix, id))
}

// parseName tells a segment's or a free file's number.
func parseName(name string) (id uint64, free, ok bool) {
	hex, isSeg := strings.CutSuffix(name, segSuffix)
	if !isSeg {
		if hex, free = strings.CutPrefix(name, freePrefix); !free {
			return 0, false, false
		}
	}
	if len(hex) != 16 {
		return 0, false, false
	}
	id, err := strconv.ParseUint(hex, 16, 64)
	return id, free, err == nil && id > 0
}
