package spec

import (
	"regexp"
	"slices"
	"strings"
	"time"

	y "svckit/lib/strictyaml"
)

func (d *decoder) scale(v y.Value, master Master) Scale {
	f := d.Fields(v, "a mapping such as {strategy: busy_ratio, min: 4}",
		"unit", "strategy", "target", "wait", "wait_over", "min", "max", "min_nodes", "spread", "survive", "down", "pool", "priority",
		"start_up", "on_blind", "seasonal", "drain", "queue", "schedules", "exactly", "worker")
	unit, nodes := "workers", 1
	if master == NoMaster {
		unit = "instances"
	}
	s := Scale{
		Set:      v.Given(),
		Unit:     y.OneOf(&d.Reader, f.Get("unit"), unit, "workers", "instances"),
		Strategy: y.OneOf(&d.Reader, f.Get("strategy"), "noop", "noop", "busy_ratio", "rps_ratio", "queue"),
		Wait:     d.Percent(f.Get("wait"), 0, 0.99),
		WaitOver: d.Duration(f.Get("wait_over"), 0, 0, time.Minute),
		Min:      d.Int(f.Get("min"), 1, 0, 100_000),
		Max:      d.Int(f.Get("max"), 0, 1, 100_000),
		Spread:   y.OneOf(&d.Reader, f.Get("spread"), "balanced", "equal", "balanced"),
		Survive:  y.OneOf(&d.Reader, f.Get("survive"), "none", "none", "node", "zone"),
		Pool:     d.Text(f.Get("pool"), "default", labelRule("a pool")),
		Priority: y.OneOf(&d.Reader, f.Get("priority"), "normal", "normal", "vip"),
		StartUp:  d.Duration(f.Get("start_up"), 15*time.Second, time.Second, time.Hour),
		OnBlind:  y.OneOf(&d.Reader, f.Get("on_blind"), "forecast", "hold", "forecast", "max"),
		Seasonal: d.Bool(f.Get("seasonal"), true),
		Drain:    d.Duration(f.Get("drain"), 90*time.Second, time.Second, 24*time.Hour),
		Queue:    d.queue(f.Get("queue")),
		Exactly:  d.Bool(f.Get("exactly"), false),
	}
	if s.Survive != "none" {
		nodes = 2 // on one node nothing survives its loss
	}
	s.MinNodes = d.Int(f.Get("min_nodes"), nodes, 1, 10_000)
	target := 0.0
	if (s.Strategy == "busy_ratio" || s.Strategy == "rps_ratio") && !f.Get("wait").Given() {
		target = 0.6
	}
	s.Target = d.Number(f.Get("target"), target, 0, 1)
	down := d.Fields(f.Get("down"), "a mapping such as {after: 10m, step: 10%}", "after", "step")
	s.Down = ScaleDown{
		After: d.Duration(down.Get("after"), 10*time.Minute, 0, 7*24*time.Hour),
		Step:  d.Percent(down.Get("step"), 0.10, 1),
	}
	s.Schedules = d.schedules(f.Get("schedules"))
	s.Worker = d.worker(f.Get("worker"), s.Unit)
	d.scaleTogether(f, s, master)
	return s
}

// worker reads what placement counts for one worker. Where nothing is said that
// is a tenth of a core and 64 MiB, as a usual web worker takes.
func (d *decoder) worker(v y.Value, unit string) (w Worker) {
	if unit != "workers" {
		if v.Given() {
			d.Addf(v, "worker belongs to unit workers: an instance counts with its resources")
		}
		return w
	}
	f := d.Fields(v, "a mapping such as {cpu: 0.05, memory: 64MiB}", "cpu", "memory")
	return Worker{CPU: d.cores(f.Get("cpu"), 0.1), Memory: d.Size(f.Get("memory"), 64<<20, 1<<20, 16<<40)}
}

// weekdays as they are written, Monday first.
func weekdays() []string { return []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }

var (
	clockSyntax = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
	zoneSyntax  = regexp.MustCompile(`^(UTC|[A-Z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){1,2})$`)
)

