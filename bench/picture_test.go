package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPictureHasALineForEachPeer(t *testing.T) {
	peers := []peer{{Name: "redis x1"}, {Name: "rkv <x3>"}}
	cells := grid(true)
	results := map[resultKey][]sample{}
	for i, p := range peers {
		for k, c := range cells {
			results[resultKey{p.Name, c.Name}] = []sample{{RPS: float64(1000*(k+1) + i), P99: 2}}
		}
	}
	var b strings.Builder
	require.NoError(t, picture(&b, results, peers, cells))
	lines, texts := 0, ""
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch x := token.(type) {
		case xml.StartElement:
			if x.Name.Local == "polyline" {
				lines++
				require.GreaterOrEqual(t, strings.Count(x.Attr[0].Value, ","), 3, "a point for each cell measured")
			}
		case xml.CharData:
			texts += string(x) + "\n"
		}
	}
	require.Equal(t, 4*len(peers), lines)
	require.Contains(t, texts, "rkv <x3>")
	require.Contains(t, texts, "\n256\n")
	require.NotContains(t, b.String(), `text-anchor="middle">1000<`, "the short grid has no such cell")
	require.NotContains(t, b.String(), "NaN")
}

func TestPictureOfNothing(t *testing.T) {
	var b strings.Builder
	require.NoError(t, picture(&b, nil, []peer{{Name: "x"}}, grid(true)))
	require.NotContains(t, b.String(), "Inf")
}
