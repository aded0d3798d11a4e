package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"svckit/lib/simulate"
)

// points is how many points a line has at most: what is between them is summed up.
const points = 1440

// line is one policy's course, in pieces of step seconds.
type line struct {
	name    string
	step    int
	size    []float64 // workers wanted: the largest of a piece
	demand  []float64 // Erlangs: the mean of a piece
	waiting []float64 // requests that wait: the largest of a piece
	n       int
}

func newLine(name string, seconds int) *line { return &line{name: name, step: max(1, seconds/points)} }

func (l *line) see(s simulate.Second) {
	k := s.At / l.step
	if k >= len(l.size) {
		l.size, l.demand, l.waiting, l.n = append(l.size, 0), append(l.demand, 0), append(l.waiting, 0), 0
	}
	l.size[k] = max(l.size[k], float64(s.Want))
	l.waiting[k] = max(l.waiting[k], float64(s.Waiting))
	l.demand[k] = (l.demand[k]*float64(l.n) + s.Demand) / float64(l.n+1)
	l.n++
}

func (l *line) xy(values []float64) plotter.XYs {
	out := make(plotter.XYs, len(values))
	for i, v := range values {
		out[i] = plotter.XY{X: float64(i*l.step) / 3600, Y: v}
	}
	return out
}

// Colours that people with colour blindness can tell apart (Okabe and Ito).
func colours() []color.Color {
	return []color.Color{
		color.RGBA{0, 114, 178, 255},
		color.RGBA{230, 159, 0, 255},
		color.RGBA{0, 158, 115, 255},
		color.RGBA{204, 121, 167, 255},
		color.RGBA{213, 94, 0, 255},
		color.RGBA{86, 180, 233, 255},
		color.RGBA{120, 120, 20, 255},
	}
}

// draw writes the plot: above demand, sizes and events, below what waits.
func (t *trial) draw() error {
	upper, lower := plot.New(), plot.New()
	if err := t.fill(upper, lower); err != nil {
		return fmt.Errorf("draw plot: %w", err)
	}
	const width, height = 16 * vg.Inch, 9 * vg.Inch
	var out bytes.Buffer
	paint := func(c vg.CanvasSizer) {
		all := draw.New(c)
		above, below := draw.Crop(all, 10, -10, height*0.28, -10), draw.Crop(all, 10, -10, 10, -height*0.73)
		// The same hour is at the same place in both.
		if d := upper.DataCanvas(above).Min.X - lower.DataCanvas(below).Min.X; d > 0 {
			below = draw.Crop(below, d, 0, 0, 0)
		} else {
			above = draw.Crop(above, -d, 0, 0, 0)
		}
		upper.Draw(above)
		lower.Draw(below)
	}
	var err error
	if strings.HasSuffix(t.plot, ".svg") {
		c := vgsvg.New(width, height)
		paint(c)
		_, err = c.WriteTo(&out)
	} else {
		c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(96), vgimg.UseBackgroundColor(color.White))}
		paint(c)
		_, err = c.WriteTo(&out)
	}
	if err != nil {
		return fmt.Errorf("draw plot: %w", err)
	}
	if err := os.WriteFile(t.plot, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write plot: %w", err)
	}
	return nil
}

