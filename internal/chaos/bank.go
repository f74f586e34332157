package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// bank moves money between accounts, by script and by WATCH with MULTI, and notes every
// transfer in a ledger within the same step.
type bank struct{}

const (
	accounts   = 6
	oneAccount = 100 // what each account holds at first; SETNX makes it so
	ledger     = "bank:ledger"
)

func (w *bank) name() string { return "bank" }
func (w *bank) workers() int { return 4 }

func account(i int) string { return fmt.Sprint("bank:", i) }

func accountKeys() (keys []string) {
	for i := range accounts {
		keys = append(keys, account(i))
	}
	return keys
}

// An account that is not there yet holds its first amount: nobody has to open them all
// before the others begin.
var transferScript = redis.NewScript(`
local from = tonumber(redis.call('GET', KEYS[1]) or ARGV[4])
local to = tonumber(redis.call('GET', KEYS[2]) or ARGV[4])
if from < tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], from - ARGV[1])
redis.call('SET', KEYS[2], to + ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[2])
return 1`)

func (w *bank) work(s *session) {
	for n := 0; ; n++ {
		from, to := s.rng.IntN(accounts), s.rng.IntN(accounts-1)
		if to >= from {
			to++
		}
		amount := 1 + s.rng.IntN(20)
		id := fmt.Sprintf("%d.%d:%d>%d:%d", s.worker, n, from, to, amount)
		var ok bool
		switch s.rng.IntN(3) {
		case 0:
			_, ok = s.do("total", "", nil, total)
		case 1:
			_, ok = s.do("transfer-eval", "", []string{id}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
				v, err := eval(ctx, c, transferScript, []string{account(from), account(to), ledger}, amount, id, "", oneAccount)
				return []string{fmt.Sprint(v)}, err
			})
		default:
			_, ok = s.do("transfer-watch", "", []string{id}, func(ctx context.Context, c *redis.Conn) ([]string, error) {
				return watchTransfer(ctx, c, account(from), account(to), amount, id)
			})
		}
		if !ok {
			return
		}
		s.rest()
	}
}

// watchTransfer reads both balances under WATCH and writes them in a transaction.
func watchTransfer(ctx context.Context, c *redis.Conn, from, to string, amount int, id string) ([]string, error) {
	if err := c.Do(ctx, "WATCH", from, to).Err(); err != nil {
		return nil, err
	}
	held, err := c.MGet(ctx, from, to).Result()
	if err != nil {
		return nil, errors.Join(err, c.Do(ctx, "UNWATCH").Err())
	}
	balance := func(v any) int {
		text, ok := v.(string)
		if !ok {
			return oneAccount
		}
		n, _ := strconv.Atoi(text)
		return n
	}
	a, b := balance(held[0]), balance(held[1])
	if a < amount {
		return []string{"0"}, c.Do(ctx, "UNWATCH").Err()
	}
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, from, a-amount, 0)
		p.Set(ctx, to, b+amount, 0)
		p.RPush(ctx, ledger, id)
		return nil
	})
	if errors.Is(err, redis.TxFailedErr) {
		return nil, errNotDone
	}
	return []string{"1"}, err
}

func total(ctx context.Context, c *redis.Conn) ([]string, error) {
	held, err := c.MGet(ctx, accountKeys()...).Result()
	return balances(held), err
}

func balances(held []any) (out []string) {
	for _, v := range held {
		if v == nil {
			v = strconv.Itoa(oneAccount)
		}
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// final reads balances and ledger at one point.
func (w *bank) final(s *session) {
	s.do("total", "", nil, total)
	s.do("ledger", "", nil, func(ctx context.Context, c *redis.Conn) ([]string, error) {
		return c.LRange(ctx, ledger, 0, -1).Result()
	})
}

// judge: every total is the same; the ledger has each acknowledged transfer once, no
// refused one, unknown ones at most once; the final balances are what the ledger says.
func (w *bank) judge(ops []Op) (violations []string, undecided int) {
	outcome := map[string]Outcome{}
	final := map[int][]string{}
	for _, op := range ops {
		switch {
		case strings.HasPrefix(op.Kind, "transfer"):
			outcome[op.In[0]] = op.Outcome
			if op.Outcome == OK && op.Out[0] != "1" {
				outcome[op.In[0]] = Failed
			}
		case op.Kind == "total" && op.Outcome == OK:
			sum := 0
			for _, text := range op.Out {
				n, err := strconv.Atoi(text)
				if err != nil || n < 0 {
					violations = append(violations, fmt.Sprintf("an account holds %q at n%d", text, op.Node))
				}
				sum += n
			}
			if sum != accounts*oneAccount {
				violations = append(violations, fmt.Sprintf("the total was %d at n%d from %v to %v: %v", sum, op.Node, op.Start, op.End, op.Out))
			}
			if op.Worker >= 1000 {
				final[op.Node] = op.Out
			}
		case op.Kind == "ledger" && op.Outcome == OK:
			violations = append(violations, judgeLedger(op, outcome, final[op.Node])...)
		}
	}
	return violations, 0
}

func judgeLedger(op Op, outcome map[string]Outcome, final []string) (violations []string) {
	seen := map[string]int{}
	held := make([]int, accounts)
	for i := range held {
		held[i] = oneAccount
	}
	for _, id := range op.Out {
		seen[id]++
		var from, to, amount int
		_, route, _ := strings.Cut(id, ":")
		if _, err := fmt.Sscanf(route, "%d>%d:%d", &from, &to, &amount); err != nil {
			violations = append(violations, fmt.Sprintf("the ledger of n%d has %q", op.Node, id))
			continue
		}
		held[from] -= amount
		held[to] += amount
	}
	for _, id := range sortedKeys(outcome) {
		n := seen[id]
		if how := outcome[id]; n > 1 || how == OK && n == 0 || how == Failed && n > 0 {
			violations = append(violations, fmt.Sprintf("transfer %s, outcome %s, is %d times in the ledger of n%d", id, how, n, op.Node))
		}
	}
	if got := fmt.Sprint(texts(held...)); final != nil && got != fmt.Sprint(final) {
		violations = append(violations, fmt.Sprintf("n%d holds %v, its ledger says %v", op.Node, final, got))
	}
	return violations
}
