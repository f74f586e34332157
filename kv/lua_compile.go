package kv

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// luaProgram is a compiled script. It is immutable: any number of interpreters run
// it at the same time.
type luaProgram struct {
	proto *lua.FunctionProto
	// wide: it has functions with variable arguments (luaMeter.long).
	wide bool
	// names describes what is indexed or called, by line and key, for error texts.
	names map[luaPlace]string
}

type luaPlace struct {
	line int
	key  string
}

// Bounds of a program. They keep the parser's and the compiler's own stacks small
// and jumps within what an instruction can hold.
const (
	luaMaxSource  = 1 << 20
	luaMaxNesting = 190  // PUC Lua: 200 levels of C calls
	luaMaxDepth   = 4000 // of the tree: a long chain of operators is deep, too
	luaMaxNodes   = 30_000
)

var errLuaNesting = errors.New("chunk has too many syntax levels")

// compileLua parses, rewrites and compiles. Before the script's own code can do
// harm it is changed in these places, invisible to it:
//
//	t[k] = v, function t.f() end   becomes a call that charges growth and protects
//	                               tables that outlive the script
//	a .. b .. c                    becomes one metered call
//	{...}, {f()}, [k] = v          go through calls that charge
//	bodies of loops and functions  begin with a charge for the tables and functions
//	                               that they make each time
//
// name is what error texts call the source ("user_script").
func compileLua(source, name string) (p *luaProgram, err error) {
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("%s:1: %v", name, v)
		}
	}()
	switch {
	case len(source) > luaMaxSource:
		return nil, fmt.Errorf("%s:1: chunk is longer than %d bytes", name, luaMaxSource)
	case luaTooNested(source):
		return nil, fmt.Errorf("%s:1: %w", name, errLuaNesting)
	}
	chunk, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, luaSyntaxError(err, name)
	}
	r := luaRewriter{name: name, names: map[luaPlace]string{}, locals: map[string]int{}, helpers: map[string]bool{}}
	chunk = r.program(chunk)
	if r.err != nil {
		return nil, r.err
	}
	proto, err := lua.Compile(chunk, name)
	if err != nil {
		return nil, luaCompileFailed(err, name)
	}
	proto.IsVarArg &^= lua.VarArgNeedsArg // a chunk has no arg: making it took half of a short script's time
	return &luaProgram{proto: proto, wide: r.wide, names: r.names}, nil
}

// luaSyntaxError words a parser error as Lua does, as far as it can be known.
func luaSyntaxError(err error, name string) error {
	var e *parse.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s:1: %v", name, err)
	}
	line := strconv.Itoa(e.Pos.Line)
	switch {
	case e.Pos.Line == parse.EOF:
		return fmt.Errorf("%s:1: unexpected symbol near '<eof>'", name)
	case strings.Contains(e.Message, "unterminated string"):
		return errors.New(name + ":" + line + ": unfinished string near '<eof>'")
	case strings.Contains(e.Message, "unterminated multiline"):
		return errors.New(name + ":" + line + ": unfinished long string near '<eof>'")
	case e.Message == "parse error": // an expression that is no call
		return errors.New(name + ":" + line + ": '=' expected near '" + clip([]byte(e.Token), 80) + "'")
	case strings.Contains(e.Message, "syntax error"):
		return errors.New(name + ":" + line + ": syntax error near '" + clip([]byte(e.Token), 80) + "'")
	}
	return errors.New(name + ":" + line + ": " + e.Message + " near '" + clip([]byte(e.Token), 80) + "'")
}

func luaCompileFailed(err error, name string) error {
	var e *lua.CompileError
	if errors.As(err, &e) {
		return fmt.Errorf("%s:%d: %s", name, max(e.Line, 1), e.Message)
	}
	return fmt.Errorf("%s:1: %v", name, err)
}

