package kv

// aclCommands are the rows of ACL. What changes users goes through the log, what
// shows them reads replicated state; the rest is package resp's.
var aclCommands = []Command{
	{Name: "acl", Group: "server", Since: "6.0.0", Arity: -2, Flags: FlagLocal,
		Summary: "A container for commands about users and what they may do.", Sub: []*Command{
			{Name: "acl|cat", Group: "server", Since: "6.0.0", Arity: -2, Flags: FlagLocal | FlagNoScript | FlagLoading | FlagStale,
				Summary: "Returns the categories, or the commands in one."},
			{Name: "acl|deluser", Group: "server", Since: "6.0.0", Arity: -3, Flags: FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Op: 161, Run: cmdACLDelUser,
				Summary: "Removes users and closes their connections."},
			{Name: "acl|dryrun", Group: "server", Since: "7.0.0", Arity: -4, Flags: FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Run:     cmdACLDryRun,
				Summary: "Tells whether a user could run a command."},
			{Name: "acl|genpass", Group: "server", Since: "6.0.0", Arity: -2, Flags: FlagLocal | FlagNoScript | FlagLoading | FlagStale,
				Summary: "Returns a random password."},
			{Name: "acl|getuser", Group: "server", Since: "6.0.0", Arity: 3, Flags: FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Run:     cmdACLGetUser,
				Summary: "Returns what a user may do."},
			{Name: "acl|help", Group: "server", Since: "6.0.0", Arity: 2, Flags: FlagLocal | FlagLoading | FlagStale,
				Summary: "Returns a help text about the subcommands."},
			{Name: "acl|list", Group: "server", Since: "6.0.0", Arity: 2, Flags: FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Run:     cmdACLList,
				Summary: "Returns all users as rules."},
			{Name: "acl|load", Group: "server", Since: "6.0.0", Arity: 2, Flags: FlagLocal | FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Summary: "Replaces the users by those of the ACL file."},
			{Name: "acl|log", Group: "server", Since: "6.0.0", Arity: -2, Flags: FlagLocal | FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Summary: "Returns what was denied on this node."},
			{Name: "acl|save", Group: "server", Since: "6.0.0", Arity: 2, Flags: FlagLocal | FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Summary: "Writes the users to the ACL file."},
			{Name: "acl|setuser", Group: "server", Since: "6.0.0", Arity: -3, Flags: FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Op: 160, Run: cmdACLSetUser,
				Summary: "Creates or changes a user."},
			{Name: "acl|users", Group: "server", Since: "6.0.0", Arity: 2, Flags: FlagAdmin | FlagNoScript | FlagLoading | FlagStale,
				Run:     cmdACLUsers,
				Summary: "Returns the names of the users."},
			{Name: "acl|whoami", Group: "server", Since: "6.0.0", Arity: 2, Flags: FlagLocal | FlagNoScript | FlagLoading | FlagStale,
				Summary: "Returns the name of the connection's user."},
		}},
}

const errUserName = "ERR Usernames can't contain spaces or null characters"

// cmdACLSetUser is ACL SETUSER name [rule ...]: all rules count, or none.
func cmdACLSetUser(c *Ctx) {
	next, msg := c.store.st.acl.setUser(c.Args[2], c.Args[3:], c.settings().newChannels())
	if msg != "" {
		c.Out.Error(msg)
		return
	}
	c.store.setACL(next)
	c.Out.OK()
}

func (a *ACL) setUser(name []byte, rules [][]byte, newChannels bool) (next *ACL, msg string) {
	if !validUserName(name) {
		return nil, errUserName
	}
	u := a.User(name)
	if u == nil {
		u = newUser(string(name), a.nextID, newChannels)
	} else {
		u = u.clone()
	}
	if msg := u.applyRules(rules, newChannels); msg != "" {
		return nil, msg
	}
	u.Changed = true
	return a.with(u), ""
}

// ValidateUser tells how ACL SETUSER would be refused, "" if it would not: so that an
// error can name the rules as they were sent, before passwords become hashes.
func (a *ACL) ValidateUser(name []byte, rules [][]byte) string {
	_, msg := a.setUser(name, rules, false)
	return msg
}

