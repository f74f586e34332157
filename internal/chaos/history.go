package chaos

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// Outcome is what is known about an operation. There is no fourth kind.
type Outcome string

const (
	OK      Outcome = "ok"      // its reply came
	Failed  Outcome = "failed"  // a definite error: no effect, ever
	Unknown Outcome = "unknown" // perhaps an effect, at any time from the start on
)

// Op is one operation of a history, whatever the workload. Times are since the round began.
type Op struct {
	Worker  int           `json:"worker"`
	Node    int           `json:"node"`
	RESP    int           `json:"resp"`
	Kind    string        `json:"kind"`
	Key     string        `json:"key,omitempty"`
	In      []string      `json:"in,omitempty"`
	Out     []string      `json:"out,omitempty"` // only of OK; meaning by kind
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Err     string        `json:"err,omitempty"`
}

// History collects the operations of one workload in one round, in the order they ended.
type History struct {
	mu  sync.Mutex
	ops []Op
}

func (h *History) add(op Op) {
	h.mu.Lock()
	h.ops = append(h.ops, op)
	h.mu.Unlock()
}

func (h *History) all() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ops
}

// write keeps the history, one JSON object a line.
func (h *History) write(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, op := range h.all() {
		if err := enc.Encode(op); err != nil {
			f.Close()
			return err
		}
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
