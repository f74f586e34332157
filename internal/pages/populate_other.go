//go:build !linux

package pages

func populate([]byte, bool) bool { return false }
