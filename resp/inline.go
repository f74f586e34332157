package resp

// splitInline splits a line into arguments by Redis's rules (sdssplitargs): blanks
// separate; "..." understands \n \r \t \b \a \xHH and \c for any other c; '...' only
// \'; a closing quote must be followed by a blank or the end. ok is false for
// unbalanced quotes.
//
// Plain arguments alias line; quoted ones are unescaped in place (the result is never
// longer than its source), so splitting costs linear time and no memory but dst's.
func splitInline(line []byte, dst [][]byte) (args [][]byte, ok bool) {
	args = dst[:0]
	i := 0
	for {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, true
		}
		start := i
		w := i // the argument is line[start:w]; w <= i always
		for i < len(line) && !isSpace(line[i]) {
			switch line[i] {
			case '"':
				i, w, ok = unquoteDouble(line, i+1, w)
			case '\'':
				i, w, ok = unquoteSingle(line, i+1, w)
			default:
				line[w] = line[i]
				i, w, ok = i+1, w+1, true
			}
			if !ok {
				return args[:0], false
			}
		}
		args = append(args, line[start:w:w])
	}
}

func unquoteDouble(line []byte, i, w int) (int, int, bool) {
	for i < len(line) {
		c := line[i]
		switch {
		case c == '"':
			return closeQuote(line, i+1, w)
		case c == '\\' && i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
			line[w] = hexVal(line[i+2])<<4 | hexVal(line[i+3])
			i += 4
		case c == '\\' && i+1 < len(line):
			line[w] = unescape(line[i+1])
			i += 2
		default:
			line[w] = c
			i++
		}
		w++
	}
	return i, w, false
}

func unquoteSingle(line []byte, i, w int) (int, int, bool) {
	for i < len(line) {
		c := line[i]
		switch {
		case c == '\'':
			return closeQuote(line, i+1, w)
		case c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			line[w] = '\''
			i += 2
		default:
			line[w] = c
			i++
		}
		w++
	}
	return i, w, false
}

// closeQuote accepts a closing quote only at the end of an argument.
func closeQuote(line []byte, i, w int) (int, int, bool) {
	return i, w, i == len(line) || isSpace(line[i])
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// isSpace is C's isspace in the "C" locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexVal(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
