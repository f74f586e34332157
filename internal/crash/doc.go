// Package crash enumerates what power cuts and damage can do to a data directory,
// and judges what the recovery makes of it. It knows no protocol: it works on the
// log, the snapshots and the identity file, over the crashable memory disk.
//
// Power cuts: every operation {append, batch, rotate, truncate, compact, hard state,
// configuration entry, reset, snapshot save, install, retire, identity} is cut at
// each of its file-system calls, and for each cut every subset of the unsynced
// sectors, sizes and directory entries may have survived (all subsets if there are
// at most 10 such pieces, else 256 drawn from the seed). The recovery is cut again
// inside some of them.
//
// Damage: every byte of a log, of its hard state, of a snapshot and of an identity
// flipped; sectors zeroed; records copied and swapped; segments swapped, removed and
// reappearing.
//
// A state is one directory that was recovered and judged. What was acknowledged has
// to be there (else it counts as lost), and damage has to be refused, or be repaired
// by the promise that this node votes for nothing shorter (segmentlog.Suspect);
// data that differs without a word counts as silent. One thing is left out, as
// docs/log-format.md admits: zeroed sectors in the very last batch before any later
// write has promised it, which cannot be told from a torn write.
package crash
