package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"svckit/lib/fault"
)

// Bounds of a trace.
const (
	maxSeconds = 31 * 86400
	maxGap     = 86400
	maxRate    = 1e6
	maxService = 600.0
	minService = 0.0005
	maxNodes   = 10_000
)

// column is one column of the file: how its values are bounded and where they go.
type column struct {
	name      string
	low, high float64
	whole     bool
}

func columns() []column {
	return []column{
		{"t", 0, maxSeconds, true},
		{"rps", 0, maxRate, false},
		{"service_s", minService, maxService, false},
		{"metrics", 0, 1, true},
		{"nodes", 0, maxNodes, true},
		{"announce_rps", 0, maxRate, false},
		{"announce_hold_s", 0, maxSeconds, true},
		{"queue_in", 0, maxRate, false},
		{"stuck", 0, 1, true},
	}
}

// ReadCSV reads a trace. The first line names the columns: t (seconds, whole,
// growing), rps, service_s, and if wanted metrics (1 there, 0 missing), nodes
// (alive), announce_rps and announce_hold_s (an announcement made at t),
// queue_in (messages per second: the trace is one of a queue) and stuck
// (1: consumers take nothing). A row's values hold until the next row, and the
// last row ends the trace. Everything that is wrong is a fault of kind Invalid
// that names file and line; at most the first ten are told.
func ReadCSV(r io.Reader, file string) (*Trace, error) {
	reader := csv.NewReader(r)
	reader.TrimLeadingSpace, reader.ReuseRecord, reader.FieldsPerRecord, reader.Comment = true, true, -1, '#'
	p := &csvReader{file: file, reader: reader}
	if err := p.header(); err != nil {
		return nil, err
	}
	for !p.enough() {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var bad *csv.ParseError
			if errors.As(err, &bad) {
				p.wrong(bad.Line, "%v", bad.Err)
				break
			}
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		p.row(record)
	}
	return p.finish()
}

type csvReader struct {
	file   string
	reader *csv.Reader
	cols   []column
	trace  Trace
	last   map[string]float64 // values in force
	has    map[string]bool
	rows   int
	from   int // second of the first row
	bad    []string
}

func (p *csvReader) enough() bool { return len(p.bad) >= 10 }

func (p *csvReader) wrong(line int, format string, args ...any) {
	p.bad = append(p.bad, fmt.Sprintf("%s:%d: %s", p.file, line, fmt.Sprintf(format, args...)))
}

func (p *csvReader) header() error {
	record, err := p.reader.Read()
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "read trace %s: the file is empty: expected a header such as t,rps,service_s", p.file)
	}
	if err != nil {
		return fault.New(fault.Invalid, "read trace %s: %v", p.file, err)
	}
	p.has, p.last = map[string]bool{}, map[string]float64{}
	for _, name := range record {
		k := slices.IndexFunc(columns(), func(c column) bool { return c.name == name })
		switch {
		case k < 0:
			p.wrong(1, "unknown column %q: expected some of t, rps, service_s, metrics, nodes, announce_rps, announce_hold_s, queue_in, stuck", name)
		case p.has[name]:
			p.wrong(1, "column %q is there twice", name)
		default:
			p.cols = append(p.cols, columns()[k])
			p.has[name] = true
		}
	}
	for _, name := range []string{"t", "service_s"} {
		if !p.has[name] {
			p.wrong(1, "column %q is missing", name)
		}
	}
	if !p.has["rps"] && !p.has["queue_in"] {
		p.wrong(1, "column \"rps\" is missing")
	}
	if p.has["announce_rps"] != p.has["announce_hold_s"] {
		p.wrong(1, "announce_rps and announce_hold_s come together")
	}
	if len(p.bad) > 0 {
		return p.invalid()
	}
	return nil
}

func (p *csvReader) row(record []string) {
	line, _ := p.reader.FieldPos(0)
	if len(record) != len(p.cols) {
		p.wrong(line, "expected %d values, found %d", len(p.cols), len(record))
		return
	}
	row := make(map[string]float64, len(record))
	for i, c := range p.cols {
		v, ok := p.value(line, c, record[i])
		if !ok {
			return
		}
		row[c.name] = v
	}
	t := int(row["t"])
	if p.rows == 0 {
		p.from = t
	}
	t -= p.from
	switch before := p.trace.Len(); {
	case p.rows > 0 && t < before:
		p.wrong(line, "t goes from %d to %d: rows must be in the order of time, each second once", before-1+p.from, t+p.from)
		return
	case t-before >= maxGap:
		p.wrong(line, "gap: nothing is said of the %d seconds before; a row holds for at most %d", t-before+1, maxGap)
		return
	case t >= maxSeconds:
		p.wrong(line, "the trace is longer than %d days", maxSeconds/86400)
		return
	}
	p.fill(t)
	announced := row["announce_rps"]
	if announced > 0 && announced != p.last["announce_rps"] {
		p.trace.Announced = append(p.trace.Announced, Announced{At: t, RPS: announced, Hold: int(row["announce_hold_s"])})
	}
	p.last = row
	p.fill(t + 1)
	p.rows++
}

