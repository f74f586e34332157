// Package node drives one member of the cluster: it sequences the Raft core, the
// segmented log, the peers, the state machine and the snapshots, and is what the
// front end talks to.
//
// It decides nothing about agreement (package raftcore does) and nothing about
// Redis (package kv does). Its own decisions are the ones between them: which unit
// goes into which entry, when a unit is sent again, when a client is told that the
// outcome is unknown (docs/adr/0002, 0007), when a snapshot is taken.
//
// Everything that decides is a step function: loop.turn takes a drained inbox and
// the time, and causes effects through a narrow interface. The goroutines around
// the step functions are listed in docs/ARCHITECTURE.md; they only wait, drain,
// step and enqueue (docs/adr/0003).
package node
