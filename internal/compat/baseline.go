package compat

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Baseline is what a real redis-server passes: unit, then name, then how often.
type Baseline map[string]map[string]int

// ReadBaseline reads the form WriteTo writes:
//
//	unit/type/list
//	  LPOS basic usage
//	  2x Explicit regression for a list bug
//
// A line without indentation names a unit; a number before a name says that it passes
// so often in it.
func ReadBaseline(r io.Reader) (Baseline, error) {
	b := Baseline{}
	unit := ""
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] != ' ':
			unit = line
			b[unit] = map[string]int{}
		case unit == "":
			return nil, fmt.Errorf("line %d: a test before the first unit", n)
		default:
			name, times := strings.TrimPrefix(line, "  "), 1
			if head, rest, ok := strings.Cut(name, "x "); ok {
				if k, err := strconv.Atoi(head); err == nil {
					name, times = rest, k
				}
			}
			b[unit][name] = times
		}
	}
	return b, lines.Err()
}

// WriteTo writes the baseline as text, sorted.
func (b Baseline) WriteTo(w io.Writer) (int64, error) {
	var text strings.Builder
	for _, unit := range slices.Sorted(maps.Keys(b)) {
		if len(b[unit]) == 0 {
			continue
		}
		fmt.Fprintln(&text, unit)
		for _, name := range slices.Sorted(maps.Keys(b[unit])) {
			if n := b[unit][name]; n != 1 || strings.Contains(name, "x ") {
				fmt.Fprintf(&text, "  %dx %s\n", n, name)
			} else {
				fmt.Fprintf(&text, "  %s\n", name)
			}
		}
	}
	n, err := io.WriteString(w, text.String())
	return int64(n), err
}

// Score is a comparison with a baseline.
type Score struct {
	Passed, Baseline int
	Missing          []string // "unit: name", what redis-server passes and rkv did not
}

// Percent is 100 if there was nothing to pass.
func (s Score) Percent() float64 {
	if s.Baseline == 0 {
		return 100
	}
	return 100 * float64(s.Passed) / float64(s.Baseline)
}

// Add is the comparison of two sets of units.
func (s *Score) Add(o Score) {
	s.Passed += o.Passed
	s.Baseline += o.Baseline
	s.Missing = append(s.Missing, o.Missing...)
}

// Compare counts what of the baseline of one unit passed. Passing more than
// redis-server does counts for nothing.
func (b Baseline) Compare(unit string, passed map[string]int) Score {
	var s Score
	for _, name := range slices.Sorted(maps.Keys(b[unit])) {
		want := b[unit][name]
		got := min(passed[name], want)
		s.Baseline += want
		s.Passed += got
		if got < want {
			s.Missing = append(s.Missing, unit+": "+name)
		}
	}
	return s
}
