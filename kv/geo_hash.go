package kv

import "math"

// A position as a score: longitude and latitude, each as a 26-bit fraction of its
// range, their bits interleaved, latitude in the even ones. It is Redis's 52-bit
// geohash, which a double holds exactly.
const (
	geoSteps  = 26 // bits of each coordinate
	geoLonMax = 180.0
	geoLatMax = 85.05112878 // of the web's Mercator projection (EPSG:900913)
)

// geoRange is the span of a coordinate.
type geoRange struct{ min, max float64 }

var (
	geoLon      = geoRange{-geoLonMax, geoLonMax}
	geoLat      = geoRange{-geoLatMax, geoLatMax}
	geoLatWhole = geoRange{-90, 90} // of the geohashes the world uses
)

// Products are converted before they are added all over this file and geo_area.go:
// it forbids the compiler to fuse them, which would round differently on some
// machines, and replicas must agree.

// index is the number of the cell that x lies in when the range has 2^step cells.
func (r geoRange) index(x float64, step int) uint32 {
	return uint32(float64((x-r.min)/(r.max-r.min)) * float64(uint64(1)<<step))
}

// cell is the span of a cell.
func (r geoRange) cell(i uint32, step int) geoRange {
	cells, span := float64(uint64(1)<<step), r.max-r.min
	return geoRange{
		r.min + float64(float64(i)/cells*span),
		r.min + float64((float64(i)+1)/cells*span),
	}
}

// middle is the middle of a cell, inside the range it belongs to.
func (r geoRange) middle(of geoRange) float64 {
	return min(max((r.min+r.max)/2, of.min), of.max)
}

// geoPoint is a position in degrees.
type geoPoint struct{ lon, lat float64 }

// valid reports whether the position can be stored.
func (p geoPoint) valid() bool {
	return p.lon >= -geoLonMax && p.lon <= geoLonMax && p.lat >= -geoLatMax && p.lat <= geoLatMax
}

// score is the position as the score of a sorted set.
func (p geoPoint) score() uint64 {
	return interleave(geoLat.index(p.lat, geoSteps), geoLon.index(p.lon, geoSteps))
}

// geoPointOf is the middle of the cell that a score stands for. Scores that are no
// positions, for any sorted set can be asked, give some position.
func geoPointOf(score float64) geoPoint { return geoPointAt(geoBits(score)) }

func geoPointAt(bits uint64) geoPoint {
	lat, lon := deinterleave(bits)
	return geoPoint{
		geoLon.cell(lon, geoSteps).middle(geoLon),
		geoLat.cell(lat, geoSteps).middle(geoLat),
	}
}

// geoBits is a score as an integer. What the language leaves open, outside the
// integers, is settled here: it must be the same on every machine. It is what Redis does
// on x86.
func geoBits(score float64) uint64 {
	switch {
	case score >= 1<<64:
		return 0
	case score < -1<<63:
		return 1 << 63
	case score < 0:
		return uint64(int64(score))
	}
	return uint64(score)
}

// interleave puts the bits of a into the even bits, those of b into the odd ones.
func interleave(a, b uint32) uint64 { return spreadBits(a) | spreadBits(b)<<1 }

func deinterleave(bits uint64) (a, b uint32) { return squeezeBits(bits), squeezeBits(bits >> 1) }

func spreadBits(x uint32) uint64 {
	v := uint64(x)
	v = (v | v<<16) & 0x0000ffff0000ffff
	v = (v | v<<8) & 0x00ff00ff00ff00ff
	v = (v | v<<4) & 0x0f0f0f0f0f0f0f0f
	v = (v | v<<2) & 0x3333333333333333
	return (v | v<<1) & 0x5555555555555555
}

func squeezeBits(v uint64) uint32 {
	v &= 0x5555555555555555
	v = (v | v>>1) & 0x3333333333333333
	v = (v | v>>2) & 0x0f0f0f0f0f0f0f0f
	v = (v | v>>4) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return uint32(v | v>>16)
}

// geohashText is the position in the usual 11-character form.
func (p geoPoint) geohashText() string {
	const alphabet = "0123456789bcdefghjkmnpqrstuvwxyz"
	bits := interleave(geoLatWhole.index(p.lat, geoSteps), geoLon.index(p.lon, geoSteps))
	var text [11]byte
	for i := range 10 {
		text[i] = alphabet[bits>>(47-5*i)&31]
	}
	text[10] = '0' // 52 bits are 10.4 characters
	return string(text[:])
}

// earthRadius in meters, of the sphere distances are measured on.
const earthRadius = 6372797.560856

func radians(degrees float64) float64 { return float64(degrees * (math.Pi / 180)) }
func degrees(radians float64) float64 { return float64(radians / (math.Pi / 180)) }

// distance is the way along a great circle in meters.
func (p geoPoint) distance(q geoPoint) float64 {
	from := p.fixed()
	return from.distance(q)
}

// geoFixed is a position that distances to many are measured from.
type geoFixed struct {
	at               geoPoint
	lon, lat, cosLat float64 // in radians
}

func (p geoPoint) fixed() geoFixed {
	return geoFixed{p, radians(p.lon), radians(p.lat), math.Cos(radians(p.lat))}
}

// distance is the way along a great circle in meters (haversine formula).
func (p *geoFixed) distance(q geoPoint) float64 {
	v := math.Sin((radians(q.lon) - p.lon) / 2)
	if v == 0 {
		return latDistance(p.at.lat, q.lat)
	}
	lat := radians(q.lat)
	u := math.Sin((lat - p.lat) / 2)
	a := float64(u*u) + float64(float64(float64(p.cosLat*math.Cos(lat))*v)*v)
	return 2 * earthRadius * math.Asin(math.Sqrt(min(a, 1))) // rounding can take antipodes beyond 1
}

// latDistance is the distance of two positions on one meridian.
func latDistance(lat1, lat2 float64) float64 {
	return earthRadius * math.Abs(radians(lat2)-radians(lat1))
}
