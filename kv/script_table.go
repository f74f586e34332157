package kv

import "slices"

// scriptTable is the replicated script cache: SCRIPT EXISTS and EVALSHA answer the
// same on every node, also after a restart.
type scriptTable struct {
	rows  []scriptRow
	bySHA map[string]int // derived
	bytes int            // derived
	evals int            // derived: rows that EVAL put there
}

// scriptRow is one cached script, in the order of arrival.
type scriptRow struct {
	SHA    string
	Body   string
	Loaded bool // by SCRIPT LOAD, not by EVAL alone
}

// Bounds of the cache. Scripts that only EVAL brought make room, the oldest first,
// as in Redis since 7.4: a client that puts its arguments into the script would fill
// it. A script that is gone from here is answered by NOSCRIPT, which clients expect.
const (
	maxEvalScripts = 500
	maxScriptBytes = 64 << 20
)

func newScriptTable(rows []scriptRow) scriptTable {
	t := scriptTable{rows: rows, bySHA: make(map[string]int, len(rows))}
	for i, r := range rows {
		t.bySHA[r.SHA] = i
		t.bytes += len(r.Body)
		if !r.Loaded {
			t.evals++
		}
	}
	return t
}

// freeze is a copy for a cut. Rows are never changed in place, and rows behind the
// copy's end are not its.
func (t *scriptTable) freeze() scriptTable { return scriptTable{rows: slices.Clip(t.rows)} }

func (t *scriptTable) get(sha []byte) (body string, ok bool) {
	var low [40]byte
	if len(sha) != len(low) {
		return "", false
	}
	lower(low[:], sha)
	i, ok := t.bySHA[string(low[:])]
	if !ok {
		return "", false
	}
	return t.rows[i].Body, true
}

// add puts a script into the cache; false if there is no room for it.
func (t *scriptTable) add(sha, body string, loaded bool) bool {
	if i, ok := t.bySHA[sha]; ok {
		if loaded && !t.rows[i].Loaded {
			t.rows = slices.Clone(t.rows)
			t.rows[i].Loaded = true
			t.evals--
		}
		return true
	}
	for t.evals > 0 && (t.bytes+len(body) > maxScriptBytes || !loaded && t.evals >= maxEvalScripts) {
		at := slices.IndexFunc(t.rows, func(r scriptRow) bool { return !r.Loaded })
		rows := slices.Concat(t.rows[:at], t.rows[at+1:])
		*t = newScriptTable(rows)
	}
	if t.bytes+len(body) > maxScriptBytes {
		return false
	}
	t.bySHA[sha] = len(t.rows)
	t.rows = append(t.rows, scriptRow{SHA: sha, Body: body, Loaded: loaded})
	t.bytes += len(body)
	if !loaded {
		t.evals++
	}
	return true
}
