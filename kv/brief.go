package kv

// Brief reports whether an entry's operations take time in proportion to its own
// bytes, whatever the keys hold: every command is flagged fast by Redis, or writes
// nothing but its arguments. Whoever applies such an entry is not held up. It reads
// headers only and never errs: what it cannot read is not brief.
func Brief(body []byte) bool {
	it, err := ParseUnits(body)
	if err != nil {
		return false
	}
	for it.Next() {
		if !briefOps(it.Unit.Data, it.Unit.Ops) {
			return false
		}
	}
	return it.Err() == nil
}

func briefOps(data []byte, ops uint64) bool {
	for ; ops > 0; ops-- {
		code, rest, err := takeUvarint(data)
		if err != nil || code > 0xffff {
			return false
		}
		argc, rest, err := takeUvarint(rest)
		if err != nil || code >= uint64(firstOpcode) && !isBrief(Opcode(code), argc) {
			return false
		}
		for ; argc > 0; argc-- {
			if _, rest, err = takeBytes(rest); err != nil {
				return false
			}
		}
		data = rest
	}
	return true
}

func isBrief(code Opcode, argc uint64) bool {
	cmd := LookupOp(code)
	switch {
	case cmd == nil:
		return false
	case cmd.Flags&FlagFast == 0:
		return briefBesides[cmd.Name]
	}
	return argc < 2 || !takesCount[cmd.Name]
}

var (
	// briefBesides are not flagged fast because they take more than one key or value,
	// or for reasons of history.
	briefBesides = map[string]bool{"set": true, "setex": true, "psetex": true, "mset": true, "msetnx": true}
	// takesCount are flagged fast but remove as many elements as a count says.
	takesCount = map[string]bool{"lpop": true, "rpop": true, "spop": true, "zpopmin": true, "zpopmax": true}
)
