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
	// running are the kill switches of scripts outside the log; true: a function.
	running map[*atomic.Bool]bool
	logged  int           // scripts of the log running now: 0 or 1
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

func (e *scriptEngine) flush() {
	e.mu.Lock()
	e.scripts, e.bytes, e.idle = nil, 0, nil
	e.mu.Unlock()
}

// take lends an interpreter. A run outside the log gets a kill switch.
func (e *scriptEngine) take(logged, function bool) (*scriptWorker, *atomic.Bool) {
	var kill *atomic.Bool
	e.mu.Lock()
	if logged {
		e.logged++
	} else {
		kill = new(atomic.Bool)
		if e.running == nil {
			e.running = make(map[*atomic.Bool]bool)
		}
		e.running[kill] = function
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
	for kill, function := range e.running {
		if function == functions {
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
	for _, function := range e.running {
		if !function {
			return busyText(false)
		}
	}
	return busyText(true)
}

func busyText(function bool) string {
	kind := "SCRIPT"
	if function {
		kind = "FUNCTION"
	}
	return "BUSY Redis is busy running a script. You can only call " + kind + " KILL or SHUTDOWN NOSAVE."
}
