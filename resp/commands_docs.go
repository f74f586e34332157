package resp

import "github.com/rkvdb/rkv/kv"

// commandDocs is a map from name to facts. redis-cli asserts on the types: keys and
// texts are bulk strings, maps are maps.
func commandDocs(s *session, args [][]byte, out *kv.Reply) {
	list := allCommands()
	if len(args) > 2 {
		list = nil
		for _, name := range args[2:] {
			if cmd := findNamed(name); cmd != nil {
				list = append(list, cmd)
			}
		}
	}
	settings := s.srv.backend.Store().Settings()
	d := docsWriter{out, settings.RedisVersion}
	out.Map(len(list))
	for _, cmd := range list {
		out.BulkString(cmd.Name)
		d.command(cmd)
	}
}

// docsWriter writes what a Redis of the version tells of commands. Fields that have
// nothing to say are left out.
type docsWriter struct {
	out     *kv.Reply
	version int64
}

func (d docsWriter) text(name, value string) {
	d.out.BulkString(name)
	d.out.BulkString(value)
}

func (d docsWriter) command(cmd *kv.Command) {
	docs := cmd.Docs()
	d.out.Map(3 + count(docs.Deprecated != "" || docs.System, docs.Deprecated != "", docs.Deprecated != "",
		docs.Arguments != nil, cmd.Sub != nil))
	d.text("summary", cmd.Summary)
	d.text("since", cmd.Since)
	d.text("group", cmd.Group)
	switch {
	case docs.System:
		d.out.BulkString("doc_flags")
		statuses(d.out, []string{"syscmd"})
	case docs.Deprecated != "":
		d.out.BulkString("doc_flags")
		statuses(d.out, []string{"deprecated"})
		d.text("deprecated_since", docs.Deprecated)
		d.text("replaced_by", docs.ReplacedBy)
	}
	if docs.Arguments != nil {
		d.arguments(docs.Arguments)
	}
	if cmd.Sub == nil {
		return
	}
	d.out.BulkString("subcommands")
	d.out.Map(len(cmd.Sub))
	for _, sub := range cmd.Sub {
		d.out.BulkString(sub.Name)
		d.command(sub)
	}
}

// arguments writes those that the version knows.
func (d docsWriter) arguments(list []kv.Argument) {
	known := 0
	for i := range list {
		known += count(!list[i].NewerThan(d.version))
	}
	d.out.BulkString("arguments")
	d.out.Array(known)
	for i := range list {
		if a := &list[i]; !a.NewerThan(d.version) {
			d.argument(a)
		}
	}
}

func (d docsWriter) argument(a *kv.Argument) {
	display := a.Display != "" && d.version >= kv.Redis72
	flags := a.Flags()
	d.out.Map(2 + count(display, a.KeySpec >= 0, a.HasToken, a.Since != "", a.DeprecatedSince != "", flags != nil, a.Args != nil))
	d.text("name", a.Name)
	d.text("type", a.Type)
	if display {
		d.text("display_text", a.Display)
	}
	if a.KeySpec >= 0 {
		d.out.BulkString("key_spec_index")
		d.out.Int(int64(a.KeySpec))
	}
	if a.HasToken {
		d.text("token", a.Token)
	}
	if a.Since != "" {
		d.text("since", a.Since)
	}
	if a.DeprecatedSince != "" {
		d.text("deprecated_since", a.DeprecatedSince)
	}
	if flags != nil {
		d.out.BulkString("flags")
		statuses(d.out, flags)
	}
	if a.Args != nil {
		d.arguments(a.Args)
	}
}

// count is how many of the facts are true.
func count(facts ...bool) (n int) {
	for _, f := range facts {
		if f {
			n++
		}
	}
	return n
}
