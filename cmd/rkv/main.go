// Command rkv is a replicated key-value store that speaks the Redis protocol.
//
// One file is one subcommand. All use of the command-line library is in this
// package, so that replacing it is mechanical.
package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

func main() {
	app := &cli.App{
		Name:  "rkv",
		Usage: "a replicated key-value store that speaks the Redis protocol",
		Description: "`rkv demo` starts a three-node cluster on this machine; `rkv server` is one node,\n" +
			"alone or of a cluster. Every node serves every Redis command.",
		Version:              version(),
		HideVersion:          true,
		EnableBashCompletion: true,
		Suggest:              true,
		Commands: []*cli.Command{
			serverCommand(), demoCommand(), clusterCommand(), logCommand(),
			snapshotCommand(), backupCommand(), restoreCommand(), recoverCommand(), versionCommand(),
		},
		CommandNotFound: func(c *cli.Context, name string) {
			fmt.Fprintf(os.Stderr, "rkv: no command %q; see rkv help\n", name)
			os.Exit(exitUsage)
		},
		OnUsageError:   func(c *cli.Context, err error, sub bool) error { return usageError{err} },
		ExitErrHandler: func(*cli.Context, error) {},
	}
	for _, c := range app.Commands {
		c.OnUsageError = app.OnUsageError
		for _, s := range c.Subcommands {
			s.OnUsageError = app.OnUsageError
		}
	}
	if err := app.Run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "rkv: %v\n", err)
		os.Exit(exitCode(err))
	}
}