func (t *trial) fill(upper, lower *plot.Plot) error {
	upper.Title.Text = fmt.Sprintf("%s: %d SLO minutes, %.3f %% late, cost %.2f, %d actions",
		t.trace.Name, t.rows[0].Result.SLOMinutes, t.rows[0].LatePercent, t.rows[0].Cost, t.rows[0].Result.Actions)
	upper.Y.Label.Text, lower.Y.Label.Text = "workers", "waiting"
	lower.X.Label.Text = "hours"
	upper.Y.Min, lower.Y.Min = 0, 0
	upper.Legend.Top, upper.Legend.Left = true, true
	upper.Legend.YOffs = -4
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{220}, color.Gray{235}
	upper.Add(grid)
	demand, err := plotter.NewLine(t.lines[0].xy(t.lines[0].demand))
	if err != nil {
		return err
	}
	demand.FillColor = color.Gray{215}
	demand.Color = color.Gray{150}
	upper.Add(demand)
	upper.Legend.Add("demand in Erlangs", demand)
	for i := len(t.lines) - 1; i >= 0; i-- { // the policy itself on top
		l := t.lines[i]
		size, err := plotter.NewLine(l.xy(l.size))
		if err != nil {
			return err
		}
		size.StepStyle = plotter.PostStep
		size.Color = colours()[i%len(colours())]
		size.Width = vg.Points(1)
		if i == 0 {
			size.Width = vg.Points(2)
		}
		waiting, err := plotter.NewLine(l.xy(l.waiting))
		if err != nil {
			return err
		}
		waiting.Color, waiting.Width = size.Color, size.Width
		upper.Add(size)
		lower.Add(waiting)
		upper.Legend.Add(l.name, size)
	}
	hours := float64(t.trace.Len()) / 3600
	upper.X.Min, upper.X.Max, lower.X.Min, lower.X.Max = 0, hours, 0, hours
	// A peer that overshoots does not hide the rest: what is shown ends above the
	// demand and the policy itself, with room for the events.
	most := 1.0
	for i := range t.lines[0].size {
		most = max(most, t.lines[0].size[i], t.lines[0].demand[i])
	}
	upper.Y.Max = min(upper.Y.Max, 1.6*most) * 1.25
	upper.X.Tick.Marker, lower.X.Tick.Marker = ticks(hours), ticks(hours)
	lower.Y.Tick.Marker = whole{}
	return t.mark(upper)
}

// ticks are whole hours, at most 25 of them; minutes where the trace is short.
func ticks(hours float64) plot.ConstantTicks {
	step := 1.0
	for _, s := range []float64{1.0 / 12, 0.25, 0.5, 1, 2, 6, 12, 24, 48} {
		if step = s; hours/s <= 25 {
			break
		}
	}
	var out plot.ConstantTicks
	for x := 0.0; x <= hours+1e-9; x += step {
		text := fmt.Sprintf("%.0f", x)
		if step < 1 {
			text = fmt.Sprintf("%.2f", x)
		}
		out = append(out, plot.Tick{Value: x, Label: text})
	}
	return out
}

// whole are ticks at whole numbers.
type whole struct{}

// Ticks returns three of them.
func (whole) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	for _, v := range []float64{low, (low + high) / 2, high} {
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%.0f", v)})
	}
	return out
}

// mark draws the events as lines with their words, as many as can be read.
func (t *trial) mark(p *plot.Plot) error {
	const most = 24
	shown := 0
	last, level := -1.0, 0
	for _, e := range t.events {
		if shown == most {
			break
		}
		shown++
		x := float64(e.At) / 3600
		if x-last > p.X.Max/9 {
			level = 0
		}
		last = x
		y := p.Y.Max * (0.985 - 0.03*float64(level))
		level = (level + 1) % 8
		bar, err := plotter.NewLine(plotter.XYs{{X: x, Y: 0}, {X: x, Y: y}})
		if err != nil {
			return err
		}
		bar.Color, bar.Dashes = color.RGBA{160, 0, 0, 160}, []vg.Length{3, 3}
		text := e.What
		if len(text) > 48 {
			text = text[:47] + "…"
		}
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: x, Y: y}}, Labels: []string{text}})
		if err != nil {
			return err
		}
		label.Offset = vg.Point{X: 3, Y: -8}
		if x > p.X.Max*0.8 {
			label.TextStyle[0].XAlign = draw.XRight
			label.Offset.X = -3
		}
		label.TextStyle[0].Font.Size = 8
		label.TextStyle[0].Color = color.RGBA{120, 0, 0, 255}
		p.Add(bar, label)
	}
	return nil
}
