package kv

import (
	"fmt"
	"sort"
	"strings"
)

// registry is the command table by name and by opcode. It is built once, when the
// program starts, and never changes.
type registry struct {
	byName map[string]*Command
	byOp   []*Command
	all    []*Command
	flat   []*Command // with subcommands, by name; Command.id is the place
}

var commands registry

func init() {
	commands = newRegistry(
		stringCommands, genericCommands, serverCommands, localCommands, adminCommands, aclCommands, pubsubCommands,
		scriptCommands, functionCommands,
		hashCommands, listCommands, setCommands, zsetCommands, streamCommands,
		bitmapCommands, blockingCommands, copyCommands, dumpCommands, sortCommands, hllCommands, geoCommands, hashTTLCommands, conditionCommands,
		onceCommands,
	)
	for i := range debugCommands {
		commands.register(&debugCommands[i]) // known to the log, listed nowhere
		debugCommands[i].id = len(commands.flat)
		commands.flat = append(commands.flat, &debugCommands[i])
	}
	noUser = newUser("", 0, false)
}

// maxNameLen bounds Lookup's work for a name no command has.
const maxNameLen = 32

func newRegistry(groups ...[]Command) registry {
	r := registry{byName: make(map[string]*Command)}
	for _, rows := range groups {
		for i := range rows {
			r.add(&rows[i])
		}
	}
	sort.Slice(r.all, func(i, j int) bool { return r.all[i].Name < r.all[j].Name })
	for _, cmd := range r.all {
		r.flat = append(r.flat, cmd)
		r.flat = append(r.flat, cmd.Sub...)
	}
	for i, cmd := range r.flat {
		cmd.id = i
	}
	r.loadFacts(factsTable)
	for _, name := range noTouch {
		r.byName[name].noTouch = true
	}
	for name, arg := range firstMembers {
		r.byName[name].member = arg
	}
	for _, name := range rankedCommands {
		r.byName[name].ranked = true
	}
	r.byName["zpopmin"].pops, r.byName["zpopmax"].pops = popsLowest, popsHighest
	return r
}

func (r *registry) add(cmd *Command) {
	r.register(cmd)
	r.all = append(r.all, cmd)
	sort.Slice(cmd.Sub, func(i, j int) bool { return cmd.Sub[i].Name < cmd.Sub[j].Name })
	for _, sub := range cmd.Sub {
		sub.parent = cmd
		r.register(sub)
	}
}

func (r *registry) register(cmd *Command) {
	if r.byName[cmd.Name] != nil || len(cmd.Name) > maxNameLen {
		panic("kv: command " + cmd.Name + " is in the table twice, or its name is too long")
	}
	r.byName[cmd.Name] = cmd
	for _, word := range strings.Split(cmd.Name, "|") {
		cmd.argv0 = append(cmd.argv0, []byte(word))
	}
	if cmd.Op == 0 {
		return
	}
	for int(cmd.Op) >= len(r.byOp) {
		r.byOp = append(r.byOp, nil)
	}
	if cmd.Op < firstOpcode || r.byOp[cmd.Op] != nil {
		panic(fmt.Sprintf("kv: opcode %d of %s is taken", cmd.Op, cmd.Name))
	}
	r.byOp[cmd.Op] = cmd
}

// Lookup finds a command by its name in any case; nil if there is none. It does
// not allocate.
func Lookup(name []byte) *Command {
	var low [maxNameLen]byte
	if len(name) > len(low) {
		return nil
	}
	lower(low[:], name)
	cmd := commands.byName[string(low[:len(name)])]
	if cmd != nil && len(cmd.argv0) > 1 {
		return nil // "config|get" is a name of ours, not one a client may send
	}
	return cmd
}

// Subcommand finds a container's subcommand by its name in any case; nil if there
// is none.
func (c *Command) Subcommand(name []byte) *Command {
	for _, sub := range c.Sub {
		if equalFold(sub.argv0[1], name) {
			return sub
		}
	}
	return nil
}

// LookupOp finds a logged command by its opcode; nil if this node knows none.
func LookupOp(code Opcode) *Command {
	if int(code) >= len(commands.byOp) {
		return nil
	}
	return commands.byOp[code]
}

// All returns the commands, without subcommands, by name. It must not be changed.
func All() []*Command { return commands.all }

var flagNames = [...]struct {
	flag Flag
	name string
}{
	{FlagWrite, "write"},
	{FlagReadonly, "readonly"},
	{FlagDenyOOM, "denyoom"},
	{FlagAdmin, "admin"},
	{FlagPubsub, "pubsub"},
	{FlagNoScript, "noscript"},
	{FlagBlocking, "blocking"},
	{FlagLoading, "loading"},
	{FlagStale, "stale"},
	{FlagSkipMonitor, "skip_monitor"},
	{FlagSkipSlowlog, "skip_slowlog"},
	{FlagAsking, "asking"},
	{FlagFast, "fast"},
	{FlagNoAuth, "no_auth"},
	{FlagMayReplicate, "may_replicate"},
	{FlagMovableKeys, "movablekeys"},
	{FlagTouchesArbitraryKeys, "touches_arbitrary_keys"},
	{FlagNoAsyncLoading, "no_async_loading"},
	{FlagNoMulti, "no_multi"},
	{FlagAllowBusy, "allow_busy"},
	{FlagNoMandatoryKeys, "no_mandatory_keys"},
}

// Names are the flags as COMMAND INFO shows them, in Redis's order.
func (f Flag) Names() []string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// KeyPositions returns the indexes in args of the command's keys; ok is false if
// the arguments do not add up. args includes the name.
func (c *Command) KeyPositions(args [][]byte) (keys []int, ok bool) {
	if !c.ArityOK(len(args)) {
		return nil, false
	}
	if c.Keys != nil {
		return c.Keys(args)
	}
	if c.FirstKey == 0 {
		return nil, true
	}
	last := c.LastKey
	if last < 0 {
		last += len(args)
	}
	for i := c.FirstKey; i <= last && i < len(args); i += c.KeyStep {
		keys = append(keys, i)
	}
	return keys, true
}

// NumCommands counts all rows, subcommands included: Command.ID is below it.
func NumCommands() int { return len(commands.flat) }

// ID is the command's place among all rows of this version.
func (c *Command) ID() int { return c.id }
