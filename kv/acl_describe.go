package kv

import (
	"slices"
	"strings"
)

// flagNames are the user's flags as ACL GETUSER shows them.
func (u *User) flagNames() []string {
	list := []string{"off"}
	if u.enabled {
		list[0] = "on"
	}
	if u.nopass {
		list = append(list, "nopass")
	}
	if u.skipSane {
		list = append(list, "skip-sanitize-payload")
	}
	if u.saneSet {
		list = append(list, "sanitize-payload")
	}
	return list
}

// rules describe the user so that the same rules make the same user.
func (u *User) rules(withPasswords bool) string {
	parts := u.flagNames()
	if withPasswords {
		for _, p := range u.passwords {
			parts = append(parts, "#"+p)
		}
	}
	for i, s := range u.selectors {
		text := strings.Join(s.ruleParts(), " ")
		if i > 0 {
			text = "(" + text + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// Line is the user as ACL LIST and an ACL file have it.
func (u *User) Line() string { return "user " + u.Name + " " + u.rules(true) }

func (s *selector) ruleParts() []string {
	var parts []string
	if k := s.keyRules(); k != "" {
		parts = append(parts, k)
	}
	ch := s.channelRules()
	if !s.allChannels {
		ch = strings.TrimRight("resetchannels "+ch, " ")
	}
	return append(parts, ch, s.commandRules())
}

func (s *selector) keyRules() string {
	if s.allKeys {
		return "~*"
	}
	var parts []string
	for _, k := range s.keys {
		switch {
		case k.read && k.write:
			parts = append(parts, "~"+k.pattern)
		case k.read:
			parts = append(parts, "%R~"+k.pattern)
		default:
			parts = append(parts, "%W~"+k.pattern)
		}
	}
	return strings.Join(parts, " ")
}

func (s *selector) channelRules() string {
	if s.allChannels {
		return "&*"
	}
	var parts []string
	for _, c := range s.channels {
		parts = append(parts, "&"+c)
	}
	return strings.Join(parts, " ")
}

// commandRules finds a short description of the allowed commands: all or none, then
// the categories that take it nearest, then single commands until it is exact.
func (s *selector) commandRules() string {
	reached, rest := newSelector(false), s.clone()
	reached.all(s.future)
	sign, base := "+", "-@all"
	if s.future {
		sign, base = "-", "+@all"
	}
	parts := []string{base}
	var used Category
	for {
		best := rest.bestCategory(used, !s.future)
		if best == 0 {
			break
		}
		used |= best
		name := best.Names()[0]
		_ = reached.category(name, !s.future)
		_ = rest.category(name, s.future)
		parts = append(parts, sign+"@"+name)
	}
	return strings.Join(append(parts, s.differences(reached)...), " ")
}

// bestCategory is the category that has the fewest wrong commands and, of these, the
// most right ones; 0 if none has more right ones than wrong ones.
func (s *selector) bestCategory(used Category, add bool) (best Category) {
	fewest, most := 1<<30, 0
	for i := range CategoryNames {
		cat := Category(1) << i
		if used&cat != 0 {
			continue
		}
		same, diff := 0, 0
		for _, cmd := range commands.flat {
			switch {
			case cmd.categories&cat == 0:
			case s.commands.has(cmd.id) == add:
				same++
			default:
				diff++
			}
		}
		if same > diff && (diff < fewest || diff == fewest && same > most) {
			best, fewest, most = cat, diff, same
		}
	}
	return best
}

// differences are the rules for single commands that lead from reached to s.
func (s *selector) differences(reached *selector) (parts []string) {
	for _, cmd := range commands.all {
		if on := s.commands.has(cmd.id); on != reached.commands.has(cmd.id) {
			parts = append(parts, plusMinus(on)+cmd.Name)
			reached.change(cmd, on)
		}
		if args := s.firstArgs[cmd.id]; len(args) > 0 {
			for _, a := range args {
				parts = append(parts, "+"+cmd.Name+"|"+a)
			}
		}
		for _, sub := range cmd.Sub {
			if on := s.commands.has(sub.id); on != reached.commands.has(sub.id) {
				parts = append(parts, plusMinus(on)+sub.Name)
				reached.change(sub, on)
			}
		}
	}
	return parts
}

func plusMinus(on bool) string {
	if on {
		return "+"
	}
	return "-"
}

// Validate parses a line of an ACL file and returns the user's name and rules.
func parseUserLine(line string) (name string, rules [][]byte, ok bool) {
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != "user" {
		return "", nil, false
	}
	for _, r := range f[2:] {
		rules = append(rules, []byte(r))
	}
	return f[1], rules, true
}

// validUserName excludes what would break a line of the ACL file.
func validUserName(name []byte) bool {
	return !slices.ContainsFunc(name, func(c byte) bool { return c == ' ' || c == 0 || c >= '\t' && c <= '\r' })
}