// cmdACLDelUser is ACL DELUSER name ...
func cmdACLDelUser(c *Ctx) {
	a, n := c.store.st.acl, 0
	for _, name := range c.Args[2:] {
		if string(name) == "default" {
			c.Out.Error("ERR The 'default' user cannot be removed")
			return
		}
		if a.User(name) != nil {
			a = a.without(string(name))
			n++
		}
	}
	if n > 0 {
		c.store.setACL(a)
	}
	c.Out.Int(int64(n))
}

// loadACL replaces all users by those of an ACL file's lines (opACLLoad). A user who
// stays keeps the id, so its connections go on.
func (a *ACL) load(lines [][]byte, newChannels bool) (next *ACL, msg string) {
	next = &ACL{nextID: a.nextID}
	for _, line := range lines {
		name, rules, ok := parseUserLine(string(line))
		if !ok || !validUserName([]byte(name)) {
			return nil, "ERR a line of the ACL file does not describe a user"
		}
		if next.User([]byte(name)) != nil {
			return nil, "ERR Duplicate user '" + name + "' found in the ACL file"
		}
		id := next.nextID
		if old := a.User([]byte(name)); old != nil {
			id = old.ID
		} else {
			next.nextID++
		}
		u := newUser(name, id, newChannels)
		if msg := u.applyRules(rules, newChannels); msg != "" {
			return nil, msg
		}
		u.Changed = true
		next = next.with(u)
	}
	if next.Default() == nil {
		next = next.with(newACL().Default())
	}
	return next, ""
}

// ValidateACL checks the lines of an ACL file before they are proposed; "" if they
// can be loaded.
func (a *ACL) ValidateACL(lines [][]byte) string {
	_, msg := a.load(lines, false)
	return msg
}

func cmdACLList(c *Ctx) {
	users := c.store.st.acl.users
	c.Out.Array(len(users))
	for _, u := range users {
		c.Out.BulkString(u.Line())
	}
}

func cmdACLUsers(c *Ctx) {
	users := c.store.st.acl.users
	c.Out.Array(len(users))
	for _, u := range users {
		c.Out.BulkString(u.Name)
	}
}

// cmdACLGetUser is ACL GETUSER name.
func cmdACLGetUser(c *Ctx) {
	u := c.store.st.acl.User(c.Args[2])
	if u == nil {
		c.Out.Null()
		return
	}
	c.Out.Map(6)
	c.Out.BulkString("flags")
	flags := u.flagNames()
	c.Out.Set(len(flags))
	for _, f := range flags {
		c.Out.BulkString(f)
	}
	c.Out.BulkString("passwords")
	c.Out.Array(len(u.passwords))
	for _, p := range u.passwords {
		c.Out.BulkString(p)
	}
	c.replySelector(u.selectors[0])
	c.Out.BulkString("selectors")
	c.Out.Array(len(u.selectors) - 1)
	for _, s := range u.selectors[1:] {
		c.Out.Map(3)
		c.replySelector(s)
	}
}

func (c *Ctx) replySelector(s *selector) {
	c.Out.BulkString("commands")
	c.Out.BulkString(s.commandRules())
	c.Out.BulkString("keys")
	c.Out.BulkString(s.keyRules())
	c.Out.BulkString("channels")
	c.Out.BulkString(s.channelRules())
}

// cmdACLDryRun is ACL DRYRUN name command [argument ...].
func cmdACLDryRun(c *Ctx) {
	u := c.store.st.acl.User(c.Args[2])
	if u == nil {
		c.Out.Error("ERR User '" + clip(c.Args[2], 128) + "' not found")
		return
	}
	args := c.Args[3:]
	cmd := Lookup(args[0])
	if cmd != nil && len(cmd.Sub) > 0 && len(args) > 1 {
		cmd = cmd.Subcommand(args[1])
	}
	if cmd == nil {
		c.Out.Error("ERR Command '" + clip(args[0], 128) + "' not found")
		return
	}
	if !cmd.ArityOK(len(args)) {
		c.Out.Error(WrongArgs(cmd.Name))
		return
	}
	d := u.Check(cmd, args)
	switch d.Reason {
	case DeniedNone:
		c.Out.OK()
	case DeniedCommand:
		c.Out.BulkString("This user has no permissions to run the '" + d.Object + "' command")
	case DeniedKey:
		c.Out.BulkString("This user has no permissions to access the '" + d.Object + "' key")
	case DeniedChannel:
		c.Out.BulkString("This user has no permissions to access the '" + d.Object + "' channel")
	}
}