// luaTooNested looks for brackets and blocks nested beyond luaMaxNesting without
// parsing: the parser would keep them all on a stack.
func luaTooNested(s string) bool {
	depth := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '-' && strings.HasPrefix(s[i:], "--"):
			if n := luaLongBracket(s[i+2:]); n > 0 {
				i += 2 + n
			} else if nl := strings.IndexByte(s[i:], '\n'); nl >= 0 {
				i += nl
			} else {
				return false
			}
			continue
		case c == '[':
			if n := luaLongBracket(s[i:]); n > 0 {
				i += n
				continue
			}
			depth++
		case c == '(' || c == '{':
			depth++
		case c == ')' || c == '}' || c == ']':
			depth--
		case c == '"' || c == '\'':
			for i++; i < len(s) && s[i] != c && s[i] != '\n'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case luaIsAlnum(c):
			n := 1
			for i+n < len(s) && luaIsAlnum(s[i+n]) {
				n++
			}
			switch s[i : i+n] {
			case "if", "do", "function", "repeat":
				depth++
			case "end", "until":
				depth--
			}
			i += n
			depth = max(depth, 0)
			continue
		}
		if depth = max(depth, 0); depth > luaMaxNesting {
			return true
		}
		i++
	}
	return false
}

// luaLongBracket is the length of the long bracket at the start of s, to its end; 0
// if there is none.
func luaLongBracket(s string) int {
	n := 1
	for n < len(s) && s[n] == '=' {
		n++
	}
	if len(s) < 2 || s[0] != '[' || n >= len(s) || s[n] != '[' {
		return 0
	}
	closing := "]" + s[1:n] + "]"
	if at := strings.Index(s[n+1:], closing); at >= 0 {
		return n + 1 + at + len(closing)
	}
	return len(s)
}

func luaIsAlnum(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// The helpers that rewritten code calls. No program can spell their names.
const (
	luaHelpAssign = "\x00assign"
	luaHelpConcat = "\x00concat"
	luaHelpTable  = "\x00table"
	luaHelpKey    = "\x00key"
	luaHelpCharge = "\x00charge"
)

var luaHelpers = []string{luaHelpAssign, luaHelpConcat, luaHelpTable, luaHelpKey, luaHelpCharge}

// luaRewriter is one pass over a program's tree.
type luaRewriter struct {
	name    string
	err     error
	depth   int
	nodes   int // of the present function
	charge  int // bytes that the present body makes each time
	wide    bool
	helpers map[string]bool
	level   int // of functions
	locals  map[string]int
	names   map[luaPlace]string
	temps   int
}

func (r *luaRewriter) program(chunk []ast.Stmt) []ast.Stmt {
	chunk = r.body(chunk, nil)
	var names []string
	var values []ast.Expr
	for _, h := range luaHelpers {
		if r.helpers[h] {
			names = append(names, h)
			values = append(values, r.ident(h, 1))
		}
	}
	if len(names) == 0 {
		return chunk
	}
	local := &ast.LocalAssignStmt{Names: names, Exprs: values}
	setLine(local, 1)
	return append([]ast.Stmt{local}, chunk...)
}

type lineHolder interface {
	SetLine(int)
	SetLastLine(int)
}

func setLine(n lineHolder, line int) { n.SetLine(line); n.SetLastLine(line) }

func (r *luaRewriter) ident(name string, line int) ast.Expr {
	e := &ast.IdentExpr{Value: name}
	setLine(e, line)
	return e
}

func (r *luaRewriter) number(n, line int) ast.Expr {
	e := &ast.NumberExpr{Value: strconv.Itoa(n)}
	setLine(e, line)
	return e
}

// help is a call of a helper, cut to one result.
func (r *luaRewriter) help(helper string, line int, args ...ast.Expr) *ast.FuncCallExpr {
	r.helpers[helper] = true
	e := &ast.FuncCallExpr{Func: r.ident(helper, line), Args: args, AdjustRet: true}
	setLine(e, line)
	return e
}

func (r *luaRewriter) helpStmt(helper string, line int, args ...ast.Expr) ast.Stmt {
	s := &ast.FuncCallStmt{Expr: r.help(helper, line, args...)}
	setLine(s, line)
	return s
}

func (r *luaRewriter) fail(line int, msg string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s:%d: %s", r.name, max(line, 1), msg)
	}
}

