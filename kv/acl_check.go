package kv

import "strings"

// Denial says why a user may not run a command.
type Denial struct {
	Reason DenialReason
	// Object is the command, key or channel that was denied.
	Object string
	// InScript and InExec tell where the command stood.
	InScript, InExec bool
}

// DenialReason is the kind of a Denial; None means that the command is allowed. The
// order is Redis's: of several selectors the one that came further counts.
type DenialReason uint8

// The reasons.
const (
	DeniedNone DenialReason = iota
	DeniedCommand
	DeniedKey
	DeniedChannel
)

// Error is the reply to a denied command.
func (d *Denial) Error() string {
	switch d.Reason {
	case DeniedCommand:
		return "NOPERM this user has no permissions to run the '" + d.Object + "' command"
	case DeniedKey:
		return "NOPERM this user has no permissions to access one of the keys used as arguments"
	case DeniedChannel:
		return "NOPERM this user has no permissions to access one of the channels used as arguments"
	}
	return ""
}

// execError is the reply for a command of a transaction that was allowed when it was
// queued.
func (d *Denial) execError() string {
	reason := "no permission to execute the command or subcommand"
	switch d.Reason {
	case DeniedKey:
		reason = "no permission to touch the specified keys"
	case DeniedChannel:
		reason = "no permission to access one of the channels used as arguments to the command"
	}
	return "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. " +
		"This command is no longer allowed for the following reason: " + reason
}

func (d *Denial) scriptError() string {
	switch d.Reason {
	case DeniedKey:
		return "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
	case DeniedChannel:
		return "ERR The user executing the script can't publish to the channel mentioned in the command"
	}
	return "ERR The user executing the script can't run this command or subcommand"
}

// Check tells whether the user may run the full command; its arguments include the
// names. It does not look at passwords or whether the user is on.
func (u *User) Check(cmd *Command, args [][]byte) Denial {
	var worst Denial
	at := -1
	var keys []KeyRef
	asked := false
	for _, s := range u.selectors {
		if s.allCommands && s.allKeys && s.allChannels {
			return Denial{}
		}
		if !asked && !s.allKeys {
			keys, _ = cmd.KeyRefs(nil, args)
			asked = true
		}
		d, i := s.check(cmd, args, keys)
		if d.Reason == DeniedNone {
			return d
		}
		if d.Reason > worst.Reason || d.Reason == worst.Reason && i > at {
			worst, at = d, i
		}
	}
	return worst
}

// check also tells which argument was denied.
func (s *selector) check(cmd *Command, args [][]byte, keys []KeyRef) (d Denial, at int) {
	if !s.runs(cmd, args) {
		return Denial{Reason: DeniedCommand, Object: cmd.Name}, 0
	}
	if !s.allKeys {
		for _, k := range keys {
			if !s.key(args[k.Pos], k.Flags) {
				return Denial{Reason: DeniedKey, Object: string(args[k.Pos])}, k.Pos
			}
		}
	}
	if first, last, pattern := channelArgs(cmd, len(args)); first > 0 && !s.allChannels {
		for i := first; i <= last; i++ {
			if !s.channel(args[i], pattern) {
				return Denial{Reason: DeniedChannel, Object: string(args[i])}, i
			}
		}
	}
	return Denial{}, 0
}

func (s *selector) runs(cmd *Command, args [][]byte) bool {
	if s.allCommands || cmd.Flags&FlagNoAuth != 0 || s.commands.has(cmd.id) {
		return true
	}
	if len(args) < 2 {
		return false
	}
	for _, a := range s.firstArgs[cmd.id] {
		if equalFold(strings.ToLower(a), args[1]) {
			return true
		}
	}
	return false
}

func (s *selector) key(key []byte, flags KeyFlag) bool {
	read := flags&KeyAccess != 0
	write := flags&(KeyInsert|KeyDelete|KeyUpdate) != 0
	for i := range s.keys {
		k := &s.keys[i]
		if (!read || k.read) && (!write || k.write) && matchGlob([]byte(k.pattern), key) {
			return true
		}
	}
	return false
}

// channel: a pattern that is subscribed to must be allowed literally, for what it
// matches cannot be known.
func (s *selector) channel(name []byte, pattern bool) bool {
	for _, c := range s.channels {
		if pattern && c == string(name) || !pattern && matchGlob([]byte(c), name) {
			return true
		}
	}
	return false
}

// MayUseChannel reports whether the user may subscribe to a channel, or to a pattern.
func (u *User) MayUseChannel(name []byte, pattern bool) bool {
	for _, s := range u.selectors {
		if s.allChannels || s.channel(name, pattern) {
			return true
		}
	}
	return false
}

// channelArgs tells which arguments of a command are channels; first is 0 if none.
func channelArgs(cmd *Command, argc int) (first, last int, pattern bool) {
	switch cmd.Name {
	case "publish", "spublish":
		return 1, 1, false
	case "subscribe", "ssubscribe":
		return 1, argc - 1, false
	case "psubscribe":
		return 1, argc - 1, true
	}
	return 0, 0, false
}
