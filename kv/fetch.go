//go:build amd64 || arm64

package kv

// fetchLines brings the first n of the lines into the processor's cache. It asks for all of them
// with the prefetch instruction, which waits for nothing, so that their ways overlap, and then
// reads a byte of each: a processor drops what it is asked for when too much is on its way, and
// whoever needs such a line later waits for it alone (docs/adr/0038).
//
//go:noescape
func fetchLines(lines *lines, n int)