// schedules reads the times of the week that have bounds of their own.
func (d *decoder) schedules(v y.Value) (out []Schedule) {
	const example = `a mapping such as {name: morning, days: [mon, fri], from: "08:30", to: "18:00", zone: Europe/Berlin, min: 20}`
	for _, item := range d.List(v, "a list of mappings", 64) {
		f := d.Fields(item, example, "name", "days", "from", "to", "zone", "min", "max")
		d.require(f, "name", "expected a name")
		d.require(f, "from", `expected a time of day such as "08:30"`)
		d.require(f, "to", `expected a time of day such as "18:00"`)
		s := Schedule{
			Name: d.Text(f.Get("name"), "", labelRule("a name")),
			Days: d.days(f.Get("days")),
			From: d.Text(f.Get("from"), "", clockRule()),
			To:   d.Text(f.Get("to"), "", clockRule()),
			Zone: d.Text(f.Get("zone"), "UTC", zoneRule()),
			Min:  d.Int(f.Get("min"), 0, 0, 100_000),
			Max:  d.Int(f.Get("max"), 0, 1, 100_000),
		}
		switch {
		case !f.Get("min").Given() && !f.Get("max").Given():
			d.Addf(item, "a schedule needs a min or a max")
		case s.Max > 0 && s.Min > s.Max:
			d.Addf(f.Get("max"), "max (%d) must not be below min (%d)", s.Max, s.Min)
		}
		if slices.ContainsFunc(out, func(o Schedule) bool { return s.Name != "" && o.Name == s.Name }) {
			d.Addf(f.Get("name"), "duplicate: another schedule is called %s", s.Name)
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Schedule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func clockRule() y.Rule {
	return y.Rule{Want: `a time of day such as "08:30"`, OK: clockSyntax.MatchString}
}

// days reads days of the week and sorts them, Monday first.
func (d *decoder) days(v y.Value) []string {
	out := d.Words(v, "a list of days such as [mon, tue]", 7)
	for i, day := range out {
		if at := v.Items[i]; !slices.Contains(weekdays(), day) {
			d.Addf(at, "expected one of %s, found %s", strings.Join(weekdays(), ", "), at.Found())
		} else if slices.Contains(out[:i], day) {
			d.Addf(at, "duplicate: %s", day)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return slices.Index(weekdays(), a) - slices.Index(weekdays(), b) })
	return out
}

// scaleTogether checks the keys of scale against each other.
func (d *decoder) scaleTogether(f y.Fields, s Scale, master Master) {
	if f.Get("target").Given() && f.Get("wait").Given() {
		d.Addf(f.Get("wait"), "expected either target or wait, found both")
	}
	if f.Get("wait_over").Given() && !f.Get("wait").Given() {
		d.Addf(f.Get("wait_over"), "wait_over belongs to wait: set wait to the share of requests that may wait longer, such as 3%%")
	}
	if f.Get("drain").Given() && s.Strategy != "queue" {
		d.Addf(f.Get("drain"), "drain belongs to strategy queue")
	}
	switch queue := f.Get("queue"); {
	case queue.Given() && s.Strategy != "queue":
		d.Addf(queue, "queue belongs to strategy queue")
	case s.Strategy == "queue" && !queue.Given():
		d.Addf(f.Get("strategy"), "strategy queue needs queue: say which one, such as "+queueExample)
	}
	if f.Get("max").Given() && s.Max > 0 && s.Min > s.Max {
		d.Addf(f.Get("max"), "max (%d) must not be below min (%d)", s.Max, s.Min)
	}
	if s.Unit == "workers" && master == NoMaster && f.Get("unit").Given() {
		d.Addf(f.Get("unit"), "workers are counted by a master: set master to gunicorn or uwsgi, or unit to instances")
	}
	if s.Survive != "none" && s.MinNodes < 2 {
		d.Addf(f.Get("min_nodes"), "survive: %s needs min_nodes of at least 2", s.Survive)
	}
}
