//go:build race

package resp

// raceEnabled: under the race detector sync.Pool drops things on purpose.
const raceEnabled = true