func (p *csvReader) value(line int, c column, text string) (float64, bool) {
	if text == "" {
		p.wrong(line, "%s: gap: the value is missing", c.name)
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), math.IsNaN(v):
		p.wrong(line, "%s: expected a number, found %.40q", c.name, text)
	case v < 0:
		p.wrong(line, "%s: expected a number that is not negative, found %.40s", c.name, text)
	case v < c.low || v > c.high:
		p.wrong(line, "%s: expected a number from %v to %v, found %.40s", c.name, c.low, c.high, text)
	case c.whole && v != math.Trunc(v):
		p.wrong(line, "%s: expected a whole number, found %.40s", c.name, text)
	default:
		return v, true
	}
	return 0, false
}

// fill lets the values in force hold up to second n, exclusive.
func (p *csvReader) fill(n int) {
	t := &p.trace
	for t.Len() < n {
		t.RPS = append(t.RPS, p.last["rps"])
		t.Service = append(t.Service, p.last["service_s"])
		if p.has["metrics"] {
			t.Metrics = append(t.Metrics, p.last["metrics"] == 1)
		}
		if p.has["nodes"] {
			t.Nodes = append(t.Nodes, int(p.last["nodes"]))
		}
		if p.has["queue_in"] {
			t.QueueIn = append(t.QueueIn, p.last["queue_in"])
		}
		if p.has["stuck"] {
			t.Stuck = append(t.Stuck, p.last["stuck"] == 1)
		}
	}
}

func (p *csvReader) finish() (*Trace, error) {
	if len(p.bad) == 0 && p.trace.Len() < 60 {
		p.wrong(1, "the trace lasts %d seconds: expected at least 60; the last row ends it", p.trace.Len())
	}
	if n := p.trace.Requests(); len(p.bad) == 0 && n > MaxRequests/1.1 {
		p.wrong(1, "huge: about %.0f million requests, at most %d million are played; cut the trace or lower its rate", n/1e6, MaxRequests/1_000_000)
	}
	if len(p.bad) > 0 {
		return nil, p.invalid()
	}
	p.trace.Name = p.file
	return &p.trace, nil
}

func (p *csvReader) invalid() error {
	return &fault.Error{Kind: fault.Invalid, Msg: "read trace " + p.file, Err: errors.New("it is not valid"), Detail: p.bad}
}

// WriteCSV writes a trace as ReadCSV reads it, one row each step seconds.
func (t *Trace) WriteCSV(out io.Writer, step int) error {
	w := csv.NewWriter(out)
	head := []string{"t", "rps", "service_s"}
	add := func(there bool, names ...string) {
		if there {
			head = append(head, names...)
		}
	}
	add(t.Metrics != nil, "metrics")
	add(t.Nodes != nil, "nodes")
	add(len(t.Announced) > 0, "announce_rps", "announce_hold_s")
	add(t.QueueIn != nil, "queue_in")
	add(t.Stuck != nil, "stuck")
	if err := w.Write(head); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	announced := 0
	for s := 0; s < t.Len(); s = min(s+max(1, step), max(t.Len()-1, s+1)) {
		row := []string{strconv.Itoa(s), number(t.RPS[s]), number(t.Service[s])}
		if t.Metrics != nil {
			row = append(row, bit(t.Metrics[s]))
		}
		if t.Nodes != nil {
			row = append(row, strconv.Itoa(t.Nodes[s]))
		}
		if len(t.Announced) > 0 {
			rps, hold := 0.0, 0
			if announced < len(t.Announced) && t.Announced[announced].At <= s {
				rps, hold = t.Announced[announced].RPS, t.Announced[announced].Hold
				announced++
			}
			row = append(row, number(rps), strconv.Itoa(hold))
		}
		if t.QueueIn != nil {
			row = append(row, number(t.QueueIn[s]))
		}
		if t.Stuck != nil {
			row = append(row, bit(t.Stuck[s]))
		}
		if err := w.Write(row); err != nil {
			return fmt.Errorf("write trace: %w", err)
		}
	}
	w.Flush()
	return w.Error()
}

func number(f float64) string { return strconv.FormatFloat(math.Round(f*1e4)/1e4, 'f', -1, 64) }

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