// body rewrites what may run again and again: it begins with its charge. more are
// expressions that are evaluated as often.
func (r *luaRewriter) body(stmts []ast.Stmt, more *ast.Expr) []ast.Stmt {
	outer := r.charge
	r.charge = 0
	stmts = r.block(stmts)
	if more != nil {
		*more = r.expr(*more)
	}
	if r.charge > 0 {
		line := 1
		if len(stmts) > 0 {
			line = stmts[0].Line()
		}
		charge := r.helpStmt(luaHelpCharge, line, r.number(r.charge, line))
		stmts = append([]ast.Stmt{charge}, stmts...)
	}
	r.charge = outer
	return stmts
}

func (r *luaRewriter) block(stmts []ast.Stmt) []ast.Stmt {
	for i, s := range stmts {
		stmts[i] = r.stmt(s)
	}
	return stmts
}

func (r *luaRewriter) enter(line int) bool {
	r.depth++
	r.nodes++
	switch {
	case r.err != nil:
	case r.depth > luaMaxDepth:
		r.fail(line, errLuaNesting.Error())
	case r.nodes > luaMaxNodes:
		r.fail(line, "function or expression too complex")
	}
	return r.err == nil
}

func (r *luaRewriter) stmt(s ast.Stmt) ast.Stmt {
	if !r.enter(s.Line()) {
		return s
	}
	defer func() { r.depth-- }()
	switch s := s.(type) {
	case *ast.AssignStmt:
		return r.assignment(s)
	case *ast.LocalAssignStmt:
		r.exprs(s.Exprs)
		for _, n := range s.Names {
			r.locals[n] = r.level
		}
	case *ast.FuncCallStmt:
		s.Expr = r.expr(s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts = r.block(s.Stmts)
	case *ast.WhileStmt:
		s.Stmts = r.body(s.Stmts, &s.Condition)
	case *ast.RepeatStmt:
		s.Stmts = r.body(s.Stmts, &s.Condition)
	case *ast.IfStmt:
		s.Condition = r.expr(s.Condition)
		s.Then, s.Else = r.block(s.Then), r.block(s.Else)
	case *ast.NumberForStmt:
		s.Init, s.Limit = r.expr(s.Init), r.expr(s.Limit)
		if s.Step != nil {
			s.Step = r.expr(s.Step)
		}
		r.locals[s.Name] = r.level
		s.Stmts = r.body(s.Stmts, nil)
	case *ast.GenericForStmt:
		r.exprs(s.Exprs)
		for _, n := range s.Names {
			r.locals[n] = r.level
		}
		s.Stmts = r.body(s.Stmts, nil)
	case *ast.FuncDefStmt:
		return r.definition(s)
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	case *ast.GotoStmt: // Lua 5.1 has neither
		r.fail(s.Line(), "'=' expected near '"+s.Label+"'")
	case *ast.LabelStmt:
		r.fail(s.Line(), "unexpected symbol near ':'")
	}
	return s
}

func (r *luaRewriter) exprs(list []ast.Expr) {
	for i, e := range list {
		list[i] = r.expr(e)
	}
}

// definition is function a.b.c:m() end.
func (r *luaRewriter) definition(s *ast.FuncDefStmt) ast.Stmt {
	line := s.Line()
	var object, key ast.Expr
	if s.Name.Func == nil {
		object, key = s.Name.Receiver, &ast.StringExpr{Value: s.Name.Method}
		s.Func.ParList.Names = append([]string{"self"}, s.Func.ParList.Names...)
	} else if at, ok := s.Name.Func.(*ast.AttrGetExpr); ok {
		object, key = at.Object, at.Key
	} else {
		r.expr(s.Func)
		return s
	}
	setLine(key, line)
	return r.helpStmt(luaHelpAssign, line, r.expr(object), key, r.expr(s.Func))
}

// assignment rewrites assignments to fields, and to several targets: gopher-lua
// compiles a, b = b, a to a = b and b = a. Objects and keys are evaluated first, then
// the values; they are assigned from the right, as PUC Lua does.
func (r *luaRewriter) assignment(s *ast.AssignStmt) ast.Stmt {
	fields := 0
	for _, t := range s.Lhs {
		if _, ok := t.(*ast.AttrGetExpr); ok {
			fields++
		}
	}
	line := s.Line()
	if fields == 0 && len(s.Lhs) == 1 {
		r.exprs(s.Rhs)
		return s
	}
	if len(s.Lhs) == 1 && len(s.Rhs) == 1 {
		at := s.Lhs[0].(*ast.AttrGetExpr)
		v := r.expr(s.Rhs[0])
		if luaIsMulti(v) {
			v = luaSingle(v)
		}
		r.describe(at, line)
		return r.helpStmt(luaHelpAssign, line, r.expr(at.Object), r.expr(at.Key), v)
	}
	var targets ast.LocalAssignStmt
	setLine(&targets, line)
	temp := func() string { r.temps++; return "\x00" + strconv.Itoa(r.temps) }
	for _, t := range s.Lhs {
		if at, ok := t.(*ast.AttrGetExpr); ok {
			targets.Names = append(targets.Names, temp(), temp())
			targets.Exprs = append(targets.Exprs, luaSingle(r.expr(at.Object)), luaSingle(r.expr(at.Key)))
		}
	}
	r.exprs(s.Rhs)
	values := ast.LocalAssignStmt{Exprs: s.Rhs}
	setLine(&values, line)
	for range s.Lhs {
		values.Names = append(values.Names, temp())
	}
	block := &ast.DoBlockStmt{Stmts: []ast.Stmt{&values}}
	if fields > 0 {
		block.Stmts = []ast.Stmt{&targets, &values}
	}
	setLine(block, line)
	at := len(targets.Names)
	for i := len(s.Lhs) - 1; i >= 0; i-- {
		v := r.ident(values.Names[i], line)
		if _, ok := s.Lhs[i].(*ast.AttrGetExpr); !ok {
			one := &ast.AssignStmt{Lhs: s.Lhs[i : i+1 : i+1], Rhs: []ast.Expr{v}}
			setLine(one, line)
			block.Stmts = append(block.Stmts, one)
			continue
		}
		at -= 2
		block.Stmts = append(block.Stmts, r.helpStmt(luaHelpAssign, line,
			r.ident(targets.Names[at], line), r.ident(targets.Names[at+1], line), v))
	}
	return block
}

// luaIsMulti reports whether the expression may yield any number of values.
func luaIsMulti(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		return !e.AdjustRet
	case *ast.Comma3Expr:
		return !e.AdjustRet
	}
	return false
}

