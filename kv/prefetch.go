//go:build amd64 || arm64

package kv

import "unsafe"

// prefetch asks the processor for the cache line at p, and does not wait for it as a read
// would: the next ones are asked for meanwhile, further ahead than a processor looks by
// itself. It is a wish and faults on nothing.
//
//go:noescape
func prefetch(p unsafe.Pointer)
