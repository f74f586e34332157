package chaos

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// counter increments one counter that all share and one of each worker's own.
type counter struct{}

const sharedCounter = "counter:shared"

func (w *counter) name() string { return "counter" }
func (w *counter) workers() int { return 4 }

func (w *counter) work(s *session) {
	own := fmt.Sprint("counter:", s.worker)
	for {
		key, kind := own, "incr"
		if s.rng.IntN(2) == 0 {
			key = sharedCounter
		}
		if s.rng.IntN(3) == 0 {
			kind = "get"
		}
		run := readString(key)
		if kind == "incr" {
			run = func(ctx context.Context, c *redis.Conn) ([]string, error) {
				v, err := c.Incr(ctx, key).Result()
				return texts(v), err
			}
		}
		if _, ok := s.do(kind, key, nil, run); !ok {
			return
		}
		s.rest()
	}
}

func (w *counter) final(s *session) {
	for i := range w.workers() {
		key := fmt.Sprint("counter:", i)
		s.do("get", key, nil, readString(key))
	}
	s.do("get", sharedCounter, nil, readString(sharedCounter))
}

// judge: no two increments got the same value, values grow with real time, and at the
// end a counter holds at least the acknowledged increments and at most the unknown ones more.
func (w *counter) judge(ops []Op) (violations []string, undecided int) {
	points := map[string][]latest{}
	acked, unknown := map[string]int64{}, map[string]int64{}
	got := map[string]map[int64]bool{}
	for _, op := range ops {
		if op.Kind == "incr" && op.Outcome == Unknown {
			unknown[op.Key]++
		}
		if op.Outcome != OK {
			continue
		}
		v, _ := strconv.ParseInt(op.Out[0], 10, 64) // a missing counter is 0
		points[op.Key] = append(points[op.Key], latest{op.Start, op.End, v, op})
		if op.Kind != "incr" {
			continue
		}
		acked[op.Key]++
		if got[op.Key] == nil {
			got[op.Key] = map[int64]bool{}
		}
		if got[op.Key][v] {
			violations = append(violations, fmt.Sprintf("two increments of %s got %d", op.Key, v))
		}
		got[op.Key][v] = true
	}
	for _, key := range sortedKeys(points) {
		violations = append(violations, backwards(points[key], func(_, later Op) bool { return later.Kind == "incr" })...)
		for _, p := range points[key] {
			if p.op.Worker < 1000 {
				continue
			}
			if p.value < acked[key] {
				violations = append(violations, fmt.Sprintf("%s ends at %d on n%d with %d acknowledged increments", key, p.value, p.op.Node, acked[key]))
			}
			if p.value > acked[key]+unknown[key] {
				violations = append(violations, fmt.Sprintf("%s ends at %d on n%d with only %d acknowledged and %d unknown increments", key, p.value, p.op.Node, acked[key], unknown[key]))
			}
		}
	}
	return violations, 0
}
