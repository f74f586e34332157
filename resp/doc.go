// Package resp is rkv's front end: it speaks the Redis protocol to clients and hands
// their commands to the node (Backend) in chunks.
//
// A connection's bytes pass the guard (framing and limits, in Redis's words), then
// redcon's parser, one complete command at a time, then the session. The session is
// a step function: bytes in, replies and at most one chunk out (docs/adr/0003). The
// event loop around it (docs/adr/0006) owns sockets and nothing else.
//
//	socket ─ guard ─ redcon.ReadNextCommand ─ session ─┬─ answered at once
//	   ▲                                               ├─ reads:  ReadBarrier, Store.Read
//	   └───────────── one write per turn ── render ────┴─ logged: Propose, ChunkDone
//
// Goroutines: one per loop (sockets, sessions), one per running admin command
// (bounded), nothing per connection. What the node calls back only enqueues to a
// loop and wakes it.
//
// TLS and unix sockets are to be served by redcon's own loop over the same sessions
// (docs/adr/0006); that loop is not here yet, nor is one for other systems than
// Linux. A session needs nothing but its steps performed, as session_test.go does.
//
// The package executes no data command itself: those are rows of kv's table. What it
// implements are the node-local commands (localHandlers).
package resp
