package kv

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// command_docs.tsv holds what COMMAND DOCS tells of a command and its row does not say:
// what replaces it, and its arguments in the notation that the table's head explains.
//
//go:embed command_docs.tsv
var docsTable string

// Docs is what COMMAND DOCS tells of a command beside its row.
type Docs struct {
	// Deprecated is the version that had ReplacedBy instead; "" for what is in use.
	Deprecated, ReplacedBy string
	// System marks commands for servers and their tests.
	System    bool
	Arguments []Argument
}

// Argument is one argument of a command, or a group of them.
type Argument struct {
	Name string
	// Type is in Redis's words: string, integer, double, key, pattern, unix-time,
	// pure-token (Token alone, no value), or for a group block (Args one after the other)
	// or oneof (one of Args).
	Type string
	// Display is what a line of usage calls it; "" for groups.
	Display string
	// Token stands before the value or the group if HasToken; it may be an empty word.
	Token    string
	HasToken bool
	// KeySpec is the place of its key specification, -1 without one.
	KeySpec int
	// Since and DeprecatedSince are versions, "" if the command always had it and has it.
	Since, DeprecatedSince string
	// MultipleToken: each further value has the token before it again.
	Optional, Multiple, MultipleToken bool
	Args                              []Argument
}

// Docs tells of the command; it must not be changed.
func (c *Command) Docs() Docs { return allDocs()[c.Name] }

// NewerThan reports whether the argument came after a version (Settings.RedisVersion).
func (a *Argument) NewerThan(version int64) bool {
	if a.Since == "" {
		return false
	}
	var major, minor int64
	_, _ = fmt.Sscanf(a.Since, "%d.%d", &major, &minor) // the parser looked at it
	return 100*major+minor > version
}

// Flags are the argument's flags in Redis's words.
func (a *Argument) Flags() (names []string) {
	for _, f := range []struct {
		set  bool
		name string
	}{{a.Optional, "optional"}, {a.Multiple, "multiple"}, {a.MultipleToken, "multiple_token"}} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

// allDocs reads the table when it is asked for first. A line that cannot be read is a
// mistake in it, found by the tests.
var allDocs = sync.OnceValue(func() map[string]Docs {
	docs := map[string]Docs{}
	for _, line := range strings.Split(docsTable, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name, d, err := parseDocs(line)
		if _, twice := docs[name]; err != nil || twice || commands.byName[name] == nil {
			panic(fmt.Sprintf("kv: command_docs.tsv: %s: %v", line, err))
		}
		docs[name] = d
	}
	return docs
})

func parseDocs(line string) (name string, d Docs, err error) {
	f := strings.Split(line, "\t")
	if len(f) != 3 {
		return "", d, fmt.Errorf("%d columns", len(f))
	}
	switch f[1] {
	case "-":
	case "system":
		d.System = true
	default:
		d.Deprecated, d.ReplacedBy, _ = strings.Cut(f[1], " ")
	}
	if f[2] != "-" {
		d.Arguments, err = parseSyntax(f[2])
	}
	return f[0], d, err
}

// parseSyntax reads a line of arguments.
func parseSyntax(text string) ([]Argument, error) {
	p := syntaxParser{rest: text}
	args, oneof := p.list("")
	if oneof {
		p.fail("a choice without a group")
	}
	return args, p.err
}

// syntaxParser reads what is left of a line. After the first error it reads nothing.
type syntaxParser struct {
	rest string
	err  error
}

func (p *syntaxParser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s before %q", what, p.rest)
	}
	p.rest = ""
}

// take skips a text if it comes next.
func (p *syntaxParser) take(text string) (found bool) {
	p.rest, found = strings.CutPrefix(p.rest, text)
	return found
}

func (p *syntaxParser) expect(text string) {
	if !p.take(text) {
		p.fail(fmt.Sprintf("no %q", text))
	}
}

