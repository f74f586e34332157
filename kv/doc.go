// Package kv is rkv's state machine: the keyspace, the Redis data types, the
// command table, and the two ways in, Apply (entries of the log, in order) and
// Read (commands that change nothing).
//
// It reads no clock, does no I/O, rolls no dice and starts no goroutine: time and
// chance arrive in the entry (docs/adr/0004). Two stores that applied the same
// entries hold the same data, byte for byte in their digests.
//
// A Redis type is one file (type_hash.go ...); a command is one row in that file's
// table and one function on Ctx. Replies are values on a tape (Reply); package resp
// renders them.
package kv
