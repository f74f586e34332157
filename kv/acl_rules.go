package kv

import (
	"slices"
	"strings"
)

// Why a rule was refused, in Redis's words.
const (
	aclSyntax      = "Syntax error"
	aclUnknown     = "Unknown command or category name in ACL"
	aclAfterAll    = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
	aclAfterAllCh  = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
	aclNoPassword  = "The password you are trying to remove from the user does not exist"
	aclBadHash     = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
	aclDeepCommand = "Allowing first-arg of a subcommand is not supported"
)

// applyAll applies rules in order; msg is the error reply, "" if all went well.
func (u *User) applyAll(rules [][]byte) (msg string) { return u.applyRules(rules, false) }

func (u *User) applyRules(rules [][]byte, newChannels bool) (msg string) {
	rules, msg = mergeSelectors(rules)
	if msg != "" {
		return msg
	}
	for _, rule := range rules {
		if why := u.apply(string(rule), newChannels); why != "" {
			return "ERR Error in ACL SETUSER modifier '" + clip(rule, 256) + "': " + why
		}
	}
	return ""
}

// mergeSelectors joins "(+get" "~a)" to one rule.
func mergeSelectors(rules [][]byte) (merged [][]byte, msg string) {
	open := -1
	for i, r := range rules {
		if open < 0 && len(r) > 0 && r[0] == '(' && r[len(r)-1] != ')' {
			open = i
			merged = append(merged, slices.Clone(r))
			continue
		}
		if open >= 0 {
			last := len(merged) - 1
			merged[last] = append(append(merged[last], ' '), r...)
			if len(r) > 0 && r[len(r)-1] == ')' {
				open = -1
			}
			continue
		}
		merged = append(merged, r)
	}
	if open >= 0 {
		return nil, "ERR Unmatched parenthesis in acl selector starting at '" + clip(rules[open], 256) + "'."
	}
	return merged, ""
}

// apply applies one rule and returns why it was refused.
func (u *User) apply(rule string, newChannels bool) (why string) {
	u.Changed = true
	low := strings.ToLower(rule)
	switch low {
	case "":
		return ""
	case "on":
		u.enabled = true
	case "off":
		u.enabled = false
	case "nopass":
		u.nopass, u.passwords = true, nil
	case "resetpass":
		u.nopass, u.passwords = false, nil
	case "sanitize-payload":
		u.skipSane, u.saneSet = false, true
	case "skip-sanitize-payload":
		u.skipSane, u.saneSet = true, false
	case "clearselectors":
		u.selectors = u.selectors[:1]
	case "reset":
		*u = *newUser(u.Name, u.ID, newChannels)
		u.Changed = true
	default:
		switch rule[0] {
		case '>', '#', '<', '!':
			return u.password(rule)
		case '(':
			return u.addSelector(rule, newChannels)
		}
		return u.selectors[0].apply(rule)
	}
	return ""
}

// password applies >clear, #hash, <clear and !hash.
func (u *User) password(rule string) (why string) {
	hash := rule[1:]
	if rule[0] == '>' || rule[0] == '<' {
		hash = HashPassword([]byte(hash))
	} else if !validHash(hash) {
		return aclBadHash
	}
	at := slices.Index(u.passwords, hash)
	if rule[0] == '>' || rule[0] == '#' {
		if at < 0 {
			u.passwords = append(u.passwords, hash)
		}
		u.nopass = false
		return ""
	}
	if at < 0 {
		return aclNoPassword
	}
	u.passwords = slices.Delete(u.passwords, at, at+1)
	return ""
}

func validHash(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}

func (u *User) addSelector(rule string, newChannels bool) (why string) {
	if rule[len(rule)-1] != ')' {
		return aclSyntax
	}
	s := newSelector(newChannels)
	for _, r := range strings.Fields(rule[1 : len(rule)-1]) {
		if why := s.apply(r); why != "" {
			return why
		}
	}
	u.selectors = append(u.selectors, s)
	return ""
}

// apply applies a rule about keys, channels or commands.
func (s *selector) apply(rule string) (why string) {
	switch low := strings.ToLower(rule); {
	case low == "allkeys" || low == "~*":
		s.allKeys, s.keys = true, nil
	case low == "resetkeys":
		s.allKeys, s.keys = false, nil
	case low == "allchannels" || low == "&*":
		s.allChannels, s.channels = true, nil
	case low == "resetchannels":
		s.allChannels, s.channels = false, nil
	case low == "allcommands" || low == "+@all":
		s.all(true)
	case low == "nocommands" || low == "-@all":
		s.all(false)
	case rule[0] == '~' || rule[0] == '%':
		return s.addKeys(rule)
	case rule[0] == '&':
		return s.addChannel(rule[1:])
	case strings.HasPrefix(low, "+@"), strings.HasPrefix(low, "-@"):
		return s.category(low[2:], rule[0] == '+')
	case rule[0] == '+':
		return s.allow(low[1:], rule[1:])
	case rule[0] == '-':
		return s.deny(low[1:])
	default:
		return aclSyntax
	}
	return ""
}

