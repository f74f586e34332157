package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// lock takes and gives back a lock that expires, with a fencing number.
type lock struct{}

const (
	lockKey   = "lock:it"
	lockLives = 800 * time.Millisecond
)

func (w *lock) name() string { return "lock" }
func (w *lock) workers() int { return 4 }

var lockScript = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
	return redis.call('INCR', KEYS[2])
end
return 0`)

var unlockScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('DEL', KEYS[1])
end
return 0`)

func (w *lock) work(s *session) {
	for n := 0; ; n++ {
		token := fmt.Sprintf("%d.%d", s.worker, n)
		op, ok := s.do("lock", lockKey, []string{token}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
			v, err := eval(ctx, c, lockScript, []string{lockKey, "lock:fence"}, token, lockLives.Milliseconds())
			return []string{fmt.Sprint(v)}, err
		})
		if ok && op.Outcome == OK && op.Out[0] != "0" {
			// Some hold it until it expires, and some longer than they may.
			s.pause(time.Duration(s.rng.IntN(60)) * time.Millisecond)
			if s.rng.IntN(10) > 0 {
				_, ok = s.do("unlock", lockKey, []string{token}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
					v, err := eval(ctx, c, unlockScript, []string{lockKey}, token)
					return []string{fmt.Sprint(v)}, err
				})
			}
		}
		if !ok {
			return
		}
		s.pause(10 * time.Millisecond)
	}
}

func (w *lock) final(s *session) {
	s.do("get", "lock:fence", nil, func(ctx context.Context, c *redis.Conn) ([]string, error) {
		v, err := c.Get(ctx, "lock:fence").Result()
		if errors.Is(err, redis.Nil) {
			v, err = "0", nil
		}
		return []string{v}, err
	})
}

// judge: while a lock is surely held (from its reply until its release was asked for, or
// it could expire) nobody else gets it, and fencing numbers grow with real time.
func (w *lock) judge(ops []Op) (violations []string, undecided int) {
	var points []latest
	var taken []Op
	until := map[string]time.Duration{}
	granted := int64(0)
	for _, op := range ops {
		switch {
		case op.Kind == "unlock":
			until[op.In[0]] = op.Start
		case op.Kind == "lock" && op.Outcome == OK && op.Out[0] != "0":
			fence, _ := strconv.ParseInt(op.Out[0], 10, 64)
			taken = append(taken, op)
			points = append(points, latest{op.Start, op.End, fence, op})
			granted++
		case op.Kind == "get" && op.Outcome == OK:
			fence, _ := strconv.ParseInt(op.Out[0], 10, 64)
			points = append(points, latest{op.Start, op.End, fence, op})
			if fence < granted {
				violations = append(violations, fmt.Sprintf("n%d has fencing number %d after %d grants", op.Node, fence, granted))
			}
		}
	}
	violations = append(violations, backwards(points, func(_, later Op) bool { return later.Kind == "lock" })...)
	sortBy(taken, func(op Op) time.Duration { return op.Start })
	for i, a := range taken {
		end := a.Start + lockLives - ttlSlack
		if released, ok := until[a.In[0]]; ok {
			end = min(end, released)
		}
		for _, b := range taken[i+1:] {
			if b.Start > end {
				break
			}
			if b.Start > a.End && b.End < end {
				violations = append(violations, fmt.Sprintf("n%d gave the lock to %s from %v to %v, while %s held it from %v to %v", b.Node, b.In[0], b.Start, b.End, a.In[0], a.End, end))
			}
		}
	}
	return violations, 0
}
