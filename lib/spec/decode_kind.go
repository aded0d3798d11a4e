package spec

import (
	"fmt"
	"time"

	y "svckit/lib/strictyaml"
)

// kind checks what depends on the sort of service: its port and its schedule.
func (d *decoder) kind(f y.Fields, kind Kind, s *Service) {
	schedule, rules := f.Get("schedule"), f.Get("cron")
	if kind != Cron {
		if schedule.Given() {
			d.Addf(schedule, "only a service of kind cron has a schedule, this one is of kind %s", kind)
		}
		if rules.Given() {
			d.Addf(rules, "only a service of kind cron has rules of its schedule, this one is of kind %s", kind)
		}
		if kind != Daemon {
			d.require(f, "port", fmt.Sprintf("a service of kind %s needs a port", kind))
		}
		return
	}
	d.require(f, "schedule", `a service of kind cron needs a schedule such as "*/5 * * * *"`)
	s.Schedule = d.Text(schedule, "", scheduleRule())
	if sched, ok := parseSchedule(s.Schedule); ok && sched.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		d.Addf(schedule, "no day matches this schedule")
	}
	s.Cron = d.cron(rules)
	for _, key := range []string{"port", "publish", "check", "smoke", "master"} {
		if v := f.Get(key); v.Given() {
			d.Addf(v, "a service of kind cron is started by its schedule and has no %s", key)
		}
	}
	scale := f.Get("scale")
	for _, e := range scale.Entries {
		if e.Key.Text != "pool" {
			d.Addf(e.Key, "a service of kind cron is started by its schedule: of scale it has only pool, the nodes it may run on")
		}
	}
}

// cron reads the rules of a schedule.
func (d *decoder) cron(v y.Value) CronRules {
	f := d.Fields(v, "a mapping such as {zone: Europe/Berlin, missed: skip}", "zone", "missed", "within", "busy", "timeout", "exclusive")
	r := CronRules{
		Zone:      d.Text(f.Get("zone"), "UTC", zoneRule()),
		Missed:    y.OneOf(&d.Reader, f.Get("missed"), "once", "once", "skip"),
		Within:    d.Duration(f.Get("within"), time.Hour, time.Minute, 7*24*time.Hour),
		Busy:      y.OneOf(&d.Reader, f.Get("busy"), "skip", "skip", "wait", "kill"),
		Timeout:   d.Duration(f.Get("timeout"), time.Hour, time.Second, 7*24*time.Hour),
		Exclusive: d.Bool(f.Get("exclusive"), false),
	}
	if f.Get("within").Given() && r.Missed == "skip" {
		d.Addf(f.Get("within"), "within belongs to missed: once, which starts a missed tick later")
	}
	return r
}

// exact reports whether scale.exactly is set, before scale is read as a whole.
func (d *decoder) exact(f y.Fields) bool {
	for _, e := range f.Get("scale").Entries {
		if e.Key.Text == "exactly" {
			return e.Value.Text == "true"
		}
	}
	return false
}

// exactly checks what a service must be of which there are never more than so many.
func (d *decoder) exactly(f y.Fields, s Service) {
	if !s.Scale.Exactly {
		return
	}
	at := f.Get("scale")
	for _, e := range at.Entries {
		if e.Key.Text == "exactly" {
			at = e.Key
		}
	}
	if s.Scale.Strategy != "noop" {
		d.Addf(at, "exactly is a fixed number: it needs strategy noop, and min says how many")
	}
	if s.Scale.Unit != "instances" {
		d.Addf(at, "exactly counts containers: it needs unit instances")
	}
	if s.Scale.Survive != "none" {
		d.Addf(at, "exactly so many cannot survive a loss by having more: it needs survive none")
	}
	if s.Scale.Max > 0 {
		d.Addf(at, "exactly as many as min: it has no max")
	}
	if v := f.Get("overlap"); v.Given() && s.Overlap {
		d.Addf(v, "with scale.exactly the old instance ends before the new one starts: expected false")
	}
}
