package resp

import (
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// adminRows describe commands that are about this server process only: kv's table
// holds what scripts and the log may name, these can be neither. They are plain rows
// with their subcommands' names resolved by their handlers.
var adminRows = []*kv.Command{
	{Name: "asking", Group: "cluster", Since: "3.0.0", Arity: 1, Flags: kv.FlagLocal | kv.FlagFast,
		Summary: "Belongs to Redis Cluster, which this address does not speak."},
	{Name: "bgrewriteaof", Group: "server", Since: "1.0.0", Arity: 1, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript,
		Summary: "Takes a snapshot, which lets the log be shortened."},
	{Name: "bgsave", Group: "server", Since: "1.0.0", Arity: -1, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript,
		Summary: "Takes a snapshot in the background."},
	{Name: "cluster", Group: "cluster", Since: "3.0.0", Arity: -2, Flags: kv.FlagLocal | kv.FlagStale,
		Summary: "Belongs to Redis Cluster, which this address does not speak."},
	{Name: "debug", Group: "server", Since: "1.0.0", Arity: -2, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript | kv.FlagLoading | kv.FlagStale,
		Summary: "For tests; refused unless enable-debug-command says otherwise."},
	{Name: "latency", Group: "server", Since: "2.8.13", Arity: -2, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript | kv.FlagLoading | kv.FlagStale,
		Summary: "Latency monitoring, which is off."},
	{Name: "memory", Group: "server", Since: "4.0.0", Arity: -2, Flags: kv.FlagLocal,
		Summary: "Memory diagnostics."},
	{Name: "module", Group: "server", Since: "4.0.0", Arity: -2, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript,
		Summary: "Lists modules; there are none."},
	{Name: "replicaof", Group: "server", Since: "5.0.0", Arity: 3, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript | kv.FlagStale,
		Summary: "Refused: membership is changed by RAFT."},
	{Name: "save", Group: "server", Since: "1.0.0", Arity: 1, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript | kv.FlagNoMulti,
		Summary: "Takes a snapshot and waits for it."},
	{Name: "shutdown", Group: "server", Since: "1.0.0", Arity: -1, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript | kv.FlagLoading | kv.FlagStale | kv.FlagNoMulti,
		Summary: "Refused: stop the process by SIGTERM."},
	{Name: "slaveof", Group: "server", Since: "1.0.0", Arity: 3, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagNoScript | kv.FlagStale,
		Summary: "Refused: membership is changed by RAFT."},
	{Name: "slowlog", Group: "server", Since: "2.2.12", Arity: -2, Flags: kv.FlagLocal | kv.FlagAdmin | kv.FlagLoading | kv.FlagStale,
		Summary: "The slow log, which is empty."},
}

// lookup finds a command's row by name in any case; nil if there is none.
func lookup(name []byte) *kv.Command {
	if cmd := kv.Lookup(name); cmd != nil {
		return cmd
	}
	for _, row := range adminRows {
		if equalFold(name, row.Name) {
			return row
		}
	}
	return nil
}

// allCommands are the rows of kv and ours.
func allCommands() []*kv.Command {
	list := append([]*kv.Command(nil), kv.All()...)
	for _, row := range adminRows {
		if kv.Lookup([]byte(row.Name)) == nil {
			list = append(list, row)
		}
	}
	return list
}

// subcommands makes the handler of a plain row that has subcommands.
func subcommands(container string, subs map[string]func(s *session, args [][]byte, out *kv.Reply)) handler {
	return handler{run: func(s *session, args [][]byte, out *kv.Reply) {
		run := subs[strings.ToLower(string(cut(args[1], 32)))]
		if run == nil {
			out.Error(unknownSubcommand(container, args[1]))
			return
		}
		run(s, args, out)
	}}
}
