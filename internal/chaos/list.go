package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// list runs transactions (MULTI, EXEC) of appends to lists and reads of whole lists.
// Elements are unique, so a list shows in which order its appends happened.
type list struct {
	keys rotating
}

func (w *list) name() string { return "list" }
func (w *list) workers() int { return 6 }

func (w *list) work(s *session) {
	w.keys.mu.Lock()
	w.keys.prefix, w.keys.width, w.keys.life = "list", 4, 80
	w.keys.mu.Unlock()
	for n := 0; ; n++ {
		var steps []string
		for i := range 1 + s.rng.IntN(4) {
			key := w.keys.next(s.rng.IntN(w.keys.width))
			if s.rng.IntN(2) == 0 {
				steps = append(steps, "r "+key)
			} else {
				steps = append(steps, fmt.Sprintf("a %s %d.%d.%d", key, s.worker, n, i))
			}
		}
		if _, ok := s.do("txn", "", steps, transaction(steps)); !ok {
			return
		}
		s.rest()
	}
}

// transaction returns, for each step, the elements read, by commas; of appends nothing.
func transaction(steps []string) command {
	return func(ctx context.Context, c *redis.Conn) ([]string, error) {
		reads := make([]*redis.StringSliceCmd, len(steps))
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for i, step := range steps {
				if f := strings.Fields(step); f[0] == "r" {
					reads[i] = p.LRange(ctx, f[1], 0, -1)
				} else {
					p.RPush(ctx, f[1], f[2])
				}
			}
			return nil
		})
		if errors.Is(err, redis.TxFailedErr) {
			return nil, errNotDone
		}
		out := make([]string, len(steps))
		for i, r := range reads {
			if r != nil {
				out[i] = strings.Join(r.Val(), ",")
			}
		}
		return out, err
	}
}

func (w *list) final(s *session) {
	for _, key := range w.keys.all() {
		steps := []string{"r " + key}
		s.do("txn", "", steps, transaction(steps))
	}
}

func (w *list) judge(ops []Op) ([]string, int) {
	return checkAppends(ops), 0
}
