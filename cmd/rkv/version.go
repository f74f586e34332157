package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// release is set by the linker for releases.
var release = "0.1.0-dev"

func version() string { return release }

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print version, commit and Go version",
		Action: func(c *cli.Context) error {
			fmt.Fprintf(c.App.Writer, "rkv %s (commit %s, %s, %s/%s)\n", release, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

// commit is what the Go tool recorded, "unknown" outside a checkout.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	return rev + dirty
}
