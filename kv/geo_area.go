package kv

import "math"

// geoShape is what a search covers: a circle or a box around a position. Lengths
// are in the unit the client named; unit is its length in meters.
type geoShape struct {
	center        geoPoint
	unit          float64
	box           bool
	radius        float64
	width, height float64
}

// contains reports whether the position is inside, and its distance in meters from the
// center, which from is.
func (s *geoShape) contains(from *geoFixed, p geoPoint) (distance float64, ok bool) {
	if !s.box {
		distance = from.distance(p)
		return distance, distance <= s.radius*s.unit
	}
	if latDistance(p.lat, s.center.lat) > s.height*s.unit/2 {
		return 0, false
	}
	across := p.distance(geoPoint{s.center.lon, p.lat})
	if across > s.width*s.unit/2 {
		return 0, false
	}
	return from.distance(p), true
}

// geoNear tells most positions outside a circle by the bits of their scores alone: the
// cells that are searched cover three times its area. Each coordinate is compared where it
// stands, in every other bit. Where that is not safe it tells none.
type geoNear struct{ minLon, maxLon, minLat, maxLat uint64 }

const (
	geoLatBits = 0x5555555555555555
	geoLonBits = geoLatBits << 1
)

// near is for a circle small and far enough from the poles and, for longitudes, from the
// date line. The margin is much more than what rounding does to a distance.
func (s *geoShape) near() geoNear {
	const margin, small, polar = 1 + 1e-6, 0.2, 80
	near := geoNear{0, geoLonBits, 0, geoLatBits}
	angle := float64(s.radius * s.unit / earthRadius)
	if s.box || !(angle > 1e-9 && angle < small) || math.Abs(s.center.lat)+degrees(angle) > polar {
		return near
	}
	lon, lat := s.bounds()
	from, to := geoLat.indexes(s.center.lat, float64((lat.max-lat.min)/2*margin))
	near.minLat, near.maxLat = spreadBits(from), spreadBits(to)
	if reach := float64((lon.max - lon.min) / 2 * margin); math.Abs(s.center.lon)+reach < geoLonMax {
		from, to := geoLon.indexes(s.center.lon, reach)
		near.minLon, near.maxLon = spreadBits(from)<<1, spreadBits(to)<<1
	}
	return near
}

// indexes are the first and the last position of those around x, one more on both sides.
func (r geoRange) indexes(x, reach float64) (from, to uint32) {
	return max(r.index(max(x-reach, r.min), geoSteps), 1) - 1, r.index(x+reach, geoSteps) + 1
}

// misses reports whether a position is certainly outside.
func (n *geoNear) misses(bits uint64) bool {
	lon, lat := bits&geoLonBits, bits&geoLatBits
	return lat < n.minLat || lat > n.maxLat || lon < n.minLon || lon > n.maxLon
}

// bounds is a box of degrees around the shape.
func (s *geoShape) bounds() (lon, lat geoRange) {
	width, height := s.radius, s.radius
	if s.box {
		width, height = s.width/2, s.height/2
	}
	width, height = width*s.unit, height*s.unit
	dLat := degrees(height / earthRadius)
	// The parallel nearer to the pole is the shorter one: there a length spans more
	// degrees.
	edge := s.center.lat + dLat
	if s.center.lat < 0 {
		edge = s.center.lat - dLat
	}
	dLon := degrees(width / earthRadius / math.Cos(radians(edge)))
	return geoRange{s.center.lon - dLon, s.center.lon + dLon}, geoRange{s.center.lat - dLat, s.center.lat + dLat}
}

// geoCell is a square of the grid with 2^step cells along each coordinate.
type geoCell struct {
	lon, lat uint32
	step     int
}

// moved is the neighbour dx cells east and dy cells north; the grid's ends meet. A
// coordinate that stays is left alone: the upper end of a range, 180 degrees east, is
// in a cell of its own behind the grid, as in Redis, and so are positions stored there.
func (g geoCell) moved(dx, dy int) geoCell {
	mask := uint32(1)<<g.step - 1
	if dx != 0 {
		g.lon = (g.lon + uint32(dx)) & mask
	}
	if dy != 0 {
		g.lat = (g.lat + uint32(dy)) & mask
	}
	return g
}

func (g geoCell) spans() (lon, lat geoRange) {
	return geoLon.cell(g.lon, g.step), geoLat.cell(g.lat, g.step)
}

// scores are those of the positions in the cell, the upper end excluded.
func (g geoCell) scores() (from, to float64) {
	bits, shift := interleave(g.lat, g.lon), 2*(geoSteps-g.step)
	return float64(bits << shift), float64((bits + 1) << shift)
}

func (s *geoShape) cell(step int) geoCell {
	return geoCell{geoLon.index(s.center.lon, step), geoLat.index(s.center.lat, step), step}
}

// geoDirections is the order in which Redis searches: the cell of the center and
// its neighbours.
var geoDirections = [9][2]int{{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}}

// appendCells appends the cells that together cover the shape, in the order of search.
func (s *geoShape) appendCells(cells []geoCell) []geoCell {
	lon, lat := s.bounds()
	reach := s.radius
	if s.box {
		reach = math.Sqrt(float64(s.width/2*(s.width/2)) + float64(s.height/2*(s.height/2)))
	}
	step := geoStep(reach*s.unit, s.center.lat)
	center := s.cell(step)
	if step > 1 && !center.covers(lon, lat) {
		center = s.cell(step - 1)
	}
	ownLon, ownLat := center.spans()
	last := geoCell{}
	for i, d := range geoDirections {
		// What the center's own cell covers on a side needs no neighbour there.
		if center.step >= 2 && (d[1] < 0 && ownLat.min < lat.min || d[1] > 0 && ownLat.max > lat.max ||
			d[0] < 0 && ownLon.min < lon.min || d[0] > 0 && ownLon.max > lon.max) {
			continue
		}
		// In the coarsest grids neighbours on both sides are one cell.
		next := center.moved(d[0], d[1])
		if i > 0 && next == last {
			continue
		}
		if cells = append(cells, next); i > 0 {
			last = next
		}
	}
	return cells
}

// covers reports whether the cell and its neighbours reach to the bounds.
func (g geoCell) covers(lon, lat geoRange) bool {
	_, north := g.moved(0, 1).spans()
	_, south := g.moved(0, -1).spans()
	east, _ := g.moved(1, 0).spans()
	west, _ := g.moved(-1, 0).spans()
	return north.max >= lat.max && south.min <= lat.min && east.max >= lon.max && west.min <= lon.min
}

// geoStep is the finest grid in which three cells in a row span a circle of the
// given radius in meters, roughly; near the poles it is coarser.
func geoStep(meters, lat float64) int {
	if meters == 0 {
		return geoSteps
	}
	const halfMercator = 20037726.37
	step := -1
	for ; meters < halfMercator; meters *= 2 {
		step++
	}
	if math.Abs(lat) > 66 {
		step--
	}
	if math.Abs(lat) > 80 {
		step--
	}
	return min(max(step, 1), geoSteps)
}
