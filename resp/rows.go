package resp

import "github.com/rkvdb/rkv/kv"

// lookup finds a command's row by name in any case; nil if there is none.
func lookup(name []byte) *kv.Command { return kv.Lookup(name) }

// allCommands are all rows by name, without subcommands.
func allCommands() []*kv.Command { return kv.All() }
