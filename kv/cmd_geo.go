package kv

import (
	"bytes"
	"strconv"
)

// The geo commands (https://redis.io/docs/latest/commands/?group=geo): sorted sets
// whose scores are positions (geo_hash.go). Searches are in geo_search.go.
var geoCommands = []Command{
	{Name: "geoadd", Group: "geo", Since: "3.2.0", Arity: -5, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Op: 560, Run: cmdGeoAdd,
		Summary: "Puts places on a map: members of a sorted set with the coordinates as score."},
	{Name: "geodist", Group: "geo", Since: "3.2.0", Arity: -4, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdGeoDist,
		Summary: "Measures the way between two places."},
	{Name: "geohash", Group: "geo", Since: "3.2.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdGeoHash,
		Summary: "Tells the geohash strings of places."},
	{Name: "geopos", Group: "geo", Since: "3.2.0", Arity: -2, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: cmdGeoPos,
		Summary: "Tells the coordinates of places."},
	{Name: "georadius", Group: "geo", Since: "3.2.0", Arity: -6, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Keys: func(args [][]byte) ([]int, bool) { return geoStoreKeys(args, 6) },
		Op: 561, Run: func(c *Ctx) { c.geoSearch(geoForm{args: 6, at: geoAtPosition, store: geoStoreOption}) },
		Summary: "Finds places in a circle around coordinates; may keep them under a key."},
	{Name: "georadius_ro", Group: "geo", Since: "3.2.10", Arity: -6, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1,
		Run:     func(c *Ctx) { c.geoSearch(geoForm{args: 6, at: geoAtPosition}) },
		Summary: "Finds places in a circle around coordinates."},
	{Name: "georadiusbymember", Group: "geo", Since: "3.2.0", Arity: -5, Flags: FlagWrite | FlagDenyOOM | FlagMovableKeys,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Keys: func(args [][]byte) ([]int, bool) { return geoStoreKeys(args, 5) },
		Op: 562, Run: func(c *Ctx) { c.geoSearch(geoForm{args: 5, at: geoAtMember, store: geoStoreOption}) },
		Summary: "Finds places in a circle around one of them; may keep them under a key."},
	{Name: "georadiusbymember_ro", Group: "geo", Since: "3.2.10", Arity: -5, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1,
		Run:     func(c *Ctx) { c.geoSearch(geoForm{args: 5, at: geoAtMember}) },
		Summary: "Finds places in a circle around one of them."},
	{Name: "geosearch", Group: "geo", Since: "6.2.0", Arity: -7, Flags: FlagReadonly,
		FirstKey: 1, LastKey: 1, KeyStep: 1, Run: func(c *Ctx) { c.geoSearch(geoForm{args: 2}) },
		Summary: "Finds places in a circle or a box."},
	{Name: "geosearchstore", Group: "geo", Since: "6.2.0", Arity: -8, Flags: FlagWrite | FlagDenyOOM,
		FirstKey: 1, LastKey: 2, KeyStep: 1, Op: 563,
		Run:     func(c *Ctx) { c.geoSearch(geoForm{args: 3, source: 1, store: geoStoreAlways}) },
		Summary: "GEOSEARCH whose result becomes a sorted set."},
}

// geoStoreKeys finds the source and the destination that STORE or STOREDIST names;
// the last counts.
func geoStoreKeys(args [][]byte, from int) (keys []int, ok bool) {
	keys = []int{1}
	for i := from; i+1 < len(args); i++ {
		if is(args[i], "store") || is(args[i], "storedist") {
			i++
			keys = append(keys[:1], i)
		}
	}
	return keys, true
}

// geoPosition reads longitude and latitude; else it replies an error.
func (c *Ctx) geoPosition(args [][]byte) (p geoPoint, ok bool) {
	var okLon, okLat bool
	p.lon, okLon = parseFloat(args[0])
	p.lat, okLat = parseFloat(args[1])
	switch {
	case !okLon || !okLat:
		c.Out.Error(errNotFloat)
	case !p.valid():
		c.Out.Error("ERR invalid longitude,latitude pair " + fixedPoint(p.lon, 6) + "," + fixedPoint(p.lat, 6))
	default:
		return p, true
	}
	return p, false
}