// word reads a word; "" if none comes next.
func (p *syntaxParser) word() string {
	n := strings.IndexFunc(p.rest, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_:", r)
	})
	if n < 0 {
		n = len(p.rest)
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

// label reads name= if it comes next.
func (p *syntaxParser) label() string {
	ahead := *p
	if w := ahead.word(); w != "" && ahead.take("=") {
		*p = ahead
		return w
	}
	return ""
}

// list reads items up to a closing bracket, or the end of the line for none: all of them
// (a b), or one of them (a|b).
func (p *syntaxParser) list(closing string) (args []Argument, oneof bool) {
	for sep := ""; p.err == nil; {
		args = append(args, p.item())
		switch {
		case closing != "" && p.take(closing), closing == "" && p.rest == "":
			return args, oneof
		case len(args) == 1:
			oneof = strings.HasPrefix(p.rest, "|")
			sep = map[bool]string{false: " ", true: "|"}[oneof]
		}
		p.expect(sep)
	}
	return nil, false
}

// item reads one argument with what stands behind it.
func (p *syntaxParser) item() (a Argument) {
	a.KeySpec = -1
	label := p.label()
	switch {
	case label == "" && p.take("["):
		return p.optional()
	case p.take("["):
		a.group(p.list("]"))
		a.Optional = true
	case p.take("("):
		a.group(p.list(")"))
	case p.take(`"`):
		a.Type, a.HasToken = "pure-token", true
		if n := strings.IndexByte(p.rest, '"'); n >= 0 {
			a.Token, p.rest = p.rest[:n], p.rest[n:]
		}
		p.expect(`"`)
	default:
		p.words(&a)
	}
	p.suffixes(&a)
	switch {
	case label != "":
		a.Name = label
	case a.Name == "" && a.HasToken:
		a.Name = strings.ToLower(a.Token)
	}
	if a.Type == "pure-token" {
		a.Display = a.Name
	}
	if a.Name == "" {
		p.fail("no name")
	}
	return a
}

// optional reads the rest of [item] or [item]....
func (p *syntaxParser) optional() Argument {
	args, _ := p.list("]")
	if len(args) != 1 || args[0].Optional {
		p.fail("a group without a name")
		return Argument{}
	}
	a := args[0]
	a.Optional = true
	if p.take("...") {
		if !a.HasToken || a.Multiple {
			p.fail("no token to repeat")
		}
		a.Multiple, a.MultipleToken = true, true
	}
	return a
}

func (a *Argument) group(args []Argument, oneof bool) {
	a.Type, a.Args = "block", args
	if oneof {
		a.Type = "oneof"
	}
}

// words reads a value, or a token with the value or the group behind it.
func (p *syntaxParser) words(a *Argument) {
	w := p.word()
	if w == "" {
		p.fail("no word")
		return
	}
	if strings.ToUpper(w) != w {
		p.value(a, w)
		return
	}
	a.Token, a.HasToken, a.Type = w, true, "pure-token"
	if p.take(" (") {
		a.group(p.list(")"))
		return
	}
	ahead := *p
	if ahead.take(" ") && ahead.label() == "" {
		if w = ahead.word(); strings.ToUpper(w) != w {
			*p = ahead
			p.value(a, w)
		}
	}
}

// value reads the rest of name, name:type, name#spec or name:type#spec.
func (p *syntaxParser) value(a *Argument, w string) {
	a.Type = "string"
	name, typ, typed := cutLast(w, ":")
	a.Name, a.Display = name, name
	if typed {
		a.Type = typ
		if !slices.Contains([]string{"string", "integer", "double", "pattern", "unix-time"}, typ) {
			p.fail("unknown type " + typ)
		}
	}
	switch {
	case p.take("#"):
		n, err := strconv.Atoi(p.word())
		if err != nil {
			p.fail("no key specification")
		}
		a.KeySpec = n
		if !typed {
			a.Type = "key"
		}
	case w == "key":
		a.Type, a.KeySpec = "key", 0
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// suffixes reads ..., @version and @-version.
func (p *syntaxParser) suffixes(a *Argument) {
	a.Multiple = p.take("...")
	for p.take("@") {
		at := &a.Since
		if p.take("-") {
			at = &a.DeprecatedSince
		}
		n := strings.IndexAny(p.rest+" ", " |)]@")
		*at, p.rest = p.rest[:n], p.rest[n:]
		var major, minor, patch int
		if _, err := fmt.Sscanf(*at, "%d.%d.%d", &major, &minor, &patch); err != nil {
			p.fail("no version")
		}
	}
}
