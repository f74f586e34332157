package resp

import (
	"strings"

	"github.com/rkvdb/rkv/kv"
)

func commandHandlers() map[string]handler {
	return map[string]handler{
		"command":                 {run: commandAll, anywhere: true},
		"command|count":           {run: commandCount, anywhere: true},
		"command|info":            {run: commandInfo, anywhere: true},
		"command|docs":            {run: commandDocs, anywhere: true},
		"command|list":            {run: commandList, anywhere: true},
		"command|getkeys":         {run: commandGetKeys, anywhere: true},
		"command|getkeysandflags": {run: commandGetKeysAndFlags, anywhere: true},
		"command|help":            help("command"),
	}
}

func commandAll(_ *session, _ [][]byte, out *kv.Reply) {
	all := allCommands()
	out.Array(len(all))
	for _, cmd := range all {
		describeCommand(cmd, out)
	}
}

func commandCount(_ *session, _ [][]byte, out *kv.Reply) { out.Int(int64(len(allCommands()))) }

func commandInfo(s *session, args [][]byte, out *kv.Reply) {
	if len(args) == 2 {
		commandAll(s, args, out)
		return
	}
	out.Array(len(args) - 2)
	for _, name := range args[2:] {
		if cmd := findNamed(name); cmd != nil {
			describeCommand(cmd, out)
		} else {
			out.Null()
		}
	}
}

// findNamed finds "get" and "config|get", in any case.
func findNamed(name []byte) *kv.Command {
	return findRow(strings.ToLower(string(cut(name, 64))))
}

// describeCommand appends COMMAND INFO's ten fields. Clients parse them by position
// and type: flags and categories are simple strings.
func describeCommand(cmd *kv.Command, out *kv.Reply) {
	out.Array(10)
	out.BulkString(cmd.Name)
	out.Int(int64(cmd.Arity))
	statuses(out, cmd.Flags.Names())
	out.Int(int64(cmd.FirstKey))
	out.Int(int64(cmd.LastKey))
	out.Int(int64(cmd.KeyStep))
	statuses(out, categories(cmd))
	out.Array(0) // tips
	describeKeys(cmd, out)
	out.Array(len(cmd.Sub))
	for _, sub := range cmd.Sub {
		describeCommand(sub, out)
	}
}

func statuses(out *kv.Reply, list []string) {
	out.Set(len(list))
	for _, s := range list {
		out.Status(s)
	}
}

// groupCategory maps COMMAND's groups to the ACL categories named otherwise.
var groupCategory = map[string]string{
	"sorted-set": "sortedset", "transactions": "transaction", "generic": "keyspace", "cluster": "", "server": "",
}

// categories are the ACL categories that follow from a row.
func categories(cmd *kv.Command) []string {
	var list []string
	add := func(when bool, name string) {
		if when {
			list = append(list, "@"+name)
		}
	}
	group, named := groupCategory[cmd.Group]
	if !named {
		group = cmd.Group
	}
	add(cmd.Flags&kv.FlagWrite != 0, "write")
	add(cmd.Flags&kv.FlagReadonly != 0, "read")
	add(group != "", group)
	add(cmd.Flags&kv.FlagAdmin != 0, "admin")
	add(cmd.Flags&kv.FlagAdmin != 0, "dangerous")
	add(cmd.Flags&kv.FlagBlocking != 0, "blocking")
	add(cmd.Flags&kv.FlagFast != 0, "fast")
	add(cmd.Flags&kv.FlagFast == 0, "slow")
	return list
}

// describeKeys appends the key specifications: one range, as far as the table's
// first, last and step say; none for commands that count their keys (movablekeys).
func describeKeys(cmd *kv.Command, out *kv.Reply) {
	if cmd.FirstKey == 0 {
		out.Array(0)
		return
	}
	last := cmd.LastKey
	if last >= 0 {
		last -= cmd.FirstKey // relative to the first in this notation
	}
	out.Array(1)
	out.Map(3)
	out.BulkString("flags")
	statuses(out, keyFlags(cmd))
	out.BulkString("begin_search")
	out.Map(2)
	out.BulkString("type")
	out.BulkString("index")
	out.BulkString("spec")
	out.Map(1)
	out.BulkString("index")
	out.Int(int64(cmd.FirstKey))
	out.BulkString("find_keys")
	out.Map(2)
	out.BulkString("type")
	out.BulkString("range")
	out.BulkString("spec")
	out.Map(3)
	out.BulkString("lastkey")
	out.Int(int64(last))
	out.BulkString("keystep")
	out.Int(int64(cmd.KeyStep))
	out.BulkString("limit")
	out.Int(0)
}

