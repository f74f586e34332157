package transport

import (
	"log/slog"
	"sync"
	"time"
)

// quietFor is how long a repeated complaint is only counted.
const quietFor = 5 * time.Second

// quietLog logs the first of several like complaints at once and the others as
// a count: a port scanner or a dead peer must not fill the disk.
type quietLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string]*complaint
}

type complaint struct {
	last       time.Time
	suppressed int
}

// maxComplaints bounds the memory for keys; beyond it all are forgotten.
const maxComplaints = 256

// warn logs msg unless the same msg and key were logged within quietFor.
func (q *quietLog) warn(msg, key string, args ...any) {
	now := time.Now()
	q.mu.Lock()
	c := q.seen[msg+key]
	if c == nil {
		if len(q.seen) >= maxComplaints {
			clear(q.seen)
		}
		c = &complaint{}
		q.seen[msg+key] = c
	}
	if now.Sub(c.last) < quietFor {
		c.suppressed++
		q.mu.Unlock()
		return
	}
	suppressed := c.suppressed
	*c = complaint{last: now}
	q.mu.Unlock()
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	q.log.Warn(msg, args...)
}
