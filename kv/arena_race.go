//go:build race

package kv

// Under the race detector the arena lies in the Go heap, where the detector sees
// reads of cuts that collide with the writer; it does not watch mapped memory.

func mapMemory(n int) []byte { return make([]byte, n) }

func adviseHuge([]byte) {}

func unmapMemory(mem []byte) { clear(mem) }

func dropMemory(mem []byte) { clear(mem) }
