package kv

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who is told to be outside is, near the edge, the poles and the date line too.
func TestWhoIsMissedIsOutside(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	told := 0
	for range 300_000 {
		s := geoShape{unit: 1, radius: math.Exp(r.Float64() * 15), center: geoPoint{lon: r.Float64()*360 - 180, lat: r.Float64()*170 - 85}}
		if r.IntN(4) == 0 {
			s.center.lon = 180 - r.Float64()/100
		}
		// Around the edge, in a direction that is often one of the four extremes.
		angle, way := degrees(s.radius/earthRadius)*(1+(r.Float64()-0.5)*math.Exp(-20*r.Float64())), r.Float64()*2*math.Pi
		if r.IntN(2) == 0 {
			way = float64(r.IntN(4)) * math.Pi / 2
		}
		p := geoPoint{lon: s.center.lon + angle*math.Cos(way)/math.Cos(radians(s.center.lat)), lat: s.center.lat + angle*math.Sin(way)}
		p.lon = math.Mod(p.lon+540, 360) - 180
		if p.lat = min(max(p.lat, -geoLatMax), geoLatMax); r.IntN(100) == 0 {
			p.lon = 180
		}
		bits := p.score()
		if near := s.near(); near.misses(bits) {
			told++
			center := s.center.fixed()
			_, inside := s.contains(&center, geoPointAt(bits))
			require.False(t, inside, "%+v %+v", s, p)
		}
	}
	require.Greater(t, told, 10_000)
}

// Of few hits those are kept, and in that order, that a stable sort of all puts first.
func TestFewOfTheHitsAreThoseOfAStableSort(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		q := geoQuery{count: 1 + r.Int64N(32), desc: r.IntN(2) == 0}
		var all, few []geoHit
		for i := range r.IntN(80) {
			h := geoHit{score: float64(i), distance: float64(r.IntN(20))}
			all, few = append(all, h), q.add(few, h)
		}
		slices.SortStableFunc(all, q.compare)
		require.Equal(t, all[:min(len(all), int(q.count))], few)
	}
}
