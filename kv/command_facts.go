package kv

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// command_facts.tsv holds what clients and access control need to know of a command
// and its row does not say. It is data, not code, so that it can be read and compared
// with a server as a table.
//
//go:embed command_facts.tsv
var factsTable string

// Category is a set of ACL categories.
type Category uint32

// The categories in Redis's order.
const (
	CatKeyspace Category = 1 << iota
	CatRead
	CatWrite
	CatSet
	CatSortedSet
	CatList
	CatHash
	CatString
	CatBitmap
	CatHyperLogLog
	CatGeo
	CatStream
	CatPubsub
	CatAdmin
	CatFast
	CatSlow
	CatBlocking
	CatDangerous
	CatConnection
	CatTransaction
	CatScripting
)

// CategoryNames are the names of the categories; the bit of a name is its place.
var CategoryNames = [...]string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
	"stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
}

// FindCategory returns the category of a name in any case; 0 if there is none.
func FindCategory(name []byte) Category {
	for i, n := range CategoryNames {
		if is(name, n) {
			return 1 << i
		}
	}
	return 0
}

// Names are the names of the categories in c.
func (c Category) Names() []string {
	var names []string
	for i, n := range CategoryNames {
		if c&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// KeyFlag says how a command uses a key, in Redis's words.
type KeyFlag uint16

// The flags of a key specification.
const (
	KeyRO KeyFlag = 1 << iota
	KeyRW
	KeyOW
	KeyRM
	KeyAccess
	KeyUpdate
	KeyInsert
	KeyDelete
	KeyNotKey
	KeyIncomplete
	KeyVariableFlags
)

var keyFlagNames = [...]string{
	"RO", "RW", "OW", "RM", "access", "update", "insert", "delete", "not_key", "incomplete", "variable_flags",
}

// Names are the names of the flags in f.
func (f KeyFlag) Names() []string {
	var names []string
	for i, n := range keyFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// KeySpec says where a command's keys are (COMMAND INFO). They begin at argument
// Index, or behind the argument Keyword, which is looked for from StartFrom on
// (negative: from the end backwards). Then either a range or a number of keys.
type KeySpec struct {
	Index     int
	Keyword   string
	StartFrom int
	// Last is relative to the first key, negative from the end; with Limit above 1
	// only so much of the rest are keys.
	Last, Step, Limit int
	// KeyNum: the number of keys is at NumAt and the first key at First, both relative
	// to the beginning.
	KeyNum       bool
	NumAt, First int
	// UnknownBegin and UnknownKeys: the command itself must be asked.
	UnknownBegin, UnknownKeys bool
	Flags                     KeyFlag
}

// KeyRef is one key of a full command: its place among the arguments and its use.
type KeyRef struct {
	Pos   int
	Flags KeyFlag
}

// loadFacts completes the rows of the registry. A line that cannot be read is a
// mistake in the table, found when the program starts.
func (r *registry) loadFacts(table string) {
	for _, line := range strings.Split(table, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			panic("kv: command_facts.tsv: " + line)
		}
		cmd := r.byName[f[0]]
		if cmd == nil {
			continue // not in this version
		}
		if cmd.categories != 0 || cmd.specs != nil {
			panic("kv: command_facts.tsv: " + f[0] + " is there twice")
		}
		for _, name := range words(f[1]) {
			cat := FindCategory([]byte(name))
			if cat == 0 {
				panic("kv: command_facts.tsv: category " + name + " of " + f[0])
			}
			cmd.categories |= cat
		}
		cmd.tips = words(f[2])
		for _, text := range words(f[3]) {
			spec, err := parseKeySpec(text)
			if err != nil {
				panic("kv: command_facts.tsv: " + f[0] + ": " + err.Error())
			}
			cmd.specs = append(cmd.specs, spec)
		}
	}
	for _, cmd := range r.flat {
		cmd.categories |= cmd.impliedCategories()
	}
}

func words(field string) []string {
	if field == "-" {
		return nil
	}
	return strings.Fields(field)
}

func (c *Command) impliedCategories() (cat Category) {
	has := func(f Flag, k Category) {
		if c.Flags&f != 0 {
			cat |= k
		}
	}
	has(FlagWrite, CatWrite)
	if c.categories&CatScripting == 0 { // a script may do what its commands do
		has(FlagReadonly, CatRead)
	}
	has(FlagAdmin, CatAdmin|CatDangerous)
	has(FlagPubsub, CatPubsub)
	has(FlagBlocking, CatBlocking)
	if c.Flags&FlagFast != 0 {
		return cat | CatFast
	}
	return cat | CatSlow
}

// parseKeySpec reads begin:keys:flags.
func parseKeySpec(text string) (k KeySpec, err error) {
	begin, rest, _ := strings.Cut(text, ":")
	keys, flags, _ := strings.Cut(rest, ":")
	switch {
	case begin == "?":
		k.UnknownBegin = true
	case begin[0] == 'i':
		k.Index, err = strconv.Atoi(begin[1:])
	default:
		word, from, _ := strings.Cut(begin[1:], ",")
		k.Keyword = word
		k.StartFrom, err = strconv.Atoi(from)
	}
	if err == nil {
		switch {
		case keys == "?":
			k.UnknownKeys = true
		case keys[0] == 'r':
			_, err = fmt.Sscanf(keys, "r%d/%d/%d", &k.Last, &k.Step, &k.Limit)
		default:
			k.KeyNum = true
			_, err = fmt.Sscanf(keys, "n%d+%d/%d", &k.NumAt, &k.First, &k.Step)
		}
	}
	for _, name := range strings.Split(flags, ",") {
		found := false
		for i, n := range keyFlagNames {
			if n == name {
				k.Flags |= 1 << i
				found = true
			}
		}
		if !found {
			err = fmt.Errorf("key flag %q", name)
		}
	}
	return k, err
}

// Categories are the ACL categories the command is in.
func (c *Command) Categories() Category { return c.categories }

// Tips are hints for clients, in Redis's words.
func (c *Command) Tips() []string { return c.tips }

// KeySpecs say where the keys are; it must not be changed.
func (c *Command) KeySpecs() []KeySpec { return c.specs }

// KeyRefs appends the keys of the full command to dst. ok is false if the arguments
// do not add up; the keys found until then are returned.
func (c *Command) KeyRefs(dst []KeyRef, args [][]byte) (refs []KeyRef, ok bool) {
	refs, ok = dst, true
	for i := range c.specs {
		k := &c.specs[i]
		if k.Flags&KeyNotKey != 0 {
			continue
		}
		flags := c.keyFlags(k, args)
		if k.UnknownBegin || k.UnknownKeys {
			continue // asked below
		}
		first, found := k.begin(args)
		if !found {
			continue
		}
		var fits bool
		refs, fits = k.appendKeys(refs, first, flags, args)
		ok = ok && fits
	}
	return c.hiddenKeys(refs, args), ok
}

// begin finds where the keys begin.
func (k *KeySpec) begin(args [][]byte) (first int, found bool) {
	if k.Keyword == "" {
		return k.Index, k.Index < len(args)
	}
	start, step, end := k.StartFrom, 1, len(args)-1
	if start < 0 {
		start, step, end = len(args)+start, -1, 0
	}
	for i := start; i != end && i > 0 && i < len(args); i += step {
		if equalFold([]byte(strings.ToLower(k.Keyword)), args[i]) {
			return i + 1, i+1 < len(args)
		}
	}
	return 0, false
}

func (k *KeySpec) appendKeys(refs []KeyRef, first int, flags KeyFlag, args [][]byte) ([]KeyRef, bool) {
	last := 0
	switch {
	case k.KeyNum:
		at := first + k.NumAt
		if at >= len(args) {
			return refs, false
		}
		n, ok := parseInt(args[at])
		if !ok || n < 0 || n > int64(len(args)) {
			return refs, false
		}
		first += k.First
		last = first + (int(n)-1)*k.Step
	case k.Last >= 0:
		last = first + k.Last
	case k.Limit <= 1:
		last = len(args) + k.Last
	default:
		last = first + (len(args)-first)/k.Limit + k.Last
	}
	for i := first; i <= last; i += k.Step {
		if i >= len(args) {
			return refs, false
		}
		refs = append(refs, KeyRef{i, flags})
	}
	return refs, true
}

// keyFlags is how this call uses the key: some commands do different things to it.
func (c *Command) keyFlags(k *KeySpec, args [][]byte) KeyFlag {
	if k.Flags&KeyVariableFlags == 0 {
		return k.Flags
	}
	switch c.Name {
	case "set":
		for _, a := range args[min(3, len(args)):] {
			if is(a, "get") {
				return KeyRW | KeyAccess | KeyUpdate
			}
		}
		return KeyOW | KeyUpdate
	case "bitfield":
		for i := 2; i < len(args); i++ {
			if is(args[i], "set") || is(args[i], "incrby") {
				return KeyRW | KeyAccess | KeyUpdate
			}
		}
		return KeyRO | KeyAccess
	}
	return k.Flags
}

// hiddenKeys adds the keys that no specification can describe: SORT's STORE may
// stand anywhere, and its last one counts.
func (c *Command) hiddenKeys(refs []KeyRef, args [][]byte) []KeyRef {
	if c.Name != "sort" {
		return refs
	}
	store := 0
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "limit"):
			i += 2
		case is(args[i], "get"), is(args[i], "by"):
			i++
		case is(args[i], "store") && i+1 < len(args):
			i++
			store = i
		}
	}
	if store > 0 {
		refs = append(refs, KeyRef{store, KeyOW | KeyUpdate})
	}
	return refs
}
