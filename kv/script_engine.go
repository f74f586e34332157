package kv

import (
	"sync"
	"sync/atomic"
)

// scriptEngine is what this node keeps to run scripts fast: compiled programs and
// idle interpreters. Nothing in it is replicated, and losing all of it changes no
// reply.
type scriptEngine struct {
	mu      sync.Mutex
	scripts map[string]*script // by body
	bytes   int
	idle    []*scriptWorker
	// running are the scripts outside the log, by their kill switches.
	running map[*atomic.Bool]runningScript
	logged  int // scripts of the log running now: 0 or 1
	// gate keeps who wants the store's lock away from it while a long read holds it
	// shared: a writer that waits there would hold up all other readers, the event loops
	// among them, until the script ends. Guarded by it: writers, who come next.
	gate    sync.Mutex
	free    *sync.Cond
	writers int
	long    atomic.Int64  // chunks in ReadLong
	slots   chan struct{} // bounds them: each script may take its budget of memory
}

// scriptWorker is an interpreter with the scratch of a run.
type scriptWorker struct {
	vm  *luaVM
	run scriptRun
}

// script is one compiled script.
type script struct {
	sha     string
	program *luaProgram
	flags   scriptFlags
	shebang bool
	msg     string // error reply, instead of a program
	// writes is set once the script was seen to write: from then on it goes to the log
	// at once. A hint: a script without it that wants to write is run again.
	writes atomic.Bool
}

const (
	maxCompiledBytes = 32 << 20
	maxCompiled      = 4096
	maxIdleWorkers   = 8
	maxLongReads     = 4
)

// script returns the compiled form of body.
func (e *scriptEngine) script(body []byte) *script {
	e.mu.Lock()
	s := e.scripts[string(body)]
	e.mu.Unlock()
	if s != nil {
		return s
	}
	text := string(body)
	s = &script{sha: scriptSHA(text)}
	var code string
	if code, s.flags, s.shebang, s.msg = parseShebang(text); s.msg == "" {
		var err error
		if s.program, err = compileLua(code, luaScriptSource); err != nil {
			s.msg = "ERR Error compiling script (new function): " + err.Error()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.scripts == nil || len(e.scripts) >= maxCompiled || e.bytes > maxCompiledBytes {
		e.scripts, e.bytes = make(map[string]*script), 0
	}
	if have := e.scripts[text]; have != nil {
		return have
	}
	e.scripts[text] = s
	e.bytes += len(text)
	return s
}

// lock takes the store's lock exclusively, once no long read holds it.
func (s *Store) lock() {
	e := &s.scripts
	e.gate.Lock()
	e.writers++
	for e.long.Load() > 0 {
		e.free.Wait()
	}
	e.gate.Unlock()
	s.mu.Lock()
	e.gate.Lock()
	if e.writers--; e.writers == 0 {
		e.free.Broadcast()
	}
	e.gate.Unlock()
}

// beginLong waits for its turn: behind the writers that wait.
func (e *scriptEngine) beginLong() {
	e.slots <- struct{}{}
	e.gate.Lock()
	for e.writers > 0 {
		e.free.Wait()
	}
	e.long.Add(1)
	e.gate.Unlock()
}

func (e *scriptEngine) endLong() {
	e.gate.Lock()
	e.long.Add(-1)
	e.free.Broadcast()
	e.gate.Unlock()
	<-e.slots
}

func (e *scriptEngine) flush() {
	e.mu.Lock()
	e.scripts, e.bytes, e.idle = nil, 0, nil
	e.mu.Unlock()
}

// runningScript is what FUNCTION STATS tells of one; function is empty for a script.
type runningScript struct {
	function string
	args     [][]byte
	since    int64
}

// take lends an interpreter. A run outside the log gets a kill switch.
func (e *scriptEngine) take(c *Ctx, function string) (*scriptWorker, *atomic.Bool) {
	var kill *atomic.Bool
	e.mu.Lock()
	if c.logged {
		e.logged++
	} else {
		kill = new(atomic.Bool)
		if e.running == nil {
			e.running = make(map[*atomic.Bool]runningScript)
		}
		e.running[kill] = runningScript{function, c.Args, c.now}
	}
	var w *scriptWorker
	if n := len(e.idle); n > 0 {
		w, e.idle = e.idle[n-1], e.idle[:n-1]
	}
	e.mu.Unlock()
	if w == nil {
		w = &scriptWorker{vm: newLuaVM()}
	}
	return w, kill
}

func (e *scriptEngine) give(w *scriptWorker, kill *atomic.Bool) {
	w.vm.end()
	w.run.end()
	e.mu.Lock()
	defer e.mu.Unlock()
	if kill != nil {
		delete(e.running, kill)
	} else {
		e.logged--
	}
	if !w.vm.dirty && len(e.idle) < maxIdleWorkers {
		e.idle = append(e.idle, w)
	}
}

// KillScripts ends the scripts, or the functions, that run on this node as reads; the
// result is the reply of SCRIPT KILL or FUNCTION KILL, "" for OK. A script of the log
// cannot be killed: the other nodes run it, too.
func (s *Store) KillScripts(functions bool) string {
	e := &s.scripts
	e.mu.Lock()
	defer e.mu.Unlock()
	killed := false
	for kill, r := range e.running {
		if (r.function != "") == functions {
			kill.Store(true)
			killed = true
		}
	}
	switch {
	case killed:
		return ""
	case len(e.running) > 0:
		return busyText(!functions)
	case e.logged > 0:
		return "UNKILLABLE Sorry the script already executed write commands against the dataset. " +
			"It is part of the replicated log and ends by its own or by its budget."
	}
	return "NOTBUSY No scripts in execution right now."
}

// BusyText refuses commands while a script or a function takes long.
func (s *Store) BusyText() string {
	e := &s.scripts
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.running {
		if r.function == "" {
			return busyText(false)
		}
	}
	return busyText(true)
}

// runningFunction is the function that has been running longest outside the log.
func (e *scriptEngine) runningFunction() (first runningScript, args [][]byte, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.running {
		if r.function != "" && (!ok || r.since < first.since || r.since == first.since && r.function < first.function) {
			first, ok = r, true
		}
	}
	return first, copyAll(first.args), ok // they may go with the chunk
}

func busyText(function bool) string {
	kind := "SCRIPT"
	if function {
		kind = "FUNCTION"
	}
	return "BUSY Redis is busy running a script. You can only call " + kind + " KILL or SHUTDOWN NOSAVE."
}
