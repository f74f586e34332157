//go:build race

package diff

// buildFlags make the rkv binary of a test under the race detector one, too.
var buildFlags = []string{"-race"}
