package page

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"
)

// line is one curve of a chart.
type line struct {
	class string
	step  bool // holds its value until the next point
	of    func(Point) float64
}

func lines() []line {
	return []line{
		{"demand", false, func(p Point) float64 { return p.Demand }},
		{"ready", true, func(p Point) float64 { return float64(p.Ready) }},
		{"size", true, func(p Point) float64 { return float64(p.Size) }},
	}
}

// frame turns moments and numbers into places of a drawing.
type frame struct {
	from, to      int64
	top           float64
	left, bottom  float64
	width, height float64
}

func (f frame) x(at int64) float64 {
	return f.left + f.width*float64(at-f.from)/float64(max(f.to-f.from, 1))
}
func (f frame) y(v float64) float64 { return f.bottom - f.height*min(v, f.top)/f.top }

// highest is the top of the scale: a round number above everything that is drawn.
func highest(points []Point) float64 {
	most := 1.0
	for _, p := range points {
		for _, l := range lines() {
			if v := l.of(p); v > most && !math.IsInf(v, 0) {
				most = v
			}
		}
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	for _, k := range []float64{1, 2, 5, 10} {
		if k*unit >= most {
			return k * unit
		}
	}
	return most
}

// path draws one curve; what is not a number is left out.
func (f frame) path(points []Point, l line) string {
	var b strings.Builder
	for _, p := range points {
		v := l.of(p)
		if math.IsNaN(v) || v < 0 {
			continue
		}
		x, y := f.x(p.At), f.y(v)
		switch {
		case b.Len() == 0:
			fmt.Fprintf(&b, "M%.1f %.1f", x, y)
		case l.step:
			fmt.Fprintf(&b, "H%.1fV%.1f", x, y)
		default:
			fmt.Fprintf(&b, "L%.1f %.1f", x, y)
		}
	}
	return b.String()
}

// Spark is a chart as small as a word: demand and size. "" without points.
func Spark(s Service, width, height int) template.HTML {
	if len(s.Points) < 2 {
		return ""
	}
	f := frame{from: s.Points[0].At, to: s.Points[len(s.Points)-1].At, top: highest(s.Points), left: 2, bottom: float64(height) - 2, width: float64(width) - 4, height: float64(height) - 4}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="spark" viewBox="0 0 %d %d" width="%d" height="%d" aria-hidden="true">`, width, height, width, height)
	for _, l := range lines() {
		if l.class != "ready" {
			fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, l.class, f.path(s.Points, l))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers and classes of our own
}

// Chart is demand, size and what is ready of a service over time, with a mark
// for each event. People who do not see it are told its ends in words.
func Chart(s Service, width, height int) template.HTML {
	if len(s.Points) < 2 {
		return "<p>This planner has not led for long enough to draw something.</p>"
	}
	first, last := s.Points[0], s.Points[len(s.Points)-1]
	f := frame{from: first.At, to: last.At, top: highest(s.Points), left: 36, bottom: float64(height) - 22, width: float64(width) - 46, height: float64(height) - 34}
	var b strings.Builder
	words := fmt.Sprintf("%s: size from %d to %d, demand from %.1f to %.1f Erlangs, in the time shown", s.Name, first.Size, last.Size, first.Demand, last.Demand)
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, html.EscapeString(words))
	for k := range 3 {
		v := f.top * float64(k) / 2
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fh%.1f"/><text x="%.1f" y="%.1f" class="scale">%s</text>`, f.left, f.y(v), f.width, f.left-6, f.y(v)+4, number(v))
	}
	for k := range 5 {
		at := f.from + (f.to-f.from)*int64(k)/4
		anchor := []string{"start", "middle", "middle", "middle", "end"}[k] // the first and the last stay inside
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="%s">%s</text>`, f.x(at), height-6, anchor, time.Unix(at, 0).UTC().Format("15:04:05"))
	}
	for _, l := range lines() {
		fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, l.class, f.path(s.Points, l))
	}
	for _, e := range s.Events {
		if at := e.At.Unix(); at >= f.from && at <= f.to {
			fmt.Fprintf(&b, `<circle class="event" cx="%.1f" cy="%.1f" r="4"><title>%s</title></circle>`, f.x(at), f.y(float64(e.To)), html.EscapeString(clock(e.At)+": "+e.Words))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // every text is escaped
}

func number(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}
