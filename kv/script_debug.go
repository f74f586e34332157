package kv

// DEBUG in scripts, for the tests of how replies become values of Lua. Redis's suite
// allows it by DEBUG SET-DISABLE-DENY-SCRIPTS; here that is a replicated setting, for
// scripts run on every node.

// debugInScripts is DEBUG SET-DISABLE-DENY-SCRIPTS 0|1.
func debugInScripts(c *Ctx) {
	on, ok := c.intArg(2)
	if !ok {
		return
	}
	c.settings().DebugInScripts = min(max(on, 0), 1)
	c.Out.OK()
}

// scriptDebug is DEBUG in a script: PROTOCOL, whose replies are always the same, and
// SLEEP, which takes no time, for a script's time stands still.
func scriptDebug(c *Ctx) {
	switch {
	case len(c.Args) == 3 && is(c.Args[1], "sleep"):
		c.Out.OK()
	case len(c.Args) == 3 && is(c.Args[1], "protocol") && is(c.Args[2], "attrib"):
		c.Out.BulkString(DebugAttribReply) // attributes are dropped on the way into Lua
	case len(c.Args) == 3 && is(c.Args[1], "protocol"):
		DebugProtocol(c.Args[2], c.Out)
	default:
		c.Out.Error("ERR This Redis command is not allowed from script")
	}
}

// DebugAttribReply is what follows the attribute in DEBUG PROTOCOL ATTRIB.
const DebugAttribReply = "Some real reply following the attribute"

// DebugProtocol replies a value of a type of the protocol, as DEBUG PROTOCOL type
// does; an error if it knows no such type. Attributes and pushes are the caller's:
// they are more than a reply.
func DebugProtocol(kind []byte, out *Reply) {
	switch {
	case is(kind, "string"):
		out.BulkString("Hello World")
	case is(kind, "integer"):
		out.Int(12345)
	case is(kind, "double"):
		out.Double(3.141)
	case is(kind, "bignum"):
		out.BigNumber("1234567999999999999999999999999999999")
	case is(kind, "null"):
		out.Null()
	case is(kind, "array"):
		out.Array(3)
		debugNumbers(out)
	case is(kind, "set"):
		out.Set(3)
		debugNumbers(out)
	case is(kind, "map"):
		out.Map(3)
		for i := range 3 {
			out.Int(int64(i))
			out.TrueFalse(i == 1)
		}
	case is(kind, "true"):
		out.TrueFalse(true)
	case is(kind, "false"):
		out.TrueFalse(false)
	case is(kind, "verbatim"):
		out.Verbatim("txt", []byte("This is a verbatim\nstring"))
	default:
		out.Error("ERR Wrong protocol type name. Please use one of the following: " +
			"string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false")
	}
}

func debugNumbers(out *Reply) {
	for i := range 3 {
		out.Int(int64(i))
	}
}
