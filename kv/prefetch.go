//go:build amd64 || arm64

package kv

// prefetch asks the processor for the first n of the lines, and does not wait for them as
// reads would: the next ones are asked for meanwhile, further ahead than a processor looks by
// itself. It is a wish and faults on nothing.
//
// The lines come to the second cache. The first one is too small for all that is looked ahead at,
// and a processor that is asked to bring more lines there than it has room to wait for drops some
// (docs/adr/0038).
//
//go:noescape
func prefetch(lines *lines, n int)
