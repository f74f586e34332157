// Package segmentlog keeps the Raft log and the hard state (term, vote) of one
// group on disk, in fixed-size, pre-written, recycled segment files.
//
// Its job is to make entries durable with one write and one fdatasync per batch,
// and to say exactly, after any crash or damage, what is still there. It refuses
// to guess: a record that may have been acknowledged is never dropped in silence.
// It makes no protocol decision; it does not know leaders, commits or snapshots.
//
// One goroutine calls Save, Compact and Reset (internal/node's log syncer).
// Entries, FirstIndex, LastIndex, Bytes, Stats and Err may be called beside it
// from any goroutine. The byte formats are in format.go (records, segment
// headers) and meta.go (hard state); docs/log-format.md draws them and lists
// what a power cut after each step leaves behind.
package segmentlog
