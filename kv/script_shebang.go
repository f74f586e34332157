package kv

import "strings"

// scriptFlags are what a script or function declares of itself.
type scriptFlags uint8

const (
	scriptNoWrites scriptFlags = 1 << iota
	scriptAllowOOM
	scriptAllowStale
	scriptNoCluster
	scriptCrossSlot
)

// scriptFlagNames is in the order in which FUNCTION LIST shows them.
var scriptFlagNames = [...]struct {
	flag scriptFlags
	name string
}{
	{scriptNoWrites, "no-writes"}, {scriptAllowOOM, "allow-oom"}, {scriptAllowStale, "allow-stale"},
	{scriptNoCluster, "no-cluster"}, {scriptCrossSlot, "allow-cross-slot-keys"},
}

func scriptFlag(name string) (scriptFlags, bool) {
	for _, f := range scriptFlagNames {
		if f.name == name {
			return f.flag, true
		}
	}
	return 0, false
}

// parseShebang splits "#!lua flags=no-writes,allow-oom" off a script. The line stays
// as an empty one, so that lines keep their numbers.
func parseShebang(body string) (code string, flags scriptFlags, shebang bool, msg string) {
	if !strings.HasPrefix(body, "#!") {
		return body, 0, false, ""
	}
	line, rest, ok := strings.Cut(body, "\n")
	if !ok {
		return "", 0, true, "ERR Invalid script shebang"
	}
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "#!lua" {
		return "", 0, true, "ERR Unexpected engine in script shebang: " + clip([]byte(strings.Join(words[:min(1, len(words))], "")), 128)
	}
	for _, w := range words[1:] {
		list, ok := strings.CutPrefix(w, "flags=")
		if !ok {
			return "", 0, true, "ERR Unknown lua shebang option: " + clip([]byte(w), 128)
		}
		if list == "" {
			continue
		}
		for _, name := range strings.Split(list, ",") {
			f, ok := scriptFlag(name)
			if !ok {
				return "", 0, true, "ERR Unexpected flag in script shebang: " + clip([]byte(name), 128)
			}
			flags |= f
		}
	}
	return "\n" + rest, flags, true, ""
}