// fixedPoint is C's %.nf.
func fixedPoint(f float64, n int) string {
	switch s := strconv.FormatFloat(f, 'f', n, 64); s {
	case "+Inf":
		return "inf"
	case "-Inf":
		return "-inf"
	default:
		return s
	}
}

// geoUnit is the length of a unit in meters; else it replies an error.
func (c *Ctx) geoUnit(arg []byte) (meters float64, ok bool) {
	switch {
	case is(arg, "m"):
		return 1, true
	case is(arg, "km"):
		return 1000, true
	case is(arg, "ft"):
		return 0.3048, true
	case is(arg, "mi"):
		return 1609.34, true
	}
	c.Out.Error("ERR unsupported unit provided. please use M, KM, FT, MI")
	return 0, false
}

// cmdGeoAdd is GEOADD key [NX|XX] [CH] longitude latitude member [...]: a ZADD.
func cmdGeoAdd(c *Ctx) {
	at, nx, xx := 2, false, false
options:
	for ; at < len(c.Args); at++ {
		switch opt := c.Args[at]; {
		case is(opt, "nx"):
			nx = true
		case is(opt, "xx"):
			xx = true
		case !is(opt, "ch"):
			break options
		}
	}
	triples := c.Args[at:]
	if len(triples)%3 != 0 || nx && xx {
		c.syntaxError()
		return
	}
	args := append([][]byte(nil), c.Args[:at]...)
	for ; len(triples) > 0; triples = triples[3:] {
		p, ok := c.geoPosition(triples)
		if !ok {
			return
		}
		args = append(args, appendUint(nil, p.score()), triples[2])
	}
	c.Args = args
	zadd(c, zaddFlags{})
}

// geoMember is the position of a member.
func (z *zsetView) geoMember(member []byte) (p geoPoint, ok bool) {
	score, ok := z.score(member)
	if !ok {
		return p, false
	}
	return geoPointOf(score), true
}

// cmdGeoDist is GEODIST key member1 member2 [unit].
func cmdGeoDist(c *Ctx) {
	unit := 1.0
	if len(c.Args) > 5 {
		c.syntaxError()
		return
	}
	if len(c.Args) == 5 {
		var ok bool
		if unit, ok = c.geoUnit(c.Args[4]); !ok {
			return
		}
	}
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	p, found1 := z.geoMember(c.Args[2])
	q, found2 := z.geoMember(c.Args[3])
	if !found1 || !found2 {
		c.Out.Null()
		return
	}
	c.Out.BulkString(fixedPoint(p.distance(q)/unit, 4))
}

// cmdGeoHash is GEOHASH key [member ...].
func cmdGeoHash(c *Ctx) {
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	c.Out.Array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		if p, found := z.geoMember(member); found {
			c.Out.BulkString(p.geohashText())
		} else {
			c.Out.Null()
		}
	}
}

// cmdGeoPos is GEOPOS key [member ...].
func cmdGeoPos(c *Ctx) {
	z, ok := c.openZSet(c.Args[1])
	if !ok {
		return
	}
	c.Out.Array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		if p, found := z.geoMember(member); found {
			c.replyPosition(p)
		} else {
			c.Out.NullArray()
		}
	}
}

func (c *Ctx) replyPosition(p geoPoint) {
	c.Out.Array(2)
	for _, f := range [2]float64{p.lon, p.lat} {
		c.Out.DoubleText(humanDouble(f))
	}
}

// humanDouble is f with 17 decimals and without trailing zeros.
func humanDouble(f float64) []byte {
	text := strconv.AppendFloat(nil, f, 'f', longDoubleDigits, 64)
	text = bytes.TrimSuffix(bytes.TrimRight(text, "0"), []byte("."))
	if string(text) == "-0" {
		return text[1:]
	}
	return text
}
