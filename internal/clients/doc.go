// Command clients runs other people's client libraries, tools and applications against
// a cluster of three rkv processes, while nodes are killed and restarted.
//
// Each run is one client against one persona of the cluster in one protocol: first the
// checks, what the client's API promises of strings, streams, transactions and so on;
// then the drill, load during which the leader is killed (SIGKILL), comes back, hands
// over (SIGTERM) and comes back. The client says what it saw, line by line (talk.go); the
// judge is the same for all (drill.go). Clients of other languages are programs in
// programs/ that say the same lines on their standard output.
//
// It is a module of its own: the libraries it needs are nobody else's.
package main
