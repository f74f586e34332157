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

// contains reports whether the position is inside, and its distance in meters.
func (s *geoShape) contains(p geoPoint) (distance float64, ok bool) {
	if !s.box {
		distance = s.center.distance(p)
		return distance, distance <= s.radius*s.unit
	}
	if latDistance(p.lat, s.center.lat) > s.height*s.unit/2 {
		return 0, false
	}
	across := p.distance(geoPoint{s.center.lon, p.lat})
	if across > s.width*s.unit/2 {
		return 0, false
	}
	return s.center.distance(p), true
}

// geoFar tells most positions outside a circle without a sine: the cells that are searched
// cover three times its area. Where that is not safe it tells none.
type geoFar struct{ lon, lat float64 }

// far is for a circle small and far enough from the poles. The margin is much more than
// what rounding does to a distance.
func (s *geoShape) far() geoFar {
	const margin, small, polar = 1 + 1e-6, 0.2, 80
	angle := float64(s.radius * s.unit / earthRadius)
	if s.box || !(angle > 1e-9 && angle < small) || math.Abs(s.center.lat)+degrees(angle) > polar {
		return geoFar{math.Inf(1), math.Inf(1)}
	}
	lon, lat := s.bounds()
	return geoFar{float64((lon.max - lon.min) / 2 * margin), float64((lat.max - lat.min) / 2 * margin)}
}

// from reports whether p is certainly outside.
func (f geoFar) from(center, p geoPoint) bool {
	lon := math.Abs(p.lon - center.lon)
	return math.Abs(p.lat-center.lat) > f.lat || min(lon, 360-lon) > f.lon
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

// cells are the cells that together cover the shape, in the order of search.
func (s *geoShape) cells() (cells []geoCell) {
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
