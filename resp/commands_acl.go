package resp

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkvdb/rkv/kv"
)

// The parts of ACL that are this node's; what shows or changes users is package kv's.

const errNoACLFile = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration."

func aclHandlers() map[string]handler {
	return map[string]handler{
		"acl|cat":     {run: aclCat, anywhere: true},
		"acl|genpass": {run: aclGenPass, anywhere: true},
		"acl|whoami":  {run: func(s *session, _ [][]byte, out *kv.Reply) { out.BulkString(s.user.Name) }},
		"acl|log":     {run: aclLogCommand},
		"acl|save":    {run: aclSave},
		"acl|load":    {run: aclLoad, alone: true},
		"acl|help":    help("acl"),
	}
}

func aclCat(_ *session, args [][]byte, out *kv.Reply) {
	switch len(args) {
	case 2:
		out.Array(len(kv.CategoryNames))
		for _, n := range kv.CategoryNames {
			out.BulkString(n)
		}
	case 3:
		cat := kv.FindCategory(args[2])
		if cat == 0 {
			out.Error("ERR Unknown category '" + string(cut(args[2], 128)) + "'")
			return
		}
		var names []string
		for _, cmd := range allCommands() {
			for _, c := range append([]*kv.Command{cmd}, cmd.Sub...) {
				if c.Categories()&cat != 0 {
					names = append(names, c.Name)
				}
			}
		}
		out.Array(len(names))
		for _, n := range names {
			out.BulkString(n)
		}
	default:
		out.Error(unknownOrWrong("acl", args[1]))
	}
}

// unknownOrWrong is Redis's reply to a subcommand with too many arguments.
func unknownOrWrong(container string, sub []byte) string {
	return "ERR unknown subcommand or wrong number of arguments for '" + string(cut(sub, 128)) + "'. Try " +
		strings.ToUpper(container) + " HELP."
}

func aclGenPass(_ *session, args [][]byte, out *kv.Reply) {
	bits, msg := passwordBits, ""
	switch len(args) {
	case 2:
	case 3:
		bits, msg = parseBits(args[2])
	default:
		msg = unknownOrWrong("acl", args[1])
	}
	if msg != "" {
		out.Error(msg)
		return
	}
	raw := make([]byte, (bits+7)/8)
	if _, err := rand.Read(raw); err != nil {
		out.Error("ERR no randomness: " + err.Error())
		return
	}
	out.BulkString(hex.EncodeToString(raw)[:(bits+3)/4])
}

// aclLogCommand is ACL LOG [count|RESET].
func aclLogCommand(s *session, args [][]byte, out *kv.Reply) {
	n := int64(10)
	switch len(args) {
	case 2:
	case 3:
		if equalFold(args[2], "reset") {
			s.srv.aclLog.reset()
			out.OK()
			return
		}
		var ok bool
		if n, ok = parseLen(args[2]); !ok {
			out.Error(errNotInt)
			return
		}
	default:
		out.Error(unknownOrWrong("acl", args[1]))
		return
	}
	s.srv.aclLog.reply(int(min(max(n, 0), 1<<30)), s.now, out)
}

// maxACLFile bounds what ACL LOAD reads; it becomes one entry of the log.
const maxACLFile = 8 << 20

// aclSave writes the users as this node knows them.
func aclSave(s *session, args [][]byte, out *kv.Reply) {
	file := s.srv.opt.ACLFile
	if file == "" {
		out.Error(errNoACLFile)
		return
	}
	var b bytes.Buffer
	for _, u := range s.srv.backend.Store().ACL().Users() {
		b.WriteString(u.Line() + "\n")
	}
	if err := writeFile(file, b.Bytes()); err != nil {
		s.srv.log.Warn("ACL SAVE failed", "file", file, "error", err)
		out.Error("ERR There was an error trying to save the ACLs. Please check the server logs for more information")
		return
	}
	out.OK()
}

// writeFile replaces a file: after a crash it is the old or the new one.
func writeFile(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// aclLoad proposes the users of the file to the cluster.
func aclLoad(s *session, _ [][]byte, out *kv.Reply) {
	file := s.srv.opt.ACLFile
	if file == "" {
		out.Error(errNoACLFile)
		return
	}
	lines, msg := readACLFile(file)
	if msg == "" {
		if why := s.acl.ValidateACL(lines); why != "" {
			msg = "ERR " + file + ": " + strings.TrimPrefix(why, "ERR ")
		}
	}
	if msg != "" {
		out.Error(msg + " WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
		return
	}
	s.openChunk().AppendACLLoad(lines)
	s.values, s.endChunk = 1, true
}

// readACLFile returns the lines that describe users, clear passwords as hashes.
func readACLFile(file string) (lines [][]byte, msg string) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, "ERR " + err.Error() + "."
	}
	if info.Size() > maxACLFile {
		return nil, "ERR the ACL file is too large."
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, "ERR " + err.Error() + "."
	}
	for _, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		f := bytes.Fields(line)
		for i, rule := range f {
			if i >= 2 && rule[0] == '>' {
				f[i] = []byte("#" + kv.HashPassword(rule[1:]))
			}
		}
		lines = append(lines, bytes.Join(f, []byte(" ")))
	}
	return lines, ""
}
