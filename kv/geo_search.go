package kv

import (
	"slices"
)

// geoForm is what a search command's name says about its arguments.
type geoForm struct {
	args   int // the options begin here
	source int // 1: the source is the second key
	at     geoOrigin
	store  geoStore
}

type geoOrigin int

const (
	geoByOption   geoOrigin = iota // FROMMEMBER or FROMLONLAT, BYRADIUS or BYBOX
	geoAtPosition                  // key lon lat radius unit
	geoAtMember                    // key member radius unit
)

type geoStore int

const (
	geoStoreNever geoStore = iota
	geoStoreOption
	geoStoreAlways
)

// geoQuery is a parsed search.
type geoQuery struct {
	shape                        geoShape
	hasCenter, hasShape          bool
	fromMember, byRadius         bool
	withDist, withHash, withPos  bool
	sorted, desc, any, storeDist bool
	count                        int64 // 0: all
	dest                         []byte
	stores                       bool
}

// geoHit is a member inside the shape.
type geoHit struct {
	member   []byte
	score    float64
	distance float64 // meters
}

const errNoGeoMember = "ERR could not decode requested zset member"

// geoSearch is GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their
// read-only forms.
func (c *Ctx) geoSearch(form geoForm) {
	z, ok := c.openZSet(c.Args[1+form.source])
	if !ok {
		return
	}
	var q geoQuery
	if !q.parse(c, form, &z) {
		return
	}
	if !z.found && !q.stores {
		c.Out.Array(0)
		return
	}
	var room [16]geoHit
	hits := q.search(c, &z, room[:0])
	if q.few() {
		// They are in order and no more than wanted.
	} else if q.sorted || q.count > 0 && !q.any {
		slices.SortStableFunc(hits, q.compare)
	}
	if q.count > 0 && int64(len(hits)) > q.count {
		hits = hits[:q.count]
	}
	if q.stores {
		q.storeHits(c, form, hits)
		return
	}
	q.reply(c, hits)
}

func (q *geoQuery) compare(a, b geoHit) int {
	switch {
	case a.distance == b.distance:
		return 0
	case a.distance < b.distance == !q.desc:
		return -1
	}
	return 1
}

// parse reads the arguments; else it replies an error.
func (q *geoQuery) parse(c *Ctx, form geoForm, z *zsetView) (ok bool) {
	switch form.at {
	case geoAtPosition:
		if q.shape.center, ok = c.geoPosition(c.Args[2:]); !ok || !q.radius(c, c.Args[4:]) {
			return false
		}
	case geoAtMember:
		if !z.found {
			break // the options decide what is replied
		}
		if q.shape.center, ok = z.geoMember(c.Args[2]); !ok {
			c.Out.Error(errNoGeoMember)
			return false
		}
		if !q.radius(c, c.Args[3:]) {
			return false
		}
	}
	if form.store == geoStoreAlways {
		q.dest, q.stores = c.Args[1], true
	}
	for args := c.Args[form.args:]; len(args) > 0; {
		used, ok := q.option(c, form, z, args)
		if !ok {
			return false
		}
		args = args[used:]
	}
	return q.check(c, form)
}

// option reads the option args begins with and returns how many arguments it took;
// else it replies an error.
func (q *geoQuery) option(c *Ctx, form geoForm, z *zsetView, args [][]byte) (used int, ok bool) {
	more := len(args) - 1
	switch opt := args[0]; {
	case is(opt, "withdist"):
		q.withDist = true
	case is(opt, "withhash"):
		q.withHash = true
	case is(opt, "withcoord"):
		q.withPos = true
	case is(opt, "any"):
		q.any = true
	case is(opt, "asc"):
		q.sorted, q.desc = true, false
	case is(opt, "desc"):
		q.sorted, q.desc = true, true
	case is(opt, "count") && more >= 1:
		n, ok := parseInt(args[1])
		if !ok {
			c.Out.Error(errNotInt)
			return 0, false
		}
		if n <= 0 {
			c.Out.Error("ERR COUNT must be > 0")
			return 0, false
		}
		q.count = n
		return 2, true
	case form.store == geoStoreOption && (is(opt, "store") || is(opt, "storedist")) && more >= 1:
		q.dest, q.stores, q.storeDist = args[1], true, is(opt, "storedist")
		return 2, true
	case form.store == geoStoreAlways && is(opt, "storedist"):
		q.storeDist = true
	case form.at == geoByOption:
		return q.areaOption(c, z, args)
	default:
		c.syntaxError()
		return 0, false
	}
	return 1, true
}

// areaOption reads where GEOSEARCH searches.
func (q *geoQuery) areaOption(c *Ctx, z *zsetView, args [][]byte) (used int, ok bool) {
	more := len(args) - 1
	switch opt := args[0]; {
	case is(opt, "frommember") && more >= 1 && (!q.hasCenter || q.fromMember):
		q.hasCenter, q.fromMember = true, true
		if !z.found {
			return 2, true
		}
		if q.shape.center, ok = z.geoMember(args[1]); !ok {
			c.Out.Error(errNoGeoMember)
		}
		return 2, ok
	case is(opt, "fromlonlat") && more >= 2 && !q.fromMember:
		q.hasCenter = true
		q.shape.center, ok = c.geoPosition(args[1:])
		return 3, ok
	case is(opt, "byradius") && more >= 2 && !q.shape.box:
		q.hasShape, q.byRadius = true, true
		return 3, q.radius(c, args[1:])
	case is(opt, "bybox") && more >= 3 && !q.byRadius:
		q.hasShape, q.shape.box = true, true
		return 4, q.box(c, args[1:])
	}
	c.syntaxError()
	return 0, false
}

