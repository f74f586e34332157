package chaos

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ttl sets keys that expire, once each, and watches them from all nodes.
type ttl struct {
	mu     sync.Mutex
	recent []string
	n      int
}

func (w *ttl) name() string { return "ttl" }
func (w *ttl) workers() int { return 4 } // the first one sets

func (w *ttl) work(s *session) {
	for {
		var ok bool
		if s.worker == 0 {
			ok = w.set(s)
			s.pause(40 * time.Millisecond)
		} else {
			key := w.some(s)
			if key != "" {
				_, ok = s.do("get", key, nil, readString(key))
			} else {
				ok = s.r.workCtx.Err() == nil
			}
			s.rest()
		}
		if !ok {
			return
		}
	}
}

func (w *ttl) set(s *session) bool {
	w.mu.Lock()
	w.n++
	key := fmt.Sprint("ttl:", w.n)
	w.recent = append(w.recent, key)
	if len(w.recent) > 40 {
		w.recent = w.recent[1:]
	}
	w.mu.Unlock()
	lives := time.Duration(200+s.rng.IntN(1500)) * time.Millisecond
	_, ok := s.do("set", key, texts(lives.Milliseconds()), func(ctx context.Context, c *redis.Conn) ([]string, error) {
		return nil, c.Set(ctx, key, "here", lives).Err()
	})
	return ok
}

func (w *ttl) some(s *session) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.recent) == 0 {
		return ""
	}
	return w.recent[s.rng.IntN(len(w.recent))]
}

func (w *ttl) final(s *session) {
	for i := max(1, w.n-20); i <= w.n; i++ {
		key := fmt.Sprint("ttl:", i)
		s.do("get", key, nil, readString(key))
	}
}

// ttlSlack is for the rounding of stamps to milliseconds.
const ttlSlack = 2 * time.Millisecond

// judge knows for each key from when to when it must be there, and from when on it must
// not. All clocks are one machine's.
func (w *ttl) judge(ops []Op) (violations []string, undecided int) {
	sets := map[string]Op{}
	reads := map[string][]Op{}
	for _, op := range ops {
		if op.Kind == "set" {
			sets[op.Key] = op
		} else if op.Outcome == OK {
			reads[op.Key] = append(reads[op.Key], op)
		}
	}
	for _, key := range sortedKeys(reads) {
		set, ok := sets[key]
		if !ok {
			continue // the round ended while it was set
		}
		ms, _ := strconv.ParseInt(set.In[0], 10, 64)
		violations = append(violations, judgeTTL(key, set, time.Duration(ms)*time.Millisecond, reads[key])...)
	}
	return violations, 0
}

func judgeTTL(key string, set Op, lives time.Duration, reads []Op) (violations []string) {
	tell := func(op Op, what string) {
		violations = append(violations, fmt.Sprintf("%s %s at n%d: read from %v to %v, set (%s) from %v to %v for %v", key, what, op.Node, op.Start, op.End, set.Outcome, set.Start, set.End, lives))
	}
	gone := time.Duration(1 << 62) // since when somebody knows it expired
	sortBy(reads, func(op Op) time.Duration { return op.End })
	for _, op := range reads {
		here := op.Out[0] != ""
		switch {
		case here && set.Outcome == Failed:
			tell(op, "is there though SET was refused")
		case here && set.Outcome == OK && op.Start > set.End+lives+ttlSlack:
			tell(op, "was read after it was due")
		case here && op.Start > gone:
			tell(op, "came back")
		case !here && set.Outcome == OK && op.Start > set.End && op.End < set.Start+lives-ttlSlack:
			tell(op, "expired early")
		}
		if !here && set.Outcome == OK && op.Start > set.End {
			gone = min(gone, op.End)
		}
	}
	return violations
}
