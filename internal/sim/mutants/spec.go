package mutants

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Mutant is one bug to put in.
type Mutant struct {
	Name  string // the row of RELIABILITY 2, with a letter if it has several: R04b
	Title string
	Prose string
	// Tests are arguments of go test: the packages, and perhaps a -run=, whose
	// tests could notice.
	Tests   []string
	Changes []Change
}

// Row is the row of RELIABILITY 2 that the mutant belongs to.
func (m *Mutant) Row() string { return strings.TrimRight(m.Name, "bcd") }

// InCore reports whether the mutant changes package raftcore.
func (m *Mutant) InCore() bool {
	return slices.ContainsFunc(m.Changes, func(c Change) bool { return strings.HasPrefix(c.File, "raftcore/") })
}

// Change replaces text in one file. Old has to be found exactly Count times.
type Change struct {
	File     string // relative to the module
	Count    int
	Old, New string
}

// ErrStale means that the code a mutant changes is not there, or not as often as
// the specification says.
var ErrStale = errors.New("stale mutant")

//go:embed specs/*.txt
var specs embed.FS

// All returns every mutant, ordered by name.
func All() ([]Mutant, error) {
	names, err := fs.Glob(specs, "specs/*.txt")
	if err != nil {
		return nil, err
	}
	var all []Mutant
	for _, name := range names {
		text, err := specs.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parse(string(text))
		if err == nil && m.Name+".txt" != path.Base(name) {
			err = fmt.Errorf("is about %q", m.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// parse reads a specification:
//
//	R07: title
//
//	prose
//
//	tests: ./raftcore/...
//
//	file raftcore/step_follower.go
//	replace 1
//	old lines
//	with
//	new lines
//	end
func parse(text string) (m Mutant, err error) {
	lines := strings.Split(text, "\n")
	m.Name, m.Title, _ = strings.Cut(lines[0], ": ")
	var file string
	var into *string // the block that lines belong to
	for i, line := range lines[1:] {
		fail := func(what string) (Mutant, error) {
			return m, fmt.Errorf("line %d: %s: %q", i+2, what, line)
		}
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case into == nil && word == "tests:":
			m.Tests = strings.Fields(rest)
		case into == nil && word == "file":
			file = rest
		case into == nil && word == "replace" && file != "":
			count, err := strconv.Atoi(rest)
			if err != nil || count < 1 {
				return fail("a count is expected")
			}
			m.Changes = append(m.Changes, Change{File: file, Count: count})
			into = &m.Changes[len(m.Changes)-1].Old
		case into == nil && file != "" && line != "":
			return fail("a change is expected")
		case into == nil:
			m.Prose += line + "\n"
		case line == "with" && into == &m.Changes[len(m.Changes)-1].Old:
			into = &m.Changes[len(m.Changes)-1].New
		case line == "end" && into == &m.Changes[len(m.Changes)-1].New:
			into = nil
		default:
			if *into != "" {
				*into += "\n"
			}
			*into += line
		}
	}
	m.Prose = strings.TrimSpace(m.Prose)
	switch {
	case into != nil:
		return m, errors.New("a change does not end")
	case m.Name == "" || m.Title == "" || m.Prose == "" || len(m.Tests) == 0 || len(m.Changes) == 0:
		return m, errors.New("name, title, prose, tests or changes are missing")
	}
	return m, nil
}
