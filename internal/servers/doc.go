// Package servers starts the servers that tools compare: a real redis-server, and a
// cluster of rkv nodes as real processes on loopback. It is for tools and tests only.
//
// Every server gets a directory of its own below one the caller names, ports that
// were free a moment ago, and is killed by Stop, by process, never by name.
package servers
