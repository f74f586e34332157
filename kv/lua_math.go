package kv

import (
	"math"
	"math/bits"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// mathLib is Lua's. The transcendental functions are Go's: their last digit may
// differ between CPU architectures, so all nodes of a cluster have to be of one.
func (vm *luaVM) mathLib() map[string]lua.LGFunction {
	fns := map[string]lua.LGFunction{
		"random": vm.mathRandom, "randomseed": vm.mathRandomSeed, "max": vm.mathMax, "min": vm.mathMin,
	}
	for name, f := range map[string]func(float64) float64{
		"abs": math.Abs, "acos": math.Acos, "asin": math.Asin, "atan": math.Atan, "ceil": math.Ceil, "cos": math.Cos,
		"cosh": math.Cosh, "exp": math.Exp, "floor": math.Floor, "log": math.Log, "log10": math.Log10,
		"sin": math.Sin, "sinh": math.Sinh, "sqrt": math.Sqrt, "tan": math.Tan, "tanh": math.Tanh,
		"deg": func(x float64) float64 { return x / (math.Pi / 180) },
		"rad": func(x float64) float64 { return x * (math.Pi / 180) },
	} {
		fns[name] = func(L *lua.LState) int {
			L.Push(lua.LNumber(f(vm.num(L, 1))))
			return 1
		}
	}
	for name, f := range map[string]func(a, b float64) float64{
		"atan2": math.Atan2, "fmod": math.Mod, "mod": math.Mod, "pow": luaPow,
		"ldexp": func(a, b float64) float64 { return math.Ldexp(a, int(max(-5000, min(5000, b)))) },
	} {
		fns[name] = func(L *lua.LState) int {
			L.Push(lua.LNumber(f(vm.num(L, 1), vm.num(L, 2))))
			return 1
		}
	}
	fns["frexp"] = func(L *lua.LState) int {
		f, e := math.Frexp(vm.num(L, 1))
		L.Push(lua.LNumber(f))
		L.Push(lua.LNumber(e))
		return 2
	}
	fns["modf"] = func(L *lua.LState) int {
		x := vm.num(L, 1)
		i := math.Trunc(x)
		f := x - i
		if math.IsInf(x, 0) {
			f = 0
		}
		L.Push(lua.LNumber(i))
		L.Push(lua.LNumber(f))
		return 2
	}
	return fns
}

// luaStepTime is what os.clock takes a step for: about what one takes, and so that the
// budget of a script that writes lasts for more than a second of it.
const luaStepTime = 25e-9

// osLib has what Redis leaves of the library. The clock is the meter's: what a script
// measures by it is its own work, and the same on every node.
func (vm *luaVM) osLib() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"clock": func(L *lua.LState) int {
		L.Push(lua.LNumber(float64(vm.meter.steps) * luaStepTime))
		return 1
	}}
}

func luaPow(a, b float64) float64 { return math.Pow(a, b) }

func luaMod(a, b float64) float64 {
	r := math.Mod(a, b)
	if b > 0 && r < 0 || b < 0 && r > 0 {
		r += b
	}
	return r
}

func (vm *luaVM) mathMax(L *lua.LState) int {
	m := vm.num(L, 1)
	for i := 2; i <= L.GetTop(); i++ {
		if x := vm.num(L, i); x > m {
			m = x
		}
	}
	L.Push(lua.LNumber(m))
	return 1
}

func (vm *luaVM) mathMin(L *lua.LState) int {
	m := vm.num(L, 1)
	for i := 2; i <= L.GetTop(); i++ {
		if x := vm.num(L, i); x < m {
			m = x
		}
	}
	L.Push(lua.LNumber(m))
	return 1
}

// mathRandom draws from the run's generator. Redis seeds each script alike, so that
// it draws the same numbers every time; so do we.
func (vm *luaVM) mathRandom(L *lua.LState) int {
	r := float64(vm.random().next()>>11) / (1 << 53)
	switch L.GetTop() {
	case 0:
		L.Push(lua.LNumber(r))
		return 1
	case 1:
		high := math.Trunc(vm.num(L, 1))
		if !(high >= 1) {
			vm.argError(L, 1, "interval is empty")
		}
		L.Push(lua.LNumber(math.Floor(r*high) + 1))
		return 1
	case 2:
		low, high := math.Trunc(vm.num(L, 1)), math.Trunc(vm.num(L, 2))
		if !(low <= high) {
			vm.argError(L, 2, "interval is empty")
		}
		span := high - low + 1
		L.Push(lua.LNumber(math.Floor(float64(r*span)) + low))
		return 1
	}
	L.RaiseError("wrong number of arguments")
	return 0
}

func (vm *luaVM) mathRandomSeed(L *lua.LState) int {
	*vm.random() = newRNG(math.Float64bits(vm.num(L, 1)), 0, 0)
	return 0
}

func (vm *luaVM) random() *rng {
	if vm.run == nil {
		return &rng{}
	}
	return &vm.run.dice
}

// bitLib is LuaBitOp: operations on 32 bits, results signed.
func (vm *luaVM) bitLib() map[string]lua.LGFunction {
	fns := map[string]lua.LGFunction{"tohex": vm.bitToHex}
	for name, op := range map[string]func(a, b uint32) uint32{
		"band": func(a, b uint32) uint32 { return a & b },
		"bor":  func(a, b uint32) uint32 { return a | b },
		"bxor": func(a, b uint32) uint32 { return a ^ b },
	} {
		fns[name] = func(L *lua.LState) int {
			v := vm.bits(L, 1)
			for i := 2; i <= L.GetTop(); i++ {
				v = op(v, vm.bits(L, i))
			}
			L.Push(lua.LNumber(int32(v)))
			return 1
		}
	}
	for name, op := range map[string]func(a uint32) uint32{
		"tobit": func(a uint32) uint32 { return a }, "bnot": func(a uint32) uint32 { return ^a },
		"bswap": bits.ReverseBytes32,
	} {
		fns[name] = func(L *lua.LState) int {
			L.Push(lua.LNumber(int32(op(vm.bits(L, 1)))))
			return 1
		}
	}
	for name, op := range map[string]func(a uint32, n int) uint32{
		"lshift": func(a uint32, n int) uint32 { return a << n }, "rshift": func(a uint32, n int) uint32 { return a >> n },
		"arshift": func(a uint32, n int) uint32 { return uint32(int32(a) >> n) },
		"rol":     bits.RotateLeft32, "ror": func(a uint32, n int) uint32 { return bits.RotateLeft32(a, -n) },
	} {
		fns[name] = func(L *lua.LState) int {
			L.Push(lua.LNumber(int32(op(vm.bits(L, 1), int(vm.bits(L, 2)&31)))))
			return 1
		}
	}
	return fns
}

// bits is argument n modulo 2^32, rounded to even as LuaBitOp rounds.
func (vm *luaVM) bits(L *lua.LState, n int) uint32 {
	f := vm.num(L, n)
	if f != f || math.IsInf(f, 0) {
		return 0
	}
	f = math.Mod(math.RoundToEven(f), 1<<32)
	return uint32(int64(f))
}

func (vm *luaVM) bitToHex(L *lua.LState) int {
	v := vm.bits(L, 1)
	n := 8
	digits := "0123456789abcdef"
	if L.Get(2) != lua.LNil {
		n = int(int32(vm.bits(L, 2)))
	}
	if n < 0 {
		digits = strings.ToUpper(digits)
		n = -max(n, -8) // -2^31 has no positive
	}
	n = min(n, 8)
	out := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		out[i] = digits[v&15]
		v >>= 4
	}
	L.Push(lua.LString(out))
	return 1
}
