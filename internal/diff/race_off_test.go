//go:build !race

package diff

var buildFlags []string
