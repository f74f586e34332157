package kv

// maxGlobWork bounds pattern length times text length of one match, about 10 ms.
// Beyond it nothing matches; only patterns of kilobytes with many stars against
// long keys get there.
const maxGlobWork = 4 << 20

// maxGlobStars: more stars than that, each before something else, match nothing, as in
// Redis, which nests its matcher no deeper.
const maxGlobStars = 1000

// matchGlob reports whether the whole text matches a glob pattern with the meaning
// of Redis's stringmatchlen:
//
//   - any bytes, none too        ?  one byte
//     [abc]    one of                     [^abc]  one that is none of
//     [a-z]    a range, in either order   \x      x itself
//
// It takes at most len(pattern) * len(text) steps: a star that failed is not tried
// again from an earlier star, because whatever the earlier one could skip the later
// one can skip as well. (Redis recurses, which is exponential.)
func matchGlob(pattern, text []byte) bool { return globMatch(pattern, text, false) }

// MatchGlob is Redis's pattern match for package resp (CONFIG GET, COMMAND LIST);
// nocase ignores the case of ASCII letters.
func MatchGlob(pattern, text []byte, nocase bool) bool { return globMatch(pattern, text, nocase) }

func globMatch(p, t []byte, nocase bool) bool {
	star, resume := -1, 0 // the last star's end in p, and where in t to try next
	pi, ti := 0, 0
	work, stars := 0, 0
	for ti < len(t) {
		if pi < len(p) && p[pi] == '*' {
			for pi < len(p) && p[pi] == '*' {
				pi++
			}
			if pi == len(p) {
				return true
			}
			if stars++; stars > maxGlobStars {
				return false
			}
			star, resume = pi, ti
			continue
		}
		if pi < len(p) {
			ok, width := matchOne(p[pi:], t[ti], nocase)
			if work += width; work > maxGlobWork {
				return false
			}
			if ok {
				pi += width
				ti++
				continue
			}
		}
		if star < 0 {
			return false
		}
		resume++
		pi, ti = star, resume
		work++
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}

// matchOne matches one byte against the first element of p (not a star) and
// returns the element's width.
func matchOne(p []byte, c byte, nocase bool) (ok bool, width int) {
	switch {
	case p[0] == '?':
		return true, 1
	case p[0] == '[':
		return matchClass(p, c, nocase)
	case p[0] == '\\' && len(p) > 1:
		return fold(p[1], nocase) == fold(c, nocase), 2
	}
	return fold(p[0], nocase) == fold(c, nocase), 1
}

// matchClass matches c against the class that p begins with. As in Redis, a class
// that is not closed ends with the pattern, and the first byte may not be ']'.
func matchClass(p []byte, c byte, nocase bool) (ok bool, width int) {
	i := 1
	not := i < len(p) && p[i] == '^'
	if not {
		i++
	}
	c = fold(c, nocase)
	for ; i < len(p) && p[i] != ']'; i++ {
		switch {
		case p[i] == '\\' && i+1 < len(p):
			i++
			ok = ok || p[i] == c // Redis compares an escaped member case-sensitively
		case i+2 < len(p) && p[i+1] == '-':
			lo, hi := p[i], p[i+2]
			if lo > hi {
				lo, hi = hi, lo
			}
			ok = ok || fold(lo, nocase) <= c && c <= fold(hi, nocase)
			i += 2
		default:
			ok = ok || fold(p[i], nocase) == c
		}
	}
	if i < len(p) {
		i++ // the closing bracket
	}
	return ok != not, i
}

func fold(c byte, nocase bool) byte {
	if nocase && 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
