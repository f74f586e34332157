package kv

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (g commandGen) position() []string {
	lon, lat := g.Float64()*360-180, g.Float64()*170-85
	switch g.IntN(4) {
	case 0: // close together
		lon, lat = 13+g.Float64(), 52+g.Float64()
	case 1: // near the date line and the poles
		lon, lat = 179.9+g.Float64()/10, 84+g.Float64()
	}
	if g.IntN(2) == 0 {
		lon, lat = -lon, -lat
	}
	return []string{strconv.FormatFloat(lon, 'g', -1, 64), strconv.FormatFloat(lat, 'g', -1, 64)}
}

func (g commandGen) geo() []string {
	member := func() string { return "m" + g.num(0, 60) }
	switch g.IntN(8) {
	case 0, 1:
		args := cmd("GEOADD g", g.pick("", "", "NX", "XX CH", "CH"))
		for range 1 + g.IntN(4) {
			args = append(append(args, g.position()...), member())
		}
		return args
	case 2:
		return cmd("GEODIST g", member(), member(), g.pick("", "m", "km", "ft", "mi"))
	case 3:
		return cmd("GEOHASH g", member(), member())
	case 4:
		return cmd("GEOPOS g", member(), member())
	}
	size := func() string { return g.pick("1", "100", "1000", "5000.5", g.num(1, 30000)) + g.pick("", "", "00") }
	args := cmd(g.pick("GEOSEARCH g", "GEOSEARCHSTORE out g"))
	store := args[0] == "GEOSEARCHSTORE"
	if g.IntN(3) == 0 {
		args = append(args, "FROMMEMBER", member())
	} else {
		args = append(append(args, "FROMLONLAT"), g.position()...)
	}
	if g.IntN(2) == 0 {
		args = append(args, "BYRADIUS", size(), g.pick("m", "km", "mi"))
	} else {
		args = append(args, "BYBOX", size(), size(), g.pick("m", "km", "ft"))
	}
	args = append(args, cmd(g.pick("", "ASC", "DESC"))...)
	if g.IntN(3) == 0 {
		args = append(args, "COUNT", g.num(1, 20))
	}
	if !store {
		args = append(args, cmd(g.pick("", "WITHDIST", "WITHCOORD", "WITHHASH WITHDIST"))...)
	}
	return args
}

func TestRandomGeoAgainstRedis(t *testing.T) {
	runRandomCommands(t, startRedis(t), 8, func(g commandGen) []string {
		if g.IntN(12) == 0 {
			return cmd("ZRANGE out 0 -1 WITHSCORES")
		}
		return g.geo()
	})
}

// A search by cells finds what a look at every member finds.
func TestGeoSearchFindsAll(t *testing.T) {
	n := newTestNode(t)
	r := rand.New(rand.NewPCG(3, 3))
	g := commandGen{r}
	points := map[string]geoPoint{}
	for i := range 3000 {
		name := "m" + strconv.Itoa(i)
		n.do(append([]string{"GEOADD", "g"}, append(g.position(), name)...)...)
		score, err := strconv.ParseFloat(n.doValue([]string{"ZSCORE", "g", name}).text, 64)
		require.NoError(t, err)
		points[name] = geoPointOf(score)
	}
	for range 300 {
		at := g.position()
		lon, _ := strconv.ParseFloat(at[0], 64)
		lat, _ := strconv.ParseFloat(at[1], 64)
		if math.Abs(lat) > 70 || math.Abs(lon) > 150 {
			continue // a box of degrees does not wrap round, in Redis neither
		}
		km := math.Exp(r.Float64() * 7)
		shape := geoShape{center: geoPoint{lon, lat}, unit: 1000, radius: km}
		center, want := shape.center.fixed(), 0
		for _, p := range points {
			if _, inside := shape.contains(&center, p); inside {
				want++
			}
		}
		got := n.doValue(cmd("GEOSEARCH g FROMLONLAT", at, "BYRADIUS", strconv.FormatFloat(km, 'g', -1, 64), "km"))
		require.Len(t, got.elems, want, "%v %v", at, km)
	}
}

// Scores that are no positions, lengths without bounds: an answer, and no panic.
func TestGeoOddNumbers(t *testing.T) {
	n := newTestNode(t)
	n.do("ZADD", "z", "-1", "a", "1e300", "b", "-inf", "c", "inf", "d", "4503599627370496", "e", "1.5", "f", "18446744073709551615", "g")
	for _, m := range strings.Split("abcdefg", "") {
		require.NotContains(t, n.do("GEOPOS", "z", m), "error")
		require.NotContains(t, n.do("GEOHASH", "z", m), "error")
		for _, size := range []string{"0", "1e-300", "1e300", "inf", "1"} {
			require.NotContains(t, n.do("GEOSEARCH", "z", "FROMMEMBER", m, "BYRADIUS", size, "mi"), "error")
			require.NotContains(t, n.do("GEOSEARCH", "z", "FROMMEMBER", m, "BYBOX", size, size, "mi", "ASC"), "error")
		}
	}
}

func TestInterleave(t *testing.T) {
	for _, x := range []uint32{0, 1, 0xffffffff, 0x12345678, 1 << 26} {
		for _, y := range []uint32{0, 1, 0xffffffff, 0x9abcdef0, 1<<26 - 1} {
			a, b := deinterleave(interleave(x, y))
			require.Equal(t, x, a)
			require.Equal(t, y, b)
		}
	}
}
