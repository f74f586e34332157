package kv

// Flag describes a command, in Redis's words (COMMAND INFO).
type Flag uint32

// Command flags. The names Redis uses are in flagNames.
const (
	FlagWrite Flag = 1 << iota
	FlagReadonly
	FlagDenyOOM
	FlagAdmin
	FlagPubsub
	FlagNoScript
	FlagBlocking
	FlagLoading
	FlagStale
	FlagSkipMonitor
	FlagSkipSlowlog
	FlagAsking
	FlagFast
	FlagNoAuth
	FlagMayReplicate
	FlagMovableKeys
	FlagTouchesArbitraryKeys
	FlagNoAsyncLoading
	FlagNoMulti
	FlagAllowBusy
	FlagNoMandatoryKeys
	// FlagLocal marks a command that the client's node answers by itself (INFO,
	// CLIENT, MULTI ...): package resp implements it, kv only describes it.
	FlagLocal
)

// Opcode is the permanent number of a command in the log. It is never reused.
// Numbers below 16 are control operations (docs/adr/0001).
type Opcode uint16

// Command is one row of the command table.
type Command struct {
	Name  string // lower case; "config|get" for a subcommand
	Group string
	Since string
	// Arity counts the command's name; negative means "at least".
	Arity int
	Flags Flag
	// FirstKey, LastKey, KeyStep locate keys as COMMAND INFO states them; 0, 0, 0: none.
	FirstKey, LastKey, KeyStep int
	// Op is the opcode, only for commands that are or may be logged (Logged, Script).
	Op Opcode
	// Run executes the command; nil for FlagLocal ones and for containers.
	Run func(c *Ctx)
	// Serve runs a blocking command for a client that waits for key, which holds what
	// it waits for; it replies nothing if the client has to wait on. nil for others.
	Serve func(c *Ctx, key []byte)
	// Keys finds the keys where FirstKey.. cannot (numkeys); nil otherwise.
	Keys func(args [][]byte) (keys []int, ok bool)
	// Script marks EVAL and its kin: whether they write is known only when they ran
	// (Store.Logs). They have an opcode without being FlagWrite.
	Script bool
	// ReadFirst: it runs as a read, and comes back through the log if it has something to
	// keep (Chunk.WantsLog).
	ReadFirst bool
	// Sub holds the subcommands of a container, nil otherwise.
	Sub []*Command
	// Summary is one line for COMMAND DOCS.
	Summary string

	// argv0 is what stands before the arguments in Ctx.Args: the name, and the
	// subcommand's. Set when the table is built.
	argv0 [][]byte
	// Set when the table is built, from command_facts.tsv; id is the command's place
	// among all rows, subcommands included, and differs between versions.
	id         int
	parent     *Command
	categories Category
	tips       []string
	specs      []KeySpec
	noTouch    bool // using it does not make a key warm
	// member is which of Ctx.Args names the first member of a collection, 0 for none, and
	// pops which members it takes without a name, ranked whether it needs the member's rank:
	// what may be looked for ahead (warmer).
	member int
	pops   popsWhich
	ranked bool
}

// IsWrite reports whether the command goes through the log.
func (c *Command) IsWrite() bool { return c.Flags&FlagWrite != 0 }

// Logged reports whether the command always goes through the log: those that write
// keys, and those that change other replicated state (SCRIPT LOAD).
func (c *Command) Logged() bool { return c.IsWrite() || c.Op != 0 && !c.Script && !c.ReadFirst }

// IsLocal reports whether package resp answers the command.
func (c *Command) IsLocal() bool { return c.Flags&FlagLocal != 0 }

// ArityOK reports whether argc (the name included) is allowed.
func (c *Command) ArityOK(argc int) bool {
	if c.Arity >= 0 {
		return argc == c.Arity
	}
	return argc >= -c.Arity
}
