package kv

import "testing"

// sort makes random SORTs, and what they sort.
func (g commandGen) sort() []string {
	if g.IntN(3) > 0 {
		switch g.IntN(8) {
		case 0, 1:
			return cmd("RPUSH src", g.num(-9, 30), g.num(-9, 30), g.pick("1.5", "1e1", "0x1f", "7", ""))
		case 2:
			return cmd("SADD src", g.num(-9, 30), g.num(-9, 30))
		case 3:
			return cmd("ZADD src", g.num(0, 5), g.num(-9, 30), g.num(0, 5), g.num(-9, 30))
		case 4, 5:
			return cmd("SET", "w_"+g.num(-9, 30), g.pick("1", "2", "3.5", "-1", "9"))
		case 6:
			return cmd("HSET", "h_"+g.num(-9, 30), "f", g.num(0, 9))
		}
		return cmd(g.pick("DEL src", "RPUSH src x", "LPOP src", "SPOP none"))
	}
	args := cmd(g.pick("SORT src", "SORT src", "SORT_RO src", "SORT missing"))
	// Ties are ordered by nothing in Redis when ALPHA and BY meet: not asked for.
	by := g.pick("", "", "BY w_*", "BY h_*->f")
	args = append(args, cmd(by)...)
	if by == "" {
		args = append(args, cmd(g.pick("", "ALPHA"))...)
	}
	args = append(args, cmd(g.pick("", "DESC", "ASC"))...)
	args = append(args, cmd(g.pick("", "", "LIMIT "+g.num(-2, 5)+" "+g.num(-2, 9)))...)
	for range g.IntN(3) {
		args = append(args, "GET", g.pick("#", "w_*", "h_*->f", "h_*", "x", "*"))
	}
	if g.IntN(4) == 0 {
		args = append(args, "STORE", "dst")
	}
	return args
}

func TestRandomSortsAgainstRedis(t *testing.T) {
	runRandomCommands(t, startRedis(t), 8, func(g commandGen) []string {
		if g.IntN(10) == 0 {
			return cmd("LRANGE dst 0 -1")
		}
		return g.sort()
	})
}
