package resp

import (
	"bytes"
	"sort"
	"sync"
	"sync/atomic"
)

// stats are the front end's counters: INFO reads them at any time, so they are
// atomic; loops add to them once per step, not per command.
type stats struct {
	connections, rejected  atomic.Uint64
	commands               atomic.Uint64
	blocked                atomic.Int64 // clients that wait in a blocking command
	netIn, netOut          atomic.Uint64
	reads, writes          atomic.Uint64
	errorReplies           atomic.Uint64
	authDenied             atomic.Uint64
	commandDenied          atomic.Uint64
	keyDenied              atomic.Uint64
	channelDenied          atomic.Uint64
	outputLimit, slow      atomic.Uint64
	clientsEvicted         atomic.Uint64
	queryLimit, idleClosed atomic.Uint64
	effectsLost            atomic.Uint64 // times a loop lagged so far that messages were dropped

	mu    sync.Mutex
	codes map[string]uint64 // error replies by their first word

	rate rates
}

// maxErrorCodes bounds the table of error codes: a code comes from an error text,
// which may come from a script one day.
const maxErrorCodes = 128

// countError counts an error reply, given as rendered ("-ERR ...").
func (st *stats) countError(line []byte) {
	code := line[1:]
	if i := bytes.IndexAny(code, " \r"); i >= 0 {
		code = code[:i]
	}
	st.countErrors(code, 1)
}

// countErrors counts n errors of a code.
func (st *stats) countErrors(code []byte, n uint64) {
	if n == 0 {
		return
	}
	st.errorReplies.Add(n)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.codes == nil {
		st.codes = make(map[string]uint64)
	}
	if _, ok := st.codes[string(code)]; ok || len(st.codes) < maxErrorCodes {
		st.codes[string(code)] += n
	}
}

type errorCode struct {
	name  string
	count uint64
}

func (st *stats) errorCodes() []errorCode {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := make([]errorCode, 0, len(st.codes))
	for name, n := range st.codes {
		list = append(list, errorCode{name, n})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

// reset is CONFIG RESETSTAT.
func (st *stats) reset() {
	for _, c := range []*atomic.Uint64{
		&st.connections, &st.rejected, &st.commands, &st.netIn, &st.netOut, &st.reads, &st.writes,
		&st.errorReplies, &st.authDenied, &st.outputLimit, &st.slow, &st.queryLimit, &st.idleClosed,
		&st.clientsEvicted, &st.commandDenied, &st.keyDenied, &st.channelDenied,
	} {
		c.Store(0)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	clear(st.codes)
}

// rates are Redis's instantaneous_* figures: means over the last 16 samples.
type rates struct {
	mu      sync.Mutex
	last    sample
	ops     ring
	in, out ring
}

type sample struct {
	at          int64 // Unix ms
	ops, in, to uint64
}

type ring struct {
	v [16]float64
	n int
}

func (r *ring) add(x float64) { r.v[r.n%len(r.v)] = x; r.n++ }

func (r *ring) mean() float64 {
	sum := 0.0
	for _, x := range r.v {
		sum += x
	}
	return sum / float64(len(r.v))
}

// sampleRates is called every tick by the first loop.
func (st *stats) sampleRates(now int64) {
	next := sample{now, st.commands.Load(), st.netIn.Load(), st.netOut.Load()}
	r := &st.rate
	r.mu.Lock()
	defer r.mu.Unlock()
	if ms := float64(now - r.last.at); r.last.at > 0 && ms > 0 {
		r.ops.add(delta(next.ops, r.last.ops) * 1000 / ms)
		r.in.add(delta(next.in, r.last.in) * 1000 / ms / 1024)
		r.out.add(delta(next.to, r.last.to) * 1000 / ms / 1024)
	}
	r.last = next
}

// delta is 0 after a reset.
func delta(now, before uint64) float64 {
	if now < before {
		return 0
	}
	return float64(now - before)
}

// current returns commands per second, KiB per second in and out.
func (st *stats) current() (ops, in, out float64) {
	r := &st.rate
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ops.mean(), r.in.mean(), r.out.mean()
}
