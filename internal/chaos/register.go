package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
)

// register reads, writes, and compares and sets single keys; values are unique.
type register struct {
	keys rotating
	life time.Duration // how long porcupine may take for a key
}

func (w *register) name() string { return "register" }
func (w *register) workers() int { return 6 }

var compareAndSet = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	redis.call('SET', KEYS[1], ARGV[2])
	return 1
end
return 0`)

func (w *register) work(s *session) {
	w.keys.mu.Lock()
	w.keys.prefix, w.keys.width, w.keys.life = "register", 3, 200
	w.keys.mu.Unlock()
	last := "" // what this client believes the register holds
	for n := 0; ; n++ {
		slot := s.rng.IntN(3)
		key := w.keys.next(slot)
		value := fmt.Sprintf("%d.%d", s.worker, n)
		var op Op
		var ok bool
		switch s.rng.IntN(4) {
		case 0, 1:
			op, ok = s.do("get", key, nil, readString(key))
			if op.Outcome == OK {
				last = op.Out[0]
			}
		case 2:
			op, ok = s.do("set", key, []string{value}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
				return nil, c.Set(ctx, key, value, 0).Err()
			})
		default:
			expected := last
			op, ok = s.do("cas", key, []string{expected, value}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
				v, err := eval(ctx, c, compareAndSet, []string{key}, expected, value)
				return []string{fmt.Sprint(v)}, err
			})
		}
		if !ok {
			return
		}
		if op.Outcome == Unknown && op.Kind != "get" {
			w.keys.retire(slot, 30)
		}
		s.rest()
	}
}

// readString is GET; a missing key is an empty string, which nobody writes.
func readString(key string) command {
	return func(ctx context.Context, c *redis.Conn) ([]string, error) {
		v, err := c.Get(ctx, key).Result()
		return []string{v}, err
	}
}

func (w *register) final(s *session) {
	for _, key := range w.keys.all() {
		s.do("get", key, nil, readString(key))
	}
}

// judge lets porcupine look at each key. An unknown write may take effect at any later
// time, so it returns at the end of time; an unknown read says nothing.
func (w *register) judge(ops []Op) (violations []string, undecided int) {
	limit := w.life
	if limit == 0 {
		limit = 30 * time.Second
	}
	byKey := map[string][]porcupine.Operation{}
	for i, op := range ops {
		if op.Outcome == Failed {
			continue
		}
		if op.Outcome == Unknown && op.Kind == "get" {
			continue
		}
		end := int64(op.End)
		if op.Outcome == Unknown {
			end = int64(1) << 62
		}
		// Unknown operations never return, so each needs a client of its own.
		byKey[op.Key] = append(byKey[op.Key], porcupine.Operation{ClientId: i, Input: op, Call: int64(op.Start), Output: op, Return: end})
	}
	for _, key := range sortedKeys(byKey) {
		switch result, _ := porcupine.CheckOperationsVerbose(registerModel, byKey[key], limit); result {
		case porcupine.Illegal:
			violations = append(violations, fmt.Sprintf("%s is not linearizable (%d operations)", key, len(byKey[key])))
		case porcupine.Unknown:
			undecided++
		}
	}
	// Every value read was written by somebody, and not by a refused write.
	return append(violations, ghosts(ops)...), undecided
}

// ghosts finds values that were read but only ever refused, or never written at all.
func ghosts(ops []Op) (violations []string) {
	written := map[string]Outcome{"": OK}
	for _, op := range ops {
		if op.Kind != "get" {
			written[op.In[len(op.In)-1]] = op.Outcome
		}
	}
	for _, op := range ops {
		if op.Kind == "get" && op.Outcome == OK {
			if by, ok := written[op.Out[0]]; !ok || by == Failed {
				violations = append(violations, fmt.Sprintf("%s had %q, whose write was refused or never was", op.Key, op.Out[0]))
			}
		}
	}
	return violations
}

var registerModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		held := state.(string)
		in, out := input.(Op), output.(Op)
		switch in.Kind {
		case "get":
			return out.Out[0] == held, held
		case "set":
			return true, in.In[0]
		}
		swaps := held == in.In[0] && held != ""
		if swaps {
			held = in.In[1]
		}
		if in.Outcome == Unknown {
			return true, held
		}
		return (out.Out[0] == "1") == swaps, held
	},
	DescribeOperation: func(input, output any) string {
		op := output.(Op)
		return fmt.Sprint(op.Kind, " ", strings.Join(op.In, " "), " -> ", op.Out, " ", op.Outcome)
	},
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sortBy is a stable order by a duration.
func sortBy[T any](s []T, by func(T) time.Duration) {
	slices.SortStableFunc(s, func(a, b T) int {
		switch x, y := by(a), by(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}
