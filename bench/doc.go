// Command bench compares rkv with a durable Redis on the same machine, in the same
// run, with the same client: redis-benchmark, or itself where that cannot do it. It
// starts and stops its own servers on 127.0.0.1, in fresh directories, and checks that
// each of them really syncs.
//
// Absolute figures say little on a shared machine; read the ratios. Servers take
// turns A-B-B-A, and every figure is a median.
package main
