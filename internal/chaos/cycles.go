package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// appends judges a history of transactions over lists for strict serializability, in the
// way of Elle (Kingsbury and Alvaro, 2020): reads of append-only lists reveal the order
// of versions of each key, versions reveal who depended on whom, and a cycle of
// dependencies is a history that no order of transactions explains.
//
// Edges, all meaning "must come before":
//
//	ww  the writer of an element, the writer of the next one
//	wr  the writer of the last element read, the reader
//	rw  the reader, the writer of the element behind those it read
//	rt  a transaction that ended, every one that began later
type appends struct {
	txns     []txn
	byValue  map[string]int      // element (unique over all keys): index into txns
	versions map[string][]string // key: its longest read
	problems []string
}

type txn struct {
	op    Op
	steps []step
}

type step struct {
	read     bool
	key      string
	value    string   // of an append
	elements []string // of a read; nil if the outcome is not known
}

// checkAppends returns everything that is wrong with the history.
func checkAppends(ops []Op) []string {
	a := &appends{byValue: map[string]int{}, versions: map[string][]string{}}
	for _, op := range ops {
		a.parse(op)
	}
	a.order()
	for i := range a.txns {
		a.readsOf(i)
	}
	a.lostAndTorn()
	a.cycles()
	return a.problems
}

