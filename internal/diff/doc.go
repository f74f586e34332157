// Package diff compares rkv with a real redis-server by random commands: the same
// sequences go to both, pipelined, and every reply has to be the same bytes.
//
// The commands are made from the oracle's own grammar (COMMAND DOCS), with boundary
// numbers, wrong types and, now and then, broken syntax. Replies whose order means
// nothing are compared as multisets; what depends on a clock or on chance is left out
// or compared by shape (compare.go). Differences that are on purpose are listed with
// their reasons (explained.go). A sequence that shows another one is shrunk.
package diff
