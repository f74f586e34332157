package resp

import (
	"fmt"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// handler implements one node-local command of kv's table.
type handler struct {
	// run executes it and appends one value to out, unless it sets the session's
	// async or afterBarrier, or puts something into its chunk: then the reply comes
	// from there. args include the command's name.
	run func(s *session, args [][]byte, out *kv.Reply)
	// anywhere: it neither depends on the data commands before it nor changes how
	// those after it are taken, so it may stand amid a chunk.
	anywhere bool
	// transaction: inside MULTI it is executed, not queued.
	transaction bool
	// alone: it waits for something or changes the connection itself, so it cannot
	// be queued inside MULTI.
	alone bool
	// inExec puts it into an EXEC's group when it changes how the rest of the group
	// is taken (SELECT), or turns it into an operation or a read of the group; then it
	// leaves out empty. nil: it runs while the replies are rendered.
	inExec func(s *session, c *kv.Chunk, args [][]byte, out *kv.Reply)
	// subscriber: a RESP2 client that listens to channels may execute it.
	subscriber bool
	// batched: its reply comes with a batch (session.publishing); in a transaction it
	// is an operation of the log.
	batched bool
	// refusal is the error of a command that is always refused; "" for others.
	refusal string
}

// handlers is the table of node-local commands by their rows.
var handlers map[*kv.Command]*handler

func init() {
	handlers = make(map[*kv.Command]*handler)
	for _, group := range []map[string]handler{
		connectionHandlers(), clientHandlers(), transactionHandlers(), serverHandlers(),
		configHandlers(), commandHandlers(), raftHandlers(), scriptHandlers(),
		pubsubHandlers(), trackingHandlers(), debugHandlers(),
		aclHandlers(), slowlogHandlers(), latencyHandlers(), noClusterHandlers(),
		replicaHandlers(),
	} {
		for name, h := range group {
			if cmd := findRow(name); cmd != nil {
				handlers[cmd] = &h
			}
		}
	}
}

// findRow finds a row by its full name ("config|get").
func findRow(name string) *kv.Command {
	container, sub, isSub := strings.Cut(name, "|")
	cmd := lookup([]byte(container))
	if cmd == nil || !isSub {
		return cmd
	}
	return cmd.Subcommand([]byte(sub))
}

func transactionHandlers() map[string]handler {
	return map[string]handler{
		"multi":   {run: cmdMulti, transaction: true},
		"exec":    {run: cmdExec, transaction: true},
		"discard": {run: cmdDiscard, transaction: true},
		"watch":   {run: cmdWatch, transaction: true},
		"unwatch": {run: cmdUnwatch},
	}
}

// refused answers with an error that says what to do instead.
func refused(msg string) handler {
	return handler{run: func(_ *session, _ [][]byte, out *kv.Reply) { out.Error(msg) }, anywhere: true, refusal: msg}
}

// Answers reports whether clients get an answer to the command, and with which error
// if that is all they ever get.
func Answers(cmd *kv.Command) (ok bool, refusal string) {
	if !cmd.IsLocal() && cmd.Run != nil && cmd.Flags&kv.FlagPubsub == 0 {
		return true, ""
	}
	h := handlers[cmd]
	if h == nil {
		return false, "ERR command '" + cmd.Name + "' is not supported"
	}
	return true, h.refusal
}

// help is the HELP subcommand of a container, made from its rows.
func help(container string) handler {
	return handler{anywhere: true, run: func(_ *session, _ [][]byte, out *kv.Reply) {
		cmd := lookup([]byte(container))
		lines := []string{fmt.Sprintf("%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
			strings.ToUpper(container))}
		for _, sub := range cmd.Sub {
			_, name, _ := strings.Cut(sub.Name, "|")
			lines = append(lines, strings.ToUpper(name), "    "+sub.Summary)
		}
		out.Array(len(lines))
		for _, l := range lines {
			out.Status(l)
		}
	}}
}
