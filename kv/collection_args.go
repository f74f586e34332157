package kv

// positiveArg is argument i as a count of at least 0; else it replies an error.
func (c *Ctx) positiveArg(i int) (n int, ok bool) {
	v, ok := parseInt(c.Args[i])
	if !ok || v < 0 {
		c.Out.Error("ERR value is out of range, must be positive")
		return 0, false
	}
	return int(v), true
}

// rangeArgs are the arguments i and i+1 as start and stop; else it replies an
// error.
func (c *Ctx) rangeArgs(i int) (start, stop int64, ok bool) {
	if start, ok = c.intArg(i); !ok {
		return 0, 0, false
	}
	stop, ok = c.intArg(i + 1)
	return start, stop, ok
}

// rankRange turns start and stop, both inclusive and counted from the end when
// negative, into ranks lo <= r < hi among n; lo == hi if there are none.
func rankRange(start, stop int64, n int) (lo, hi int) {
	size := int64(n)
	if start < 0 {
		start = max(start+size, 0)
	}
	if stop < 0 {
		stop += size
	}
	if start > stop || start >= size {
		return 0, 0
	}
	return int(start), int(min(stop, size-1)) + 1
}

// rankOf turns an index, counted from the end when negative, into a rank.
func rankOf(index int64, n int) (rank int, inside bool) {
	if index < 0 {
		index += int64(n)
	}
	if index < 0 || index >= int64(n) {
		return 0, false
	}
	return int(index), true
}

// mpopArgs reads numkeys key [key ...] WHERE [COUNT count] of LMPOP, ZMPOP and their
// blocking forms, from argument at on: where is the index in words of the direction. If ok is false the error was
// replied.
func (c *Ctx) mpopArgs(at int, words ...string) (keys [][]byte, where, count int, ok bool) {
	n, isInt := parseInt(c.Args[at])
	if !isInt || n <= 0 {
		c.Out.Error("ERR numkeys should be greater than 0")
		return nil, 0, 0, false
	}
	if n > int64(len(c.Args)-at-2) {
		c.syntaxError()
		return nil, 0, 0, false
	}
	keys, rest := c.Args[at+1:int64(at)+1+n], c.Args[int64(at)+1+n:]
	for where = 0; where < len(words) && !is(rest[0], words[where]); where++ {
	}
	if where == len(words) {
		c.syntaxError()
		return nil, 0, 0, false
	}
	for rest = rest[1:]; len(rest) > 0; rest = rest[2:] {
		if count > 0 || len(rest) == 1 || !is(rest[0], "count") {
			c.syntaxError()
			return nil, 0, 0, false
		}
		limit, isInt := parseInt(rest[1])
		if !isInt || limit <= 0 {
			c.Out.Error("ERR count should be greater than 0")
			return nil, 0, 0, false
		}
		count = int(limit)
	}
	return keys, where, max(count, 1), true
}

// numKeysAt1 finds the keys of a command whose first argument is their number.
func numKeysAt1(args [][]byte) (keys []int, ok bool) { return numKeys(args, 1, nil) }

// numKeysAt2 finds the keys of a command whose second argument is their number.
func numKeysAt2(args [][]byte) (keys []int, ok bool) { return numKeys(args, 2, nil) }

// destAndNumKeys finds the keys of NAME destination numkeys key [key ...].
func destAndNumKeys(args [][]byte) (keys []int, ok bool) { return numKeys(args, 2, []int{1}) }

func numKeys(args [][]byte, at int, keys []int) ([]int, bool) {
	if len(args) <= at {
		return nil, false
	}
	n, ok := parseInt(args[at])
	if !ok || n <= 0 || n > int64(len(args)-at-1) {
		return nil, false
	}
	for i := range int(n) {
		keys = append(keys, at+1+i)
	}
	return keys, true
}
