// Package snapshot keeps a node's snapshots on disk: it writes them from a stream
// of raw RDB bytes, verifies them, hands them out for restore and for streaming to
// other members, takes in those that others stream, and retires old ones.
//
// A snapshot file is a zstd-compressed RDB: `zstd -dc` of it loads in Redis. It is
// cut into independent zstd frames, so it is written, checked and restored in
// parallel and in a few MiB of memory, and ends in a footer that says what every
// frame must be (format.go has the picture).
//
// The package does not know what the bytes mean (package kv does), takes no
// decision when to snapshot (internal/node does), and never touches the log. A
// Store may be used from several goroutines at once. Write, Receive, Verify and
// Restore block on the disk for as long as the snapshot is big; everything else
// returns at once.
//
// What a crash leaves behind: files appear under their final name by rename, after
// they were synced, and the directory is synced before success is reported. So a
// crash leaves the old snapshots and perhaps the new one, complete, or a temporary
// file, which Open removes. A snapshot never replaces a newer one (R30, R32), and
// none is deleted while it is being read or sent.
package snapshot
