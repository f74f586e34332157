package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// picture draws the comparison as an SVG: throughput and p99 of SET against clients and
// against the pipeline's length. Cells that were not measured are left out.
func picture(w io.Writer, results map[resultKey][]sample, peers []peer, cells []cell) error {
	rps := func(s sample) float64 { return s.RPS }
	p99 := func(s sample) float64 { return s.P99 }
	var panels []panel
	for _, axis := range []struct {
		title, pattern string
		at             []int
	}{
		{"clients, one command each", "set c=%d P=1", []int{1, 50, 256, 1000}},
		{"commands per request, 50 clients", "set c=50 P=%d", []int{1, 16, 64}},
	} {
		for _, y := range []struct {
			title string
			of    func(sample) float64
		}{{"SET per second", rps}, {"p99, ms", p99}} {
			p := panel{title: y.title + " against " + axis.title}
			for _, x := range axis.at {
				name := fmt.Sprintf(axis.pattern, x)
				if slices.ContainsFunc(cells, func(c cell) bool { return c.Name == name }) {
					p.add(fmt.Sprint(x), name, results, peers, y.of)
				}
			}
			panels = append(panels, p)
		}
	}
	return draw(w, panels)
}

// panel is one diagram: a line for each peer over a few places on the x axis.
type panel struct {
	title string
	xs    []string
	lines []line
}

type line struct {
	name string
	ys   []float64
}

func (p *panel) add(x, cell string, results map[resultKey][]sample, peers []peer, of func(sample) float64) {
	p.xs = append(p.xs, x)
	for i := range peers {
		if len(p.lines) == i {
			p.lines = append(p.lines, line{name: peers[i].Name})
		}
		p.lines[i].ys = append(p.lines[i].ys, median(results[resultKey{peers[i].Name, cell}], of))
	}
}

// span is the whole decades that hold all values; they are drawn on a logarithmic scale.
func (p *panel) span() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		for _, y := range l.ys {
			if y > 0 {
				low, high = min(low, math.Floor(math.Log10(y))), max(high, math.Ceil(math.Log10(y)))
			}
		}
	}
	if math.IsInf(low, 1) {
		return 0, 1
	}
	return low, max(high, low+1)
}

const (
	panelWidth, panelHeight = 460, 320
	marginLeft, marginTop   = 70, 40
	plotWidth, plotHeight   = 360, 200
)

var colours = []string{"#c6302b", "#1f5fa8", "#2b8a3e", "#b07d12", "#6a3fa0", "#444", "#0a8a8a"}

func draw(w io.Writer, panels []panel) error {
	var b strings.Builder
	rows := (len(panels) + 1) / 2
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n",
		2*panelWidth, rows*panelHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", i%2*panelWidth, i/2*panelHeight)
		panels[i].draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *panel) draw(b *strings.Builder) {
	low, high := p.span()
	yOf := func(v float64) float64 { return marginTop + plotHeight*(high-v)/(high-low) }
	fmt.Fprintf(b, `<text x="%d" y="20" font-size="13">%s</text>`+"\n", marginLeft, html.EscapeString(p.title))
	for d := low; d <= high; d++ {
		fmt.Fprintf(b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			marginLeft, yOf(d), plotWidth, marginLeft-6, yOf(d)+4, math.Pow(10, d))
	}
	for i, x := range p.xs {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", p.xOf(i), marginTop+plotHeight+16, x)
	}
	drawn := 0 // a peer that was in none of the cells has no line and no name
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		var points []string
		for k, y := range l.ys {
			if y > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", p.xOf(k), yOf(math.Log10(y))))
			}
		}
		if len(points) == 0 {
			continue
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", marginLeft+drawn%2*170,
			marginTop+plotHeight+34+drawn/2*14, colour, html.EscapeString(l.name))
		drawn++
	}
}

func (p *panel) xOf(i int) float64 {
	return marginLeft + plotWidth*(float64(i)+0.5)/float64(len(p.xs))
}
