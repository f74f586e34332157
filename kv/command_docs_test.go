package kv

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSyntax(t *testing.T) {
	str := func(name string) Argument {
		return Argument{Name: name, Type: "string", Display: name, KeySpec: -1}
	}
	token := func(name, word string) Argument {
		return Argument{Name: name, Type: "pure-token", Display: name, Token: word, HasToken: true, KeySpec: -1}
	}
	with := func(a Argument, change func(*Argument)) Argument { change(&a); return a }
	for text, want := range map[string][]Argument{
		"member":           {str("member")},
		"key:string":       {str("key")},
		"id...":            {with(str("id"), func(a *Argument) { a.Multiple = true })},
		"[message]":        {with(str("message"), func(a *Argument) { a.Optional = true })},
		"[arg...]":         {with(str("arg"), func(a *Argument) { a.Optional, a.Multiple = true, true })},
		"key":              {{Name: "key", Type: "key", Display: "key"}},
		"src#1":            {{Name: "src", Type: "key", Display: "src", KeySpec: 1}},
		"key key#1...":     {{Name: "key", Type: "key", Display: "key"}, {Name: "key", Type: "key", Display: "key", KeySpec: 1, Multiple: true}},
		"age:integer":      {{Name: "age", Type: "integer", Display: "age", KeySpec: -1}},
		"at:unix-time":     {{Name: "at", Type: "unix-time", Display: "at", KeySpec: -1}},
		"p:pattern#1":      {{Name: "p", Type: "pattern", Display: "p", KeySpec: 1}},
		"a=ip:port:string": {with(str("a"), func(a *Argument) { a.Display = "ip:port" })},
		"FORCE":            {token("force", "FORCE")},
		"change=CH":        {token("change", "CH")},
		`auto-id="*"`:      {token("auto-id", "*")},
		`nothing=""`:       {token("nothing", "")},
		"NO ONE":           {token("no", "NO"), token("one", "ONE")},
		"[GET@6.2.0]":      {with(token("get", "GET"), func(a *Argument) { a.Optional, a.Since = true, "6.2.0" })},
		"a@1.0.0@-2.8.12":  {with(str("a"), func(a *Argument) { a.Since, a.DeprecatedSince = "1.0.0", "2.8.12" })},
		"LOG file":         {with(str("file"), func(a *Argument) { a.Token, a.HasToken = "LOG", true })},
		"NOW file=LOG f": {token("now", "NOW"),
			with(str("file"), func(a *Argument) { a.Display, a.Token, a.HasToken = "f", "LOG", true })},
		"[KEYS key...]": {{Name: "key", Type: "key", Display: "key", Token: "KEYS", HasToken: true, Optional: true, Multiple: true}},
		"[GET p:pattern]...": {{Name: "p", Type: "pattern", Display: "p", KeySpec: -1, Token: "GET", HasToken: true,
			Optional: true, Multiple: true, MultipleToken: true}},
		"data=(f v)...": {{Name: "data", Type: "block", KeySpec: -1, Multiple: true, Args: []Argument{str("f"), str("v")}}},
		"by=[A|B]@7.0.0": {{Name: "by", Type: "oneof", KeySpec: -1, Optional: true, Since: "7.0.0",
			Args: []Argument{token("a", "A"), token("b", "B")}}},
		"[LIMIT (a b)]": {{Name: "limit", Type: "block", KeySpec: -1, Token: "LIMIT", HasToken: true, Optional: true,
			Args: []Argument{str("a"), str("b")}}},
		"r=[a [u]]": {{Name: "r", Type: "block", KeySpec: -1, Optional: true,
			Args: []Argument{str("a"), with(str("u"), func(a *Argument) { a.Optional = true })}}},
	} {
		got, err := parseSyntax(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", " ", "a  b", "a ", "a|b", "(a b)", "[a b]", "[a|b]", "[[a]]", "g=(a b|c)", "g=(a|b c)", "g=(a", "[a", "a]", "[a]...", "[GET a...]...",
		`a="*`, "a:float", "a:", "a#x", "a@6", "a@", "=a", "g=", "a,b",
	} {
		_, err := parseSyntax(text)
		require.Error(t, err, text)
	}
}

// wordCount counts the words of the arguments: the fewest, and the most or -1 for any number.
func wordCount(args []Argument) (least, most int) {
	for _, a := range args {
		n, m := a.words()
		if a.Optional {
			n = 0
		}
		least += n
		if a.Multiple || m < 0 || most < 0 {
			most = -1
		} else {
			most += m
		}
	}
	return least, most
}

// words counts those of an argument that is given once.
func (a *Argument) words() (least, most int) {
	switch a.Type {
	case "block":
		least, most = wordCount(a.Args)
	case "oneof":
		for i := range a.Args {
			n, m := a.Args[i].words()
			if least == 0 || n < least {
				least = n
			}
			if m > most && most >= 0 || m < 0 || a.Args[i].Multiple {
				most = m
			}
		}
	case "pure-token":
		return 1, 1
	default:
		least, most = 1, 1
	}
	if a.HasToken {
		least++
		if most >= 0 {
			most++
		}
	}
	return least, most
}

// TestDocsAgreeWithArity: a command's line asks for as many words as its row does.
func TestDocsAgreeWithArity(t *testing.T) {
	own := map[string]bool{"debug": true, "replconf": true} // a language of their own
	for _, cmd := range allRows() {
		args := cmd.Docs().Arguments
		if cmd.Sub != nil {
			require.Empty(t, args, cmd.Name)
			continue
		}
		if own[cmd.Name] {
			continue
		}
		least, most := wordCount(args)
		name := len(cmd.argv0)
		if cmd.Arity >= 0 {
			require.Equal(t, []int{cmd.Arity, cmd.Arity}, []int{name + least, name + most}, cmd.Name)
			continue
		}
		require.Equal(t, cmd.Arity, -(name + least), cmd.Name)
		if !slices.Contains([]string{"psync", "quit", "raft|add"}, cmd.Name) { // they overlook what is more
			require.True(t, most < 0 || most > least, cmd.Name)
		}
	}
}

// TestDocsNameKeys: arguments that are keys have a key specification, and each of those
// has its argument, but for channels.
func TestDocsNameKeys(t *testing.T) {
	for _, cmd := range allRows() {
		seen := make([]bool, len(cmd.KeySpecs()))
		var walk func(args []Argument)
		walk = func(args []Argument) {
			for _, a := range args {
				if a.KeySpec >= 0 {
					require.Less(t, a.KeySpec, len(seen), cmd.Name)
					seen[a.KeySpec] = true
				}
				walk(a.Args)
			}
		}
		walk(cmd.Docs().Arguments)
		for i, ok := range seen {
			require.True(t, ok || cmd.KeySpecs()[i].Flags&KeyNotKey != 0, "%s: nothing is the key of specification %d", cmd.Name, i)
		}
	}
}

func TestDocsOfCommands(t *testing.T) {
	require.Equal(t, Docs{}, Lookup([]byte("dbsize")).Docs())
	d := Lookup([]byte("getset")).Docs()
	require.Equal(t, []string{"6.2.0", "`SET` with `GET`"}, []string{d.Deprecated, d.ReplacedBy})
	require.True(t, Lookup([]byte("pfdebug")).Docs().System)
	newer := func(since string) bool { return (&Argument{Since: since}).NewerThan(redis72) }
	require.Equal(t, []bool{false, false, false, true, true}, []bool{newer(""), newer("6.2.0"), newer("7.2.5"), newer("7.4.0"), newer("8.0.0")})
}