// radius reads a radius and its unit; else it replies an error.
func (q *geoQuery) radius(c *Ctx, args [][]byte) (ok bool) {
	if q.shape.radius, ok = parseFloat(args[0]); !ok {
		c.Out.Error("ERR need numeric radius")
		return false
	}
	if q.shape.radius < 0 {
		c.Out.Error("ERR radius cannot be negative")
		return false
	}
	q.shape.unit, ok = c.geoUnit(args[1])
	return ok
}

// box reads width, height and their unit; else it replies an error.
func (q *geoQuery) box(c *Ctx, args [][]byte) (ok bool) {
	if q.shape.width, ok = parseFloat(args[0]); !ok {
		c.Out.Error("ERR need numeric width")
		return false
	}
	if q.shape.height, ok = parseFloat(args[1]); !ok {
		c.Out.Error("ERR need numeric height")
		return false
	}
	if q.shape.width < 0 || q.shape.height < 0 {
		c.Out.Error("ERR height or width cannot be negative")
		return false
	}
	q.shape.unit, ok = c.geoUnit(args[2])
	return ok
}

// check replies an error for options that do not go together.
func (q *geoQuery) check(c *Ctx, form geoForm) bool {
	switch {
	case q.stores && (q.withDist || q.withHash || q.withPos):
		what := "STORE option in GEORADIUS"
		if form.store == geoStoreAlways {
			what = "GEOSEARCHSTORE"
		}
		c.Out.Error("ERR " + what + " is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
	case form.at == geoByOption && !q.hasCenter:
		c.Out.Error("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + clip(c.Args[0], maxNameLen))
	case form.at == geoByOption && !q.hasShape:
		c.Out.Error("ERR exactly one of BYRADIUS and BYBOX can be specified for " + clip(c.Args[0], maxNameLen))
	case q.any && q.count == 0:
		c.Out.Error("ERR the ANY argument requires COUNT argument")
	default:
		return true
	}
	return false
}

// few reports whether so few of the nearest are wanted that each is put in its place when
// it is found.
func (q *geoQuery) few() bool { return q.count > 0 && q.count <= 32 && !q.any }

// add adds a hit; of few it keeps those wanted, in the order a stable sort makes.
func (q *geoQuery) add(hits []geoHit, h geoHit) []geoHit {
	if !q.few() {
		return append(hits, h)
	}
	i := len(hits)
	if int64(i) < q.count {
		hits = append(hits, h)
	} else if i--; q.compare(h, hits[i]) >= 0 {
		return hits
	}
	for ; i > 0 && q.compare(h, hits[i-1]) < 0; i-- {
		hits[i] = hits[i-1]
	}
	hits[i] = h
	return hits
}

// search adds the members inside the shape to hits, cell by cell; with ANY only as many as
// are wanted.
func (q *geoQuery) search(c *Ctx, z *zsetView, hits []geoHit) []geoHit {
	if !z.found {
		return nil
	}
	full := func() bool { return q.any && int64(len(hits)) >= q.count }
	near, center := q.shape.near(), q.shape.center.fixed()
	var room [len(geoDirections)]geoCell
	for _, cell := range q.shape.appendCells(room[:0]) {
		if full() {
			break
		}
		from, to := cell.scores()
		c.work(z.walkScores(from, to, func(member []byte, score float64) bool {
			bits := geoBits(score)
			if near.misses(bits) {
				return true
			}
			if distance, inside := q.shape.contains(&center, geoPointAt(bits)); inside {
				hits = q.add(hits, geoHit{member, score, distance})
			}
			return !full()
		}))
	}
	return hits
}

// reply tells the hits, each with what was asked for.
func (q *geoQuery) reply(c *Ctx, hits []geoHit) {
	extra := 0
	for _, with := range [3]bool{q.withDist, q.withHash, q.withPos} {
		if with {
			extra++
		}
	}
	c.Out.Array(len(hits))
	for i := range hits {
		h := &hits[i]
		if extra > 0 {
			c.Out.Array(1 + extra)
		}
		c.Out.Bulk(h.member)
		if q.withDist {
			c.Out.BulkString(fixedPoint(h.distance/q.shape.unit, 4))
		}
		if q.withHash {
			c.Out.Int(int64(geoBits(h.score)))
		}
		if q.withPos {
			c.replyPosition(geoPointOf(h.score))
		}
	}
}

// storeHits makes the hits the destination's sorted set.
func (q *geoQuery) storeHits(c *Ctx, form geoForm, hits []geoHit) {
	event := "georadiusstore"
	if form.store == geoStoreAlways {
		event = "geosearchstore"
	}
	longest := 0
	for _, h := range hits {
		longest = max(longest, len(h.member))
	}
	dst := c.newZSet(q.dest)
	dst.expect(len(hits), longest)
	for _, h := range hits {
		score := h.score
		if q.storeDist {
			score = h.distance / q.shape.unit
		}
		dst.put(h.member, score, 0, false)
	}
	dst.replaceKey(event, len(hits))
	c.Out.Int(int64(len(hits)))
}
