// Package compat runs Redis's own test suite against rkv and compares with what a real
// redis-server passes in the same mode.
//
// The suite is a Tcl program. It is not part of this repository: it comes from a
// checkout named by REDIS_SRC, or from Debian's source package of Redis, and is kept
// in a cache directory. It runs in its external-server mode, one unit (file) after the
// other, each against servers of its own, so that what one unit leaves behind cannot
// spoil another. Tests that start servers themselves skip themselves in that mode.
//
// A baseline is the list of what redis-server passed; see testdata.
package compat