// luaSingle cuts it to one value.
func luaSingle(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}

func (r *luaRewriter) expr(e ast.Expr) ast.Expr {
	if e == nil || !r.enter(e.Line()) {
		return e
	}
	defer func() { r.depth-- }()
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		r.describe(e, e.Line())
		e.Object, e.Key = r.expr(e.Object), r.expr(e.Key)
	case *ast.TableExpr:
		return r.table(e)
	case *ast.FuncCallExpr:
		r.describeCall(e)
		if e.Func != nil {
			e.Func = r.expr(e.Func)
		} else {
			e.Receiver = r.expr(e.Receiver)
		}
		r.exprs(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		return r.concat(e)
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.FunctionExpr:
		r.function(e)
	}
	return e
}

func (r *luaRewriter) function(e *ast.FunctionExpr) {
	r.charge += luaFuncBytes
	nodes := r.nodes
	r.nodes = 0
	r.level++
	r.wide = r.wide || e.ParList.HasVargs
	for _, n := range e.ParList.Names {
		r.locals[n] = r.level
	}
	e.Stmts = r.body(e.Stmts, nil)
	r.level--
	r.nodes = nodes
}

// maxConcat is how many operands one call takes: they are in registers at once.
const maxConcat = 40

func (r *luaRewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	line := e.Line()
	var operands []ast.Expr
	var rest ast.Expr = e
	for {
		c, ok := rest.(*ast.StringConcatOpExpr)
		if !ok || len(operands) == maxConcat {
			break
		}
		operands = append(operands, luaSingle(r.expr(c.Lhs)))
		rest = c.Rhs
	}
	operands = append(operands, luaSingle(r.expr(rest)))
	return r.help(luaHelpConcat, line, operands...)
}

