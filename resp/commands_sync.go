package resp

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"github.com/rkvdb/rkv/kv"
)

// Those that want one copy of the data (redis-cli --rdb) say REPLCONF rdb-only 1 before
// SYNC, and get an RDB. The others follow (replica.go).

// rdbDumper is the part of a Backend that SYNC needs.
type rdbDumper interface {
	// DumpRDB writes all data, everything acknowledged before the call included, as a
	// file that Redis loads. Before its first byte its errors are in Redis's words.
	DumpRDB(ctx context.Context, w io.Writer) error
}

const errNoSync = "ERR copies of the data are not available here"

// replconf is REPLCONF option value ...: what a client says about itself before SYNC. Who
// follows acknowledges with it, and expects no answer.
func replconf(s *session, args [][]byte, out *kv.Reply) {
	if s.replica != nil {
		return
	}
	if len(args)%2 == 0 {
		out.Error(errSyntax)
		return
	}
	for i := 1; i < len(args); i += 2 {
		switch strings.ToLower(string(cut(args[i], 32))) {
		case "capa", "listening-port", "ip-address", "version", "ack":
		case "rdb-only":
			s.rdbOnly = string(args[i+1]) == "1"
		case "rdb-filter-only":
			if len(args[i+1]) == 0 {
				continue // nothing is to be left out
			}
			out.Error("ERR copies are whole here; FUNCTION DUMP has the functions alone")
			return
		default:
			out.Error("ERR Unrecognized REPLCONF option: " + string(cut(args[i], 128)))
			return
		}
	}
	out.OK()
}

// syncCopy is SYNC and PSYNC. Their reply is no reply of the protocol: $EOF:, a mark of 40
// characters, the file, and the mark again.
func syncCopy(s *session, _ [][]byte, out *kv.Reply) {
	d, ok := s.srv.backend.(rdbDumper)
	if !ok || s.self == nil {
		out.Error(errNoSync)
		return
	}
	c := s.self
	s.async = s.srv.streaming(func(ctx context.Context) (told bool, err error) {
		w := &copyStream{ctx: ctx, c: c}
		b := bufio.NewWriterSize(w, 64<<10)
		if err = d.DumpRDB(ctx, b); err == nil {
			err = b.Flush()
		}
		if err != nil {
			if w.mark != "" {
				c.kill(false) // half a file, and whoever reads it knows
			}
			return w.mark != "", err
		}
		c.push([]byte(w.mark))
		c.kill(true)
		return true, nil
	})
}

// copyStream hands a copy to the connection no faster than the client takes it.
type copyStream struct {
	ctx  context.Context
	c    *client
	mark string // once something was written
}

// copyWindow is how much of a copy waits for a client that does not read.
const copyWindow = 1 << 20

func (w *copyStream) Write(p []byte) (int, error) {
	if w.mark == "" {
		var random [20]byte
		_, _ = rand.Read(random[:])
		w.mark = hex.EncodeToString(random[:])
		w.c.push([]byte("$EOF:" + w.mark + "\r\n"))
	}
	w.c.push(append([]byte(nil), p...))
	for {
		waiting := make(chan int, 1)
		w.c.onLoop(func() { waiting <- w.c.s.unsent() })
		select {
		case <-w.ctx.Done(): // also when the client has gone
			return 0, w.ctx.Err()
		case n := <-waiting:
			if n <= copyWindow {
				return len(p), nil
			}
		}
		select {
		case <-w.ctx.Done():
			return 0, w.ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
