package spec

import (
	"math"
	"strconv"
	"strings"
	"time"

	y "svckit/lib/strictyaml"
)

// Deploy says how a release of an app goes over the fleet.
type Deploy struct {
	Batch   Share    // nodes that are changed at once, default 25%
	Canary  int      // nodes that go first, default 1; 0: none
	Floor   Share    // nodes of a service that are left alone while others are changed without overlap, default 50%
	Windows []Window // when a deploy may begin; none: always
}

// Share is a number of nodes or a part of them: one of the two is set, or neither (none).
type Share struct {
	Count int     // nodes
	Part  float64 // 0 < p ≤ 1
}

// Window is a time of the week.
type Window struct {
	Days []string // mon … sun, of the beginning; none: every day
	From string   // 08:30
	To   string   // exclusive; not after From: ends on the next day
	Zone string   // IANA name, default UTC
}

// Smoke is what is tried of an instance once it is in service: one of HTTP and Command is set, or neither.
type Smoke struct {
	HTTP    string        // path with query; asked at the address and port that DNS gives
	Command []string      // argv, run in the container
	Timeout time.Duration // default 30s
}

// Given reports whether there is anything to try.
func (s Smoke) Given() bool { return s.HTTP != "" || len(s.Command) > 0 }

// Of is how many of n nodes a share is: a part is rounded down, but to no less than one.
func (s Share) Of(n int) int {
	if s.Part > 0 {
		return min(max(int(math.Floor(s.Part*float64(n)+1e-9)), 1), n)
	}
	return min(s.Count, n)
}

// String is 25% or 3, as in app.yaml.
func (s Share) String() string {
	if s.Part > 0 {
		return y.FormatPercent(s.Part)
	}
	return strconv.Itoa(s.Count)
}

// ParseShare reads 25% or 3.
func ParseShare(s string) (Share, bool) {
	if strings.HasSuffix(s, "%") {
		f, err := y.ParsePercent(s)
		return Share{Part: f}, err == nil && f > 0 && f <= 1
	}
	n, err := strconv.Atoi(s)
	return Share{Count: n}, err == nil && n >= 0 && n <= maxNodes && s == strconv.Itoa(n)
}

// maxNodes bounds a number of nodes.
const maxNodes = 10_000

// DefaultDeploy is how an app is deployed that says nothing.
func DefaultDeploy() Deploy {
	return Deploy{Batch: Share{Part: 0.25}, Canary: 1, Floor: Share{Part: 0.5}}
}

func (d *decoder) deploy(v y.Value) Deploy {
	f := d.Fields(v, "a mapping such as {batch: 25%, canary: 1}", "batch", "canary", "floor", "window")
	def := DefaultDeploy()
	return Deploy{
		Batch:   d.share(f.Get("batch"), def.Batch, 1),
		Canary:  d.Int(f.Get("canary"), def.Canary, 0, maxNodes),
		Floor:   d.share(f.Get("floor"), def.Floor, 0),
		Windows: d.windows(f.Get("window")),
	}
}

// share reads a number of nodes, or a percentage of them.
func (d *decoder) share(v y.Value, def Share, low int) Share {
	switch {
	case !v.Given():
		return def
	case v.Kind == y.Number:
		return Share{Count: d.Int(v, 0, low, maxNodes)}
	}
	s, ok := ParseShare(v.Text)
	if v.Kind != y.Text || !ok || s.Part == 0 {
		d.Addf(v, "expected a number of nodes or a percentage above 0%% and at most 100%% such as 25%%, found %s", v.Found())
		return def
	}
	return s
}

func (d *decoder) windows(v y.Value) (out []Window) {
	const example = `a mapping such as {days: [mon, thu], from: "09:00", to: "17:00", zone: Europe/Berlin}`
	for _, item := range d.List(v, "a list of mappings", 16) {
		f := d.Fields(item, example, "days", "from", "to", "zone")
		d.require(f, "from", `expected a time of day such as "09:00"`)
		d.require(f, "to", `expected a time of day such as "17:00"`)
		out = append(out, Window{
			Days: d.days(f.Get("days")), From: d.Text(f.Get("from"), "", clockRule()), To: d.Text(f.Get("to"), "", clockRule()),
			Zone: d.Text(f.Get("zone"), "UTC", zoneRule()),
		})
	}
	return out
}

// smoke reads what is tried of an instance that is in service.
func (d *decoder) smoke(v y.Value, port y.Value) Smoke {
	f := d.Fields(v, "a mapping such as {http: /ready} or {command: [./smoke]}", "http", "command", "timeout")
	s := Smoke{
		HTTP:    d.Text(f.Get("http"), "", httpPathRule()),
		Command: d.words(f.Get("command"), "a list of arguments such as [./smoke, --quick]; no shell reads it"),
		Timeout: d.Duration(f.Get("timeout"), 30*time.Second, 100*time.Millisecond, 30*time.Minute),
	}
	http, command := f.Get("http").Given(), f.Get("command").Given()
	switch {
	case http && command:
		d.Addf(f.Get("command"), "expected either http or command, found both")
	case http && !port.Given():
		d.Addf(f.Get("http"), "a service without a port cannot be asked by http: set command")
	case f.Read() && !http && !command, command && len(s.Command) == 0 && f.Get("command").Kind == y.List:
		d.Addf(v, "a smoke test needs http or command")
	}
	if !http && !command {
		return Smoke{}
	}
	return s
}

func (p *printer) deploy(d Deploy) {
	p.line(0, "deploy", "")
	p.line(1, "batch", d.Batch.String())
	p.line(1, "canary", strconv.Itoa(d.Canary))
	p.line(1, "floor", d.Floor.String())
	if len(d.Windows) == 0 {
		p.line(1, "window", "[]")
		return
	}
	p.line(1, "window", "")
	for _, w := range d.Windows {
		var out flow
		out.add("days", list(w.Days))
		out.add("from", scalar(w.From))
		out.add("to", scalar(w.To))
		out.add("zone", scalar(w.Zone))
		p.b.WriteString("    - " + out.String() + "\n")
	}
}

func smokeText(s Smoke) string {
	var out flow
	if s.HTTP != "" {
		out.add("http", scalar(s.HTTP))
	} else {
		out.add("command", list(s.Command))
	}
	out.add("timeout", y.FormatDuration(s.Timeout))
	return out.String()
}
