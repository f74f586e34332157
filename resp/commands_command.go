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
	out.Array(len(cmd.Tips()))
	for _, t := range cmd.Tips() {
		out.BulkString(t)
	}
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

// categories are the names of a command's ACL categories.
func categories(cmd *kv.Command) []string {
	names := cmd.Categories().Names()
	for i := range names {
		names[i] = "@" + names[i]
	}
	return names
}

// describeKeys appends the key specifications.
func describeKeys(cmd *kv.Command, out *kv.Reply) {
	specs := cmd.KeySpecs()
	out.Array(len(specs))
	for i := range specs {
		describeSpec(&specs[i], out)
	}
}

func describeSpec(k *kv.KeySpec, out *kv.Reply) {
	section := func(name, kind string, fields int) {
		out.BulkString(name)
		out.Map(2)
		out.BulkString("type")
		out.BulkString(kind)
		out.BulkString("spec")
		out.Map(fields)
	}
	num := func(name string, n int) { out.BulkString(name); out.Int(int64(n)) }
	out.Map(3)
	out.BulkString("flags")
	statuses(out, k.Flags.Names())
	switch {
	case k.UnknownBegin:
		section("begin_search", "unknown", 0)
	case k.Keyword != "":
		section("begin_search", "keyword", 2)
		out.BulkString("keyword")
		out.BulkString(k.Keyword)
		num("startfrom", k.StartFrom)
	default:
		section("begin_search", "index", 1)
		num("index", k.Index)
	}
	switch {
	case k.UnknownKeys:
		section("find_keys", "unknown", 0)
	case k.KeyNum:
		section("find_keys", "keynum", 3)
		num("keynumidx", k.NumAt)
		num("firstkey", k.First)
		num("keystep", k.Step)
	default:
		section("find_keys", "range", 3)
		num("lastkey", k.Last)
		num("keystep", k.Step)
		num("limit", k.Limit)
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
			keep = func(c *kv.Command) bool { return kv.MatchGlob([]byte(want), []byte(c.Name), true) }
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
func keysOf(args [][]byte) (full [][]byte, keys []kv.KeyRef, msg string) {
	full = args[2:]
	cmd := lookup(full[0])
	if cmd != nil && len(cmd.Sub) > 0 && len(full) > 1 {
		cmd = cmd.Subcommand(full[1])
	}
	switch {
	case cmd == nil:
		return nil, nil, "ERR Invalid command specified"
	case len(cmd.KeySpecs()) == 0:
		return nil, nil, "ERR The command has no key arguments"
	case !cmd.ArityOK(len(full)):
		return nil, nil, "ERR Invalid number of arguments specified for command"
	}
	keys, ok := cmd.KeyRefs(nil, full)
	switch {
	case ok && len(keys) > 0:
		return full, keys, ""
	case ok && cmd.Flags&kv.FlagNoMandatoryKeys != 0:
		return full, nil, ""
	}
	return nil, nil, "ERR Invalid arguments specified for command"
}

func commandGetKeys(_ *session, args [][]byte, out *kv.Reply) {
	full, keys, msg := keysOf(args)
	if msg != "" {
		out.Error(msg)
		return
	}
	out.Array(len(keys))
	for _, k := range keys {
		out.Bulk(full[k.Pos])
	}
}

func commandGetKeysAndFlags(_ *session, args [][]byte, out *kv.Reply) {
	full, keys, msg := keysOf(args)
	if msg != "" {
		out.Error(msg)
		return
	}
	out.Array(len(keys))
	for _, k := range keys {
		out.Array(2)
		out.Bulk(full[k.Pos])
		statuses(out, k.Flags.Names())
	}
}
