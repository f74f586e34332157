// Package commanddoc writes docs/commands.md: every command of the table with what
// becomes of it here. It reads the table, package resp's word on what it refuses, and
// docs/divergence.md, so that the page cannot say anything else than they do.
//
//	go test ./internal/commanddoc -update    writes the page
//	go test ./internal/commanddoc            fails if it is stale
package commanddoc

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rkvdb/rkv/kv"
	"github.com/rkvdb/rkv/resp"
)

const head = `# Commands

Written by ` + "`go test ./internal/commanddoc -update`" + ` from the command table; do not edit.

- **log**: goes through the replicated log; acknowledged means durable on a majority.
- **read**: linearizable from any node, does not enter the log.
- **read or log**: a script that writes enters the log, others do not.
- **node**: answered by the node the client is connected to.
- **refused**: known, answered with an error that says what to use instead.

Since is the Redis version that had the command first (for RAFT: rkv's). Notes say where
we leave Redis; [divergence.md](divergence.md) has the reasons,
[compat.md](compat.md) what Redis's own test suite finds.
`

// missing are commands of Redis that are not in the table, by what they belong to.
var missing = [][2]string{
	{"`BLMOVEM` `LMOVEM` `SDIFFCARD` `SUNIONCARD` `HIMPORT` `HOTKEYS` `BACKUP`", "of Redis 8.6 and later; not here yet"},
	{"`XNACK` `XCFGSET` `XIDMPRECORD`", "of Redis 8.2 and later; not here yet"},
	{"`AR*`, `V*` (arrays, vector sets)", "types of Redis 8, outside of the core groups"},
	{"`BF.*` `CF.*` `CMS.*` `FT.*` `JSON.*` `TDIGEST.*` `TOPK.*` `TS.*`", "modules; there are none here"},
	{"`CLUSTER *` `SFLUSH` `TRIMSLOTS` `RESTORE-ASKING`", "Redis Cluster's; every node serves every key"},
	{"`SENTINEL *`", "Sentinel's; failover is built in"},
	{"`MIGRATE`", "a node opens no connections to other servers; use DUMP and RESTORE"},
}

// Page is the text of docs/commands.md. divergence and compat are those of
// docs/divergence.md and docs/compat.md.
func Page(divergence, compat string) string {
	notes := readNotes(divergence)
	groups := map[string][]*kv.Command{}
	var order []string
	for _, cmd := range kv.All() {
		if groups[cmd.Group] == nil {
			order = append(order, cmd.Group)
		}
		groups[cmd.Group] = append(groups[cmd.Group], cmd)
	}
	var b strings.Builder
	b.WriteString(head)
	slices.Sort(order)
	for _, group := range order {
		fmt.Fprintf(&b, "\n## %s\n\n| command | since | status | what it does | notes |\n|---|---|---|---|---|\n", group)
		for _, cmd := range groups[group] {
			if len(cmd.Sub) == 0 {
				row(&b, cmd, notes)
			}
			for _, sub := range cmd.Sub {
				row(&b, sub, notes)
			}
		}
	}
	b.WriteString("\n## Not here\n\n| command | why |\n|---|---|\n")
	for _, m := range missing {
		fmt.Fprintf(&b, "| %s | %s |\n", m[0], m[1])
	}
	if _, misses, ok := strings.Cut(compat, "\n"+missesHead+"\n"); ok {
		misses, rest, _ := strings.Cut(misses, "\n## ")
		b.WriteString("\n## What Redis's own tests miss\n" + strings.TrimRight(misses, "\n") + "\n")
		if undone, ok := strings.CutPrefix(rest, undoneHead+"\n"); ok {
			undone, _, _ = strings.Cut(undone, "\n## ")
			b.WriteString("\nNot done:\n\n" + strings.Trim(undone, "\n") + "\n")
		}
	}
	return b.String()
}

// missesHead is the section of docs/compat.md that is repeated, undoneHead the one behind it.
const (
	missesHead = "## What cannot pass by design"
	undoneHead = "Not done"
)

func row(b *strings.Builder, cmd *kv.Command, notes map[string][]string) {
	name := strings.ToUpper(strings.ReplaceAll(cmd.Name, "|", " "))
	container, _, _ := strings.Cut(name, " ")
	list := notes[name]
	if container != name {
		list = append(list[:len(list):len(list)], notes[container]...)
	}
	status, why := status(cmd)
	if why != "" {
		list = append([]string{"answers `" + why + "`"}, list...)
	}
	cell := strings.Join(list, "; ")
	if len(list) > 0 {
		cell += "."
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", name, cmd.Since, status, cmd.Summary, cell)
}

// status is the command's word from the page's head; why the refusal.
func status(cmd *kv.Command) (word, why string) {
	answered, refusal := resp.Answers(cmd)
	switch {
	case !answered:
		return "refused", refusal
	case refusal != "":
		return "refused", refusal
	case cmd.Script:
		return "read or log", ""
	case cmd.Logged():
		return "log", ""
	case cmd.IsLocal():
		return "node", ""
	}
	return "read", ""
}

var code = regexp.MustCompile("`([A-Z][A-Z -]*[A-Z])[^`]*`")

var anyCode = regexp.MustCompile("`[^`]*`")

// readNotes maps commands to what divergence.md's table of Redis says: a row counts
// for the commands in code spelling in its first column.
func readNotes(divergence string) map[string][]string {
	_, table, _ := strings.Cut(divergence, "\n## Redis\n")
	notes := map[string][]string{}
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		where, we := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
		for _, m := range code.FindAllStringSubmatch(where, -1) {
			note := we
			if strings.Trim(anyCode.ReplaceAllString(where, ""), ", ") != "" {
				note = where + ": " + we // under a condition
			}
			notes[m[1]] = append(notes[m[1]], note)
		}
	}
	return notes
}
