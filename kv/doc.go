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
//
// Where to begin reading: a connection collects commands in a Chunk (chunk.go),
// which becomes a unit of an entry (unit.go). Store.Apply (apply.go) asks the
// session table whether the unit is new (session.go) and runs its operations
// (runner, in read.go), each a Command with a Ctx (ctx.go). Chunks that only read
// go straight to Store.Read. What is replicated beside the keys is one struct
// (state.go); a Cut (digest.go) and a Loader (loader.go) carry everything to a
// snapshot and back.
package kv