// keyFlags says how a command uses its keys, as precisely as its row tells.
func keyFlags(cmd *kv.Command) []string {
	if cmd.IsWrite() {
		return []string{"RW", "access", "update"}
	}
	return []string{"RO", "access"}
}

// commandDocs is a map from name to facts. redis-cli asserts on the types: keys and
// texts are bulk strings, maps are maps.
func commandDocs(_ *session, args [][]byte, out *kv.Reply) {
	list := allCommands()
	if len(args) > 2 {
		list = nil
		for _, name := range args[2:] {
			if cmd := findNamed(name); cmd != nil {
				list = append(list, cmd)
			}
		}
	}
	out.Map(len(list))
	for _, cmd := range list {
		out.BulkString(cmd.Name)
		docsOf(cmd, out)
	}
}

func docsOf(cmd *kv.Command, out *kv.Reply) {
	fields := 3
	if len(cmd.Sub) > 0 {
		fields++
	}
	out.Map(fields)
	out.BulkString("summary")
	out.BulkString(cmd.Summary)
	out.BulkString("since")
	out.BulkString(cmd.Since)
	out.BulkString("group")
	out.BulkString(cmd.Group)
	if len(cmd.Sub) == 0 {
		return
	}
	out.BulkString("subcommands")
	out.Map(len(cmd.Sub))
	for _, sub := range cmd.Sub {
		out.BulkString(sub.Name)
		docsOf(sub, out)
	}
}

// commandList is COMMAND LIST [FILTERBY MODULE m|ACLCAT c|PATTERN p].
func commandList(_ *session, args [][]byte, out *kv.Reply) {
	keep := func(*kv.Command) bool { return true }
	switch {
	case len(args) == 2:
	case len(args) == 5 && equalFold(args[2], "filterby"):
		want := strings.ToLower(string(cut(args[4], 128)))
		switch strings.ToLower(string(cut(args[3], 16))) {
		case "module":
			keep = func(*kv.Command) bool { return false }
		case "aclcat":
			keep = func(c *kv.Command) bool { return contains(categories(c), "@"+want) }
		case "pattern":
			keep = func(c *kv.Command) bool { return globMatch(want, c.Name) }
		default:
			out.Error(errSyntax)
			return
		}
	default:
		out.Error(errSyntax)
		return
	}
	var names []string
	for _, cmd := range allCommands() {
		for _, c := range append([]*kv.Command{cmd}, cmd.Sub...) {
			if keep(c) {
				names = append(names, c.Name)
			}
		}
	}
	out.Array(len(names))
	for _, n := range names {
		out.BulkString(n)
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// keysOf finds the keys of the full command in args; msg is the error reply.
func keysOf(args [][]byte) (cmd *kv.Command, full [][]byte, keys []int, msg string) {
	full = args[2:]
	cmd = lookup(full[0])
	if cmd != nil && len(cmd.Sub) > 0 && len(full) > 1 {
		cmd = cmd.Subcommand(full[1])
	}
	if cmd == nil {
		return nil, nil, nil, "ERR Invalid command specified"
	}
	if cmd.FirstKey == 0 && cmd.Keys == nil {
		return nil, nil, nil, "ERR The command has no key arguments"
	}
	if !cmd.ArityOK(len(full)) {
		return nil, nil, nil, "ERR Invalid number of arguments specified for command"
	}
	keys, ok := cmd.KeyPositions(full)
	if !ok || len(keys) == 0 {
		return nil, nil, nil, "ERR Invalid arguments specified for command"
	}
	return cmd, full, keys, ""
}

func commandGetKeys(_ *session, args [][]byte, out *kv.Reply) {
	_, full, keys, msg := keysOf(args)
	if msg != "" {
		out.Error(msg)
		return
	}
	out.Array(len(keys))
	for _, k := range keys {
		out.Bulk(full[k])
	}
}

func commandGetKeysAndFlags(_ *session, args [][]byte, out *kv.Reply) {
	cmd, full, keys, msg := keysOf(args)
	if msg != "" {
		out.Error(msg)
		return
	}
	out.Array(len(keys))
	for _, k := range keys {
		out.Array(2)
		out.Bulk(full[k])
		statuses(out, keyFlags(cmd))
	}
}
