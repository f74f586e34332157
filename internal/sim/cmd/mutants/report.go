package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// report prints the sums. A row of RELIABILITY 2 counts as killed if each of its
// mutants is.
func report(out io.Writer, verdicts []verdict) error {
	broken := 0
	var rows, survivors, unseen []string
	alive := map[string]bool{}
	seen := map[string]bool{} // rows of which every mutant died by a simulator's seed
	seenAll := 0
	for _, v := range verdicts {
		row := v.m.Row()
		if _, known := seen[row]; !known {
			rows = append(rows, row)
			seen[row] = true
		}
		if v.broken != "" {
			broken++
		}
		if !v.killed() {
			alive[row] = true
			survivors = append(survivors, v.m.Name+" "+v.m.Title)
		}
		if v.sim == 0 {
			seen[row] = false
			unseen = append(unseen, v.m.Name)
		} else {
			seenAll++
		}
	}
	bySeeds := 0
	for _, row := range rows {
		if seen[row] {
			bySeeds++
		}
	}
	fmt.Fprintf(out, "by the simulator's seeds: %d/%d rows, %d/%d mutants; it did not notice: %s\n",
		bySeeds, len(rows), seenAll, len(verdicts), orNone(unseen))
	fmt.Fprintf(out, "mutants: %d/%d killed\n", len(rows)-len(alive), len(rows))
	for _, s := range survivors {
		fmt.Fprintln(out, "survived:", s)
	}
	if broken > 0 {
		return errors.New("some mutants do not compile")
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}
