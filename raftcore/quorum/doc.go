// Package quorum is the arithmetic of agreement: which index is on a quorum, and
// whether an election is decided, for a single configuration and for the joint
// one in which two majorities must agree (thesis 4.3).
//
// It knows voters only by an opaque identity and keeps no state.
package quorum