func (a *appends) tell(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

func (a *appends) parse(op Op) {
	t := txn{op: op}
	for i, text := range op.In {
		f := strings.Fields(text)
		s := step{read: f[0] == "r", key: f[1]}
		if s.read && op.Outcome == OK {
			s.elements = []string{}
			if op.Out[i] != "" {
				s.elements = strings.Split(op.Out[i], ",")
			}
		} else if !s.read {
			s.value = f[2]
			a.byValue[s.value] = len(a.txns)
		}
		t.steps = append(t.steps, s)
	}
	a.txns = append(a.txns, t)
}

// order finds each key's versions. All reads of a key must be prefixes of the longest.
func (a *appends) order() {
	a.eachRead(func(_ int, s step) {
		if len(s.elements) > len(a.versions[s.key]) {
			a.versions[s.key] = s.elements
		}
	})
	for _, key := range sortedKeys(a.versions) {
		seen := map[string]bool{}
		for _, v := range a.versions[key] {
			if seen[v] {
				a.tell("%s has %s twice", key, v)
			}
			seen[v] = true
			if by, ok := a.byValue[v]; !ok {
				a.tell("%s has %s, which nobody wrote", key, v)
			} else if a.txns[by].op.Outcome == Failed {
				a.tell("%s has %s of a transaction that was refused: %s", key, v, a.txns[by].op.Err)
			}
		}
	}
	a.eachRead(func(i int, s step) {
		if !slices.Equal(s.elements, a.versions[s.key][:len(s.elements)]) {
			a.tell("two orders of %s: %v and %v", s.key, s.elements, a.versions[s.key])
		}
	})
}

func (a *appends) eachRead(do func(txn int, s step)) {
	for i, t := range a.txns {
		for _, s := range t.steps {
			if s.elements != nil {
				do(i, s)
			}
		}
	}
}

// readsOf looks inside a transaction: it sees its own appends at once, and of others
// all or nothing (a read that ends within another's appends to the key is intermediate).
func (a *appends) readsOf(i int) {
	own := map[string][]string{}
	foreign := map[string]int{} // key: how many elements were there before its own; -1: not read yet
	for _, s := range a.txns[i].steps {
		if !s.read {
			own[s.key] = append(own[s.key], s.value)
			continue
		}
		if s.elements == nil {
			continue
		}
		mine := own[s.key]
		before := len(s.elements) - len(mine)
		if before < 0 || !slices.Equal(s.elements[before:], mine) {
			a.tell("transaction %v does not see its own appends: %v", a.txns[i].op.In, s.elements)
			continue
		}
		if was, ok := foreign[s.key]; ok && was != before {
			a.tell("transaction %v read %s twice, differently", a.txns[i].op.In, s.key)
		}
		foreign[s.key] = before
		if before == 0 || before >= len(a.versions[s.key]) {
			continue
		}
		last, next := a.versions[s.key][before-1], a.versions[s.key][before]
		if x, ok := a.byValue[last]; ok && x != i && len(mine) == 0 {
			if y, ok := a.byValue[next]; ok && x == y {
				a.tell("%s was read at %v between two appends of one transaction, %v", s.key, last, a.txns[x].op.In)
			}
		}
	}
}

// lostAndTorn compares with the end state: acknowledged appends are there, unknown
// transactions are there with all their appends or none.
func (a *appends) lostAndTorn() {
	for i, t := range a.txns {
		there, missing := []string{}, []string{}
		for _, s := range t.steps {
			if s.read {
				continue
			}
			if slices.Contains(a.versions[s.key], s.value) {
				there = append(there, s.value)
			} else {
				missing = append(missing, s.value)
			}
		}
		if t.op.Outcome == OK && len(missing) > 0 {
			a.tell("acknowledged appends are lost: %v of %v at n%d", missing, t.op.In, t.op.Node)
		}
		if t.op.Outcome == Unknown && len(there) > 0 && len(missing) > 0 {
			a.tell("a transaction is there in part: %v of %v, not %v", there, a.txns[i].op.In, missing)
		}
	}
}

// graph has a vertex for each transaction and one for each end of a transaction: a
// chain of ends keeps the edges of real time few.
type graph struct {
	edges [][]edge
}

type edge struct {
	to   int
	kind string
}

func (g *graph) add(from, to int, kind string) {
	if from != to {
		g.edges[from] = append(g.edges[from], edge{to, kind})
	}
}

func (a *appends) cycles() {
	g := &graph{edges: make([][]edge, len(a.txns), 2*len(a.txns))}
	a.dependencies(g)
	a.realTime(g)
	for _, component := range g.components() {
		var members []int
		for _, v := range component {
			if v < len(a.txns) {
				members = append(members, v)
			}
		}
		if len(members) > 1 {
			a.tell("%s", a.story(g, members))
		}
	}
}

func (a *appends) dependencies(g *graph) {
	for _, key := range sortedKeys(a.versions) {
		versions := a.versions[key]
		for i := 1; i < len(versions); i++ {
			if x, ok := a.byValue[versions[i-1]]; ok {
				if y, ok := a.byValue[versions[i]]; ok {
					g.add(x, y, "ww "+key)
				}
			}
		}
	}
	for i, t := range a.txns {
		appended := map[string]bool{}
		for _, s := range t.steps {
			appended[s.key] = appended[s.key] || !s.read
			if s.elements == nil || appended[s.key] {
				continue
			}
			versions := a.versions[s.key]
			if n := len(s.elements); n > 0 {
				if x, ok := a.byValue[s.elements[n-1]]; ok {
					g.add(x, i, "wr "+s.key)
				}
			}
			if n := len(s.elements); n < len(versions) {
				if x, ok := a.byValue[versions[n]]; ok {
					g.add(i, x, "rw "+s.key)
				}
			}
		}
	}
}

// realTime threads the ends of transactions on a chain: each points at its place, and
// whoever began behind a place is pointed at by it. Unknown ones never end.
func (a *appends) realTime(g *graph) {
	var ends, begins []int
	for i, t := range a.txns {
		if t.op.Outcome == OK {
			ends = append(ends, i)
		}
		if t.op.Outcome != Failed {
			begins = append(begins, i)
		}
	}
	sortBy(ends, func(i int) time.Duration { return a.txns[i].op.End })
	sortBy(begins, func(i int) time.Duration { return a.txns[i].op.Start })
	done := 0
	for _, b := range begins {
		for ; done < len(ends) && a.txns[ends[done]].op.End < a.txns[b].op.Start; done++ {
			place := len(g.edges)
			g.edges = append(g.edges, nil)
			g.add(ends[done], place, "rt")
			if done > 0 {
				g.add(place-1, place, "rt")
			}
		}
		if done > 0 {
			g.add(len(g.edges)-1, b, "rt")
		}
	}
}

// components are the strongly connected ones of more than one vertex (Tarjan 1972,
// without recursion: a chain of real time is as long as the history).
func (g *graph) components() (found [][]int) {
	n := len(g.edges)
	index, low, onStack := make([]int, n), make([]int, n), make([]bool, n)
	var stack []int
	next := 1
	type frame struct{ v, edge int }
	for root := range n {
		if index[root] != 0 {
			continue
		}
		frames := []frame{{root, 0}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			v := f.v
			if f.edge == 0 && index[v] == 0 {
				index[v], low[v] = next, next
				next++
				stack, onStack[v] = append(stack, v), true
			}
			if f.edge < len(g.edges[v]) {
				to := g.edges[v][f.edge].to
				f.edge++
				if index[to] == 0 {
					frames = append(frames, frame{to, 0})
				} else if onStack[to] {
					low[v] = min(low[v], index[to])
				}
				continue
			}
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				up := frames[len(frames)-1].v
				low[up] = min(low[up], low[v])
			}
			if low[v] != index[v] {
				continue
			}
			var component []int
			for {
				w := stack[len(stack)-1]
				stack, onStack[w] = stack[:len(stack)-1], false
				component = append(component, w)
				if w == v {
					break
				}
			}
			if len(component) > 1 {
				found = append(found, component)
			}
		}
	}
	return found
}

// story shows a shortest cycle through the first member, for a person to follow.
func (a *appends) story(g *graph, members []int) string {
	start := slices.Min(members)
	type came struct {
		from int
		kind string
	}
	from := map[int]came{}
	queue := []int{start}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, e := range g.edges[v] {
			if e.to == start {
				lines := []string{fmt.Sprintf("-%s-> the first", e.kind)}
				for ; v != start; v = from[v].from {
					if v < len(a.txns) {
						t := a.txns[v].op
						lines = append(lines, fmt.Sprintf("-%s-> %v = %v (n%d, %v to %v)", from[v].kind, t.In, t.Out, t.Node, t.Start, t.End))
					}
				}
				t := a.txns[start].op
				lines = append(lines, fmt.Sprintf("cycle of transactions: %v = %v (n%d, %v to %v)", t.In, t.Out, t.Node, t.Start, t.End))
				slices.Reverse(lines)
				return strings.Join(lines, "\n    ")
			}
			if _, seen := from[e.to]; !seen {
				from[e.to] = came{v, e.kind}
				queue = append(queue, e.to)
			}
		}
	}
	return fmt.Sprintf("a cycle among %d transactions", len(members))
}
