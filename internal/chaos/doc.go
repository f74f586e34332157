// Package chaos runs real rkv processes, breaks them in every way the machine allows,
// and judges what real clients saw. It is for tools and tests only.
//
// A *round* is one cluster of three or five processes of the binary, each with a network
// namespace and a small disk of its own, under faults drawn from a seed. Meanwhile
// clients (go-redis on standalone connections, RESP2 and RESP3, no retries) run seven
// workloads. Then everything is healed, the end state is read through every node, and
// each workload's history is judged.
//
// What is judged, and by whom:
//
//	register  per-key linearizability, by porcupine
//	list      strict serializability of transactions of appends and reads, by a search for cycles
//	bank      a constant total in every read, each transfer at most once
//	counter   acknowledged increments are there once, real time orders their values
//	queue     no element lost, none delivered twice, first in first out
//	ttl       nothing expires early, is read when due, or comes back
//	lock      two holders never overlap, fencing numbers only grow
//
// An operation has one of three outcomes: its reply, a definite error (it must never have
// an effect), or unknown (it may have had one, at any time from its start on). A broken
// connection is unknown and so is -TIMEOUT; a reply lost with its connection is one, too.
// An operation of unknown outcome never counts as evidence that something went well.
//
// The clocks of all nodes and clients are one machine's. Network delay is not among the
// faults: it would need kernel modules that few machines have.
package chaos
