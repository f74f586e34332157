// Package mutants holds the known bugs of Raft implementations (RELIABILITY 2,
// R1-R40) as small changes to this one, and applies them without touching the
// tree: a patched copy of each file goes to a temporary directory and to the
// compiler by -overlay. If the tests and the simulator do not notice such a bug,
// they would not notice ours.
//
// A specification in specs/ that no longer fits the code it changes is an error
// (ErrStale): it must be brought up to date with the code, or it proves nothing.
package mutants
