package diff

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// nearDistance is how far apart, relative to their size, two distances may be.
const nearDistance = 1e-12

// antipodes are as far apart as anything is: half of the Earth's circumference in Redis's
// units. A last bit of what the arc sine is taken of is the more there the nearer they are.
var antipodes = [...]float64{20020734, 20020.734, 65684822.835, 12440.3383}

// tolerance is nearDistance, or more for points that are nearly antipodes.
func tolerance(distance float64) float64 {
	for _, most := range antipodes {
		if off := math.Abs(1 - distance/most); off < 1e-3 {
			return max(nearDistance, 1e-15/max(off, 1e-8))
		}
	}
	return nearDistance
}

// showDistances reports whether the last of cmds shows distances, or names a key whose
// scores are such that STOREDIST kept, or were made of such.
func showDistances(cmds [][]string) bool {
	if args := called(cmds[len(cmds)-1]); strings.EqualFold(args[0], "geodist") || hasWord(args, "withdist") {
		return true
	}
	kept := map[string]bool{}
	last := len(cmds) - 1
	for _, args := range cmds[:last] {
		keepDistances(kept, called(args))
	}
	return namesOne(kept, called(cmds[last]))
}

// keepDistances adds to kept the key into which the command puts distances, if it does.
// What is overwritten or removed stays: it does no harm there.
func keepDistances(kept map[string]bool, args []string) {
	to := 1
	switch name := strings.ToLower(args[0]); name {
	case "georadius", "georadiusbymember":
		to = len(args)
		for i, a := range args { // of several, the last counts
			if strings.EqualFold(a, "store") || strings.EqualFold(a, "storedist") {
				to = i + 1
			}
		}
	case "zunionstore", "zinterstore", "zdiffstore", "zrangestore", "geosearchstore":
	case "copy", "rename", "renamenx":
		to = 2
	default:
		return
	}
	if to < len(args) && (hasWord(args, "storedist") || namesOne(kept, args)) {
		kept[args[to]] = true
	}
}

func namesOne(kept map[string]bool, args []string) bool {
	return slices.ContainsFunc(args[1:], func(a string) bool { return kept[a] })
}

// nearly reports whether two replies are the same but for what rounding did to numbers
// that are no integers.
func nearly(a, b Value) bool {
	if a.String() == b.String() {
		return true
	}
	if a.Kind != b.Kind || len(a.Elems) != len(b.Elems) {
		return false
	}
	for i := range a.Elems {
		if !nearly(a.Elems[i], b.Elems[i]) {
			return false
		}
	}
	return len(a.Elems) > 0 || (a.Kind == '$' || a.Kind == ',') && nearlyEqual(a.Text, b.Text)
}

func nearlyEqual(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && math.Abs(x-y) <= tolerance(x)*math.Abs(x)
}
