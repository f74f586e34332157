package chaos

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// queue pushes numbered elements and pops them, mostly waiting for them.
type queue struct{}

const queues = 2

func queueKey(i int) string { return fmt.Sprint("queue:", i) }

func (w *queue) name() string { return "queue" }
func (w *queue) workers() int { return 6 } // the first two push

func (w *queue) work(s *session) {
	for n := 0; ; n++ {
		var ok bool
		if s.worker < 2 {
			key, element := queueKey(s.rng.IntN(queues)), fmt.Sprintf("%d.%d", s.worker, n)
			_, ok = s.do("push", key, []string{element}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
				v, err := c.RPush(ctx, key, element).Result()
				return texts(v), err
			})
			s.rest()
		} else {
			key := queueKey(s.worker % queues)
			_, ok = s.do("pop", key, nil, func(ctx context.Context, c *redis.Conn) ([]string, error) {
				pair, err := c.BLPop(ctx, time.Second, key).Result()
				if len(pair) == 2 {
					return pair[1:], err
				}
				return nil, err
			})
		}
		if !ok {
			return
		}
	}
}

// final shows what is left; nothing pops any more.
func (w *queue) final(s *session) {
	for i := range queues {
		key := queueKey(i)
		s.do("rest", key, nil, func(ctx context.Context, c *redis.Conn) ([]string, error) {
			return c.LRange(ctx, key, 0, -1).Result()
		})
	}
}

// judge: an element leaves once. An acknowledged one that is neither popped nor left
// must have gone out with a lost reply: there may be no more of them than pops of unknown
// outcome on that queue. Elements of one pusher
// come out in their order, but for those whose push has an unknown outcome: it may take
// effect behind what the pusher did next.
func (w *queue) judge(ops []Op) (violations []string, undecided int) {
	for i := range queues {
		violations = append(violations, judgeQueue(queueKey(i), ops)...)
	}
	return violations, 0
}

func judgeQueue(key string, ops []Op) (violations []string) {
	pushed := map[string]Op{}
	popped := map[string]Op{}
	left := map[int]map[string]bool{}
	var lost []Op // pops whose reply was lost
	order := map[string][]latest{}
	for _, op := range ops {
		switch {
		case op.Key != key:
		case op.Kind == "push":
			pushed[op.In[0]] = op
		case op.Kind == "pop" && op.Outcome == Unknown:
			lost = append(lost, op)
		case op.Kind == "pop" && op.Outcome == OK && len(op.Out) == 1:
			element := op.Out[0]
			if first, twice := popped[element]; twice {
				violations = append(violations, fmt.Sprintf("%s was popped from %s twice: at n%d by %v, at n%d by %v", element, key, first.Node, first.End, op.Node, op.End))
			}
			popped[element] = op
			pusher, number, _ := strings.Cut(element, ".")
			n, _ := strconv.ParseInt(number, 10, 64)
			order[pusher] = append(order[pusher], latest{op.Start, op.End, n, op})
		case op.Kind == "rest" && op.Outcome == OK:
			left[op.Node] = map[string]bool{}
			for _, element := range op.Out {
				left[op.Node][element] = true
			}
		}
	}
	for _, element := range sortedKeys(popped) {
		if by, ok := pushed[element]; !ok || by.Outcome == Failed {
			violations = append(violations, fmt.Sprintf("%s came out of %s, but its push was refused or never was", element, key))
		}
	}
	for _, pusher := range sortedKeys(order) {
		certain := slices.DeleteFunc(order[pusher], func(p latest) bool { return pushed[p.op.Out[0]].Outcome == Unknown })
		violations = append(violations, backwards(certain, func(_, _ Op) bool { return true })...)
	}
	for _, node := range sortedNodes(left) {
		violations = append(violations, judgeRest(key, node, left[node], pushed, popped, lost)...)
	}
	return violations
}

// judgeRest accounts for what a node says is left. Each missing element needs a pop of its
// own whose reply was lost; when is no help, since an unknown pop may take effect late.
func judgeRest(key string, node int, left map[string]bool, pushed, popped map[string]Op, lost []Op) (violations []string) {
	var missing []Op
	for _, element := range sortedKeys(pushed) {
		op := pushed[element]
		_, gone := popped[element]
		if gone && left[element] {
			violations = append(violations, fmt.Sprintf("%s was popped and is still in %s on n%d", element, key, node))
		}
		if op.Outcome == Failed && left[element] {
			violations = append(violations, fmt.Sprintf("%s is in %s on n%d, though its push was refused", element, key, node))
		}
		if op.Outcome == OK && !gone && !left[element] {
			missing = append(missing, op)
		}
	}
	if len(missing) > len(lost) {
		names := []string{}
		for _, op := range missing {
			names = append(names, op.In[0])
		}
		violations = append(violations, fmt.Sprintf("%d acknowledged elements are missing from %s on n%d and only %d pops lost their reply: %v", len(missing), key, node, len(lost), names))
	}
	return violations
}

func sortedNodes(m map[int]map[string]bool) (ids []int) {
	for id := range 1000 {
		if m[id] != nil {
			ids = append(ids, id)
		}
	}
	return ids
}