func (s *selector) all(on bool) {
	for i := range s.commands {
		s.commands[i] = 0
		if on {
			s.commands[i] = ^uint64(0)
		}
	}
	s.allCommands, s.future, s.firstArgs = on, on, nil
}

func hasBlank(s string) bool { return strings.ContainsAny(s, " \t\n\v\f\r\x00") }

// addKeys is ~pattern or %RW~pattern.
func (s *selector) addKeys(rule string) (why string) {
	if s.allKeys {
		return aclAfterAll
	}
	k := keyPattern{read: true, write: true}
	at := 1
	if rule[0] == '%' {
		k.read, k.write = false, false
		for ; at < len(rule) && rule[at] != '~'; at++ {
			switch rule[at] {
			case 'R', 'r':
				k.read = true
			case 'W', 'w':
				k.write = true
			default:
				return aclSyntax
			}
		}
		if !k.read && !k.write {
			return aclSyntax
		}
		at = min(at+1, len(rule))
	}
	k.pattern = rule[at:]
	if hasBlank(k.pattern) {
		return aclSyntax
	}
	for i := range s.keys {
		if have := &s.keys[i]; have.pattern == k.pattern {
			have.read, have.write = have.read || k.read, have.write || k.write
			return ""
		}
	}
	s.keys = append(s.keys, k)
	return ""
}

func (s *selector) addChannel(pattern string) (why string) {
	switch {
	case s.allChannels:
		return aclAfterAllCh
	case hasBlank(pattern):
		return aclSyntax
	case !slices.Contains(s.channels, pattern):
		s.channels = append(s.channels, pattern)
	}
	return ""
}

func (s *selector) category(name string, on bool) (why string) {
	cat := FindCategory([]byte(name))
	if cat == 0 {
		return aclUnknown
	}
	for _, cmd := range commands.flat {
		if cmd.categories&cat != 0 {
			s.change(cmd, on)
		}
	}
	return ""
}

// change allows or denies a command with its subcommands.
func (s *selector) change(cmd *Command, on bool) {
	s.commands.set(cmd.id, on)
	if !on {
		s.allCommands = false
	}
	delete(s.firstArgs, cmd.id)
	for _, sub := range cmd.Sub {
		s.change(sub, on)
	}
}

// allow is +command, +command|subcommand or +command|first-argument. low is name in
// lower case.
func (s *selector) allow(low, name string) (why string) {
	word, arg, isSub := strings.Cut(low, "|")
	cmd := commands.byName[word]
	if cmd == nil || cmd.parent != nil {
		return aclUnknown
	}
	if !isSub {
		s.change(cmd, true)
		return ""
	}
	if len(cmd.Sub) > 0 {
		if strings.Contains(arg, "|") {
			return aclDeepCommand
		}
		sub := cmd.Subcommand([]byte(arg))
		if sub == nil {
			return aclUnknown
		}
		s.change(sub, true)
		return ""
	}
	if arg == "" {
		return aclSyntax
	}
	if strings.Contains(arg, "|") {
		return aclUnknown
	}
	_, arg, _ = strings.Cut(name, "|") // as it was written
	s.allowFirstArg(cmd.id, arg)
	return ""
}

func (s *selector) allowFirstArg(id int, args ...string) {
	if s.firstArgs == nil {
		s.firstArgs = make(map[int][]string)
	}
	for _, arg := range args {
		if !slices.Contains(s.firstArgs[id], arg) {
			s.firstArgs[id] = append(s.firstArgs[id], arg)
		}
	}
}

func (s *selector) deny(name string) (why string) {
	word, arg, isSub := strings.Cut(name, "|")
	cmd := commands.byName[word]
	if cmd == nil || cmd.parent != nil {
		return aclUnknown
	}
	if isSub {
		if strings.Contains(arg, "|") && len(cmd.Sub) > 0 {
			return aclDeepCommand
		}
		if cmd = cmd.Subcommand([]byte(arg)); cmd == nil {
			return aclUnknown
		}
	}
	s.change(cmd, false)
	return ""
}
