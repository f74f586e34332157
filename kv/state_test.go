package kv

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// derivedState names the fields of state that a snapshot may leave out, because
// something else in it brings them back. There is none so far.
var derivedState = map[string]string{}

// wiredState says where stateWire keeps the fields that have another form there.
var wiredState = map[string][]string{
	"sessions.rows":  {"Sessions"},
	"sessions.last":  {"LastSession"},
	"watch.pages":    {"Watch"},
	"watch.flush":    {"Flush"},
	"scripts.rows":   {"Scripts"},
	"functions.libs": {"Functions"},
	"waiters.rows":   {"Waiters"},
	"waiters.last":   {"LastTicket"},
	"watch.swap":     {"Swap"},
	"acl":            {"ACL", "NextUser"},
	"once.order":     {"Once"},
	"once.forgotten": {"OnceForgotten"},
}

// Every field of the system state is in the snapshot or declared derived: one that
// is forgotten here would differ between nodes after the next snapshot.
func TestEveryStateFieldIsInTheSnapshot(t *testing.T) {
	derived := map[string]string{"watch.epoch": "which pages a cut shares", "watch.fresh": "memory for pages",
		"scripts.bySHA": "rows", "scripts.bytes": "rows", "scripts.evals": "rows",
		"functions.byName": "libs", "functions.bytes": "libs",
		"waiters.byUnit": "rows", "waiters.queues": "rows", "waiters.due": "rows", "waiters.perSession": "rows",
		"waiters.onNoKey": "rows", "waiters.bytes": "rows", "once.byID": "order", "once.bytes": "order"}
	for name, why := range derivedState {
		derived[name] = why
	}
	wire := reflect.TypeFor[stateWire]()
	used := map[string]bool{}
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := 0; i < typ.NumField(); i++ {
			f := typ.Field(i)
			name := prefix + f.Name
			switch {
			case derived[name] != "":
			case wiredState[name] != nil:
				for _, w := range wiredState[name] {
					_, ok := wire.FieldByName(w)
					require.True(t, ok, "%s: stateWire has no %s", name, w)
					used[w] = true
				}
			case f.IsExported() && prefix == "":
				w, ok := wire.FieldByName(f.Name)
				require.True(t, ok, "state.%s is neither in stateWire nor declared derived", name)
				require.Equal(t, f.Type, w.Type)
				used[f.Name] = true
			case f.Type.Kind() == reflect.Struct:
				walk(name+".", f.Type)
			default:
				t.Errorf("state.%s is neither in stateWire nor declared derived", name)
			}
		}
	}
	walk("", reflect.TypeFor[state]())
	for i := 0; i < wire.NumField(); i++ {
		require.True(t, used[wire.Field(i).Name], "stateWire.%s is nobody's", wire.Field(i).Name)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Settings](), reflect.TypeFor[session](), reflect.TypeFor[waiter](), reflect.TypeFor[onceRow](), reflect.TypeFor[onceResult]()} {
		for i := 0; i < typ.NumField(); i++ {
			require.True(t, typ.Field(i).IsExported(), "msgpack would drop %s.%s", typ.Name(), typ.Field(i).Name)
		}
	}
}

// Every setting is reachable by a name, so that it can be changed and shown.
func TestEverySettingHasAName(t *testing.T) {
	var s Settings
	fields := map[*int64]bool{}
	v := reflect.ValueOf(&s).Elem()
	for i := 0; i < v.NumField(); i++ {
		fields[v.Field(i).Addr().Interface().(*int64)] = true
	}
	for i, row := range settingRows {
		delete(fields, row.field(&s))
		d := defaultSettings()
		require.GreaterOrEqual(t, *row.field(&d), row.min, row.name)
		require.LessOrEqual(t, *row.field(&d), row.max, row.name)
		require.True(t, i == 0 || settingRows[i-1].name < row.name, "order")
	}
	require.Empty(t, fields)
}

func TestStateRoundTrip(t *testing.T) {
	n := newTestNode(t)
	randomHistory(t, n, 5, 300)
	n.do("FLUSHDB")
	enc := n.s.st.encode()
	st, err := decodeState(enc)
	require.NoError(t, err)
	require.Equal(t, enc, st.encode())
	require.Equal(t, n.s.st.Settings, st.Settings)
	for i := uint64(0); i < watchSlots; i += 7 {
		require.Equal(t, n.s.st.watch.get(i), st.watch.get(i))
	}
}

// What is written is every slot that is set, in order; a frozen copy keeps what it had.
func TestWatchTableIsWrittenWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table, model := newWatchTable(1), map[uint64]uint64{}
	check := func(table *watchTable, model map[uint64]uint64) {
		back := newWatchTable(1)
		require.True(t, back.decode(table.encode(func() {})))
		for slot := range uint64(watchSlots) {
			require.Equal(t, model[slot], back.get(slot))
		}
	}
	var frozen watchTable
	var then map[uint64]uint64
	for version := uint64(1); version <= 3000; version++ {
		slot := rng.Uint64N(watchSlots)
		if version%3 == 0 {
			slot %= 100
		}
		table.set(slot, version)
		model[slot] = version
		if version == 1500 {
			frozen, then = table.freeze(), maps.Clone(model)
		}
	}
	check(&table, model)
	check(&frozen, then)
}

func FuzzDecodeState(f *testing.F) {
	st := newState(1, 2)
	st.sessions.open(1, 2, 1, 3)
	st.watch.touch(1, 1<<63, 9)
	f.Add(st.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := decodeState(b); err == nil {
			st.encode()
		}
	})
}