func (r *luaRewriter) table(e *ast.TableExpr) ast.Expr {
	positional := 0
	r.charge += luaTableBytes
	for _, f := range e.Fields {
		if f.Key == nil {
			positional++
			r.charge += luaElemBytes
		} else {
			r.charge += luaKeyBytes
			if f.Key = r.expr(f.Key); !luaIsName(f.Key) {
				f.Key = r.help(luaHelpKey, e.Line(), f.Key)
			}
		}
		f.Value = r.expr(f.Value)
	}
	if n := len(e.Fields); n > 0 && e.Fields[n-1].Key == nil && luaIsMulti(e.Fields[n-1].Value) || positional > 16 {
		return r.help(luaHelpTable, e.Line(), e)
	}
	return e
}

func luaIsName(e ast.Expr) bool {
	_, ok := e.(*ast.StringExpr)
	return ok
}

// describe notes what an index expression looks into.
func (r *luaRewriter) describe(e *ast.AttrGetExpr, line int) {
	if key, ok := e.Key.(*ast.StringExpr); ok {
		r.note(luaPlace{line, key.Value}, r.nameOf(e.Object))
	}
}

// describeCall notes what is called, by line alone: only a name that is the only
// one its line may mean is used.
func (r *luaRewriter) describeCall(e *ast.FuncCallExpr) {
	name := ""
	if e.Func == nil {
		name = "method '" + e.Method + "'"
		r.note(luaPlace{e.Line(), e.Method}, r.nameOf(e.Receiver))
		r.note(luaPlace{e.Line(), "\x00by" + e.Method}, "method")
	} else if name = r.nameOf(e.Func); strings.HasPrefix(name, "global") {
		return // a global that is not there is another error
	} else if at, ok := e.Func.(*ast.AttrGetExpr); ok {
		if key, ok := at.Key.(*ast.StringExpr); ok {
			r.note(luaPlace{e.Line(), "\x00by" + key.Value}, "function")
		}
		if lib, ok := at.Object.(*ast.IdentExpr); ok && luaLibNames[lib.Value] && r.locals[lib.Value] == 0 {
			if key, ok := at.Key.(*ast.StringExpr); ok && luaRedisNames[key.Value] {
				return
			}
		}
	}
	r.note(luaPlace{e.Line(), "\x00call"}, name)
}

var luaLibNames = map[string]bool{
	"redis": true, "string": true, "table": true, "math": true, "cjson": true, "cmsgpack": true, "struct": true, "bit": true,
}

// luaRedisNames are the fields most calls are of: they are there.
var luaRedisNames = map[string]bool{
	"call": true, "pcall": true, "log": true, "sha1hex": true, "status_reply": true, "error_reply": true,
	"insert": true, "concat": true, "sub": true, "format": true, "encode": true, "decode": true, "floor": true,
	"pack": true, "unpack": true, "gsub": true, "match": true, "find": true, "rep": true, "sort": true, "remove": true,
}

func (r *luaRewriter) note(at luaPlace, name string) {
	if old, ok := r.names[at]; ok && old != name {
		name = ""
	}
	r.names[at] = name
}

func (r *luaRewriter) nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		level, local := r.locals[e.Value]
		switch {
		case !local:
			return "global '" + e.Value + "'"
		case level == r.level:
			return "local '" + e.Value + "'"
		}
		return "upvalue '" + e.Value + "'"
	case *ast.AttrGetExpr:
		if key, ok := e.Key.(*ast.StringExpr); ok {
			return "field '" + key.Value + "'"
		}
		return "field '?'"
	}
	return ""
}
