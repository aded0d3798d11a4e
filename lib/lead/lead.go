// Package lead runs the planner of a fleet: it reads what people want and what
// nodes see, has it decided, and writes what each node is to run. It decides
// nothing itself; what it needs of the world are a few small interfaces.
package lead

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/survey"
)

// Books are what is read of Consul.
type Books interface {
	Orders(ctx context.Context) (planner.Orders, error)
	Wants(ctx context.Context) (list []fleet.Want, bad map[string]string, err error)
	Statuses(ctx context.Context) (list []planner.Status, bad map[string]string, err error)
	Learned(ctx context.Context) (list []planner.Learned, bad map[string]string, err error)
	Monitors(ctx context.Context) ([]fleet.Monitor, error)
}

// Lease is the right to write, which may end at any time.
type Lease interface {
	SetWants(ctx context.Context, list []fleet.Want) (fleet.Written, error)
	SetStatuses(ctx context.Context, list []planner.Status) (fleet.Written, error)
	SetPools(ctx context.Context, list []planner.Membership) (fleet.Written, error)
	SetLearned(ctx context.Context, list []planner.Learned) (fleet.Written, error)
}

// Catalogue lists the services that have a scale section, as their current
// releases say it, and those that cannot be read, each with why: app/service, or
// an app for all of its services.
type Catalogue func(ctx context.Context) (list []survey.Service, broken map[string]string, err error)

// Pull asks the monitor of a node for its newest sample.
type Pull func(ctx context.Context, m fleet.Monitor) (fleet.Sample, error)

// Planner is one planner. It is not safe for concurrent use.
type Planner struct {
	Books     Books
	Catalogue Catalogue
	Pull      Pull
	Leases    Leases // nil: no service runs exactly so often
	Log       hclog.Logger
	// Since is when this process took the lead: for a minute after it nothing is
	// lowered. The zero time: no new leader is at work.
	Since time.Time

	reports  map[string]survey.Report
	wants    map[string]fleet.Want
	badWants map[string]bool // nodes whose wish cannot be read
	statuses map[string]planner.Status
	placed   []place.Share // where the plan before wanted everything; nil: what nodes were told
	memory   planner.Memory
	present  presence
	freed    map[string]freed // leases that are free
	learned  map[string]*learned
	handed   map[string]handed    // what the next planner would find of services; nil: it must be read
	unread   map[string]string    // what planners before left of them and cannot be read, by key
	missed   map[string]time.Time // since when a service of handed is not there any more
	bad      map[string]string    // what planners wrote and cannot be read
	loaded   time.Time            // zero: it must be read again
}

// loadEach is how often what planners wrote is read again: somebody may have edited it by hand.
const loadEach = time.Minute

// newLeader is for how long a new leader lowers nothing: until one whole window of samples was seen.
const newLeader = time.Minute

// Cycle is one pass: everything that went into it and came out of it.
type Cycle struct {
	At       time.Time
	Snapshot planner.Snapshot
	Plan     planner.Plan
	Stage    planner.Stage
	Wants    []fleet.Want         // wishes to write, those that raise first
	Statuses []planner.Status     // what is worth saying of services
	Pools    []planner.Membership // that changed by loans
	Learned  []planner.Learned    // what was seen of demand, for the next planner
	Bad      map[string]string    // what could not be read, by key, service or node
	Alarms   []Alarm              // all that are on now
	Services []survey.Service
	Monitors []fleet.Monitor
	Reports  map[string]survey.Report
	Every    map[string]planner.Status // of all services, after this cycle
}

// Look reads everything and decides. It writes nothing.
func (p *Planner) Look(ctx context.Context, now time.Time) (Cycle, error) {
	c := Cycle{At: now, Bad: map[string]string{}}
	if err := p.load(ctx, now); err != nil {
		return c, err
	}
	maps.Copy(c.Bad, p.bad)
	orders, err := p.Books.Orders(ctx)
	if err != nil {
		return c, err
	}
	monitors, err := p.Books.Monitors(ctx)
	if err != nil {
		return c, err
	}
	c.Monitors = p.present.look(now, monitors, p.wants)
	services, broken, err := p.Catalogue(ctx)
	if err != nil {
		return c, err
	}
	c.Services = services
	p.pull(ctx, now, c.Monitors)
	c.Reports = p.reports
	f := p.facts(now, orders, services, broken, c.Monitors)
	maps.Copy(c.Bad, orders.Bad)
	maps.Copy(c.Bad, broken)
	c.Snapshot = survey.Snapshot(f)
	c.Plan = planner.Decide(c.Snapshot)
	x, err := p.lookExact(ctx, c)
	if err != nil {
		return c, err
	}
	c.Stage = planner.Advance(p.stage(c, f.RaiseOnly, x))
	c.Wants = p.nextWants(c, now, x)
	p.next(&c)
	c.Learned = append(p.handOver(now, services), p.sweep(now, services, broken)...)
	c.Pools = survey.Lend(orders.Pools, c.Plan.Place.Loans, ownPools(c.Monitors))
	c.Alarms = alarms(c)
	return c, nil
}

// Write carries a cycle out: raises before what lowers, then what is said of
// services. What somebody else had changed meanwhile is read again in the next
// cycle, which decides anew.
func (p *Planner) Write(ctx context.Context, l Lease, c Cycle) error {
	written, err := l.SetWants(ctx, c.Wants)
	for _, w := range c.Wants {
		if index, ok := written.Index[w.Node]; ok {
			w.Index = index
			p.wants[w.Node] = w
		}
	}
	if err != nil {
		p.loaded = time.Time{}
		return err
	}
	said, err := l.SetStatuses(ctx, c.Statuses)
	for name, s := range c.Every {
		if index, ok := said.Index[name]; ok {
			s.Index = index
		}
		p.statuses[name] = s
	}
	if err != nil {
		return err
	}
	pools, err := l.SetPools(ctx, c.Pools)
	if err != nil {
		return err
	}
	if n := len(written.Conflicts) + len(said.Conflicts); n > 0 {
		p.Log.Warn("somebody else changed documents of the planner: they are read again", "nodes", written.Conflicts, "services", said.Conflicts)
		p.loaded = time.Time{}
	}
	if len(pools.Conflicts) > 0 {
		p.Log.Info("pools changed meanwhile: their loans are decided again", "pools", pools.Conflicts)
	}
	p.placed, p.memory = target(c.Plan), c.Plan.Memory
	return p.writeLearned(ctx, l, c.Learned)
}

// load reads what planners wrote before: at the start, after a conflict, and now and then.
func (p *Planner) load(ctx context.Context, now time.Time) error {
	if !p.loaded.IsZero() && now.Sub(p.loaded) < loadEach {
		return nil
	}
	wants, badWants, err := p.Books.Wants(ctx)
	if err != nil {
		return err
	}
	statuses, badStatuses, err := p.Books.Statuses(ctx)
	if err != nil {
		return err
	}
	bad := map[string]string{}
	p.wants, p.badWants = map[string]fleet.Want{}, map[string]bool{}
	for _, w := range wants {
		p.wants[w.Node] = w
	}
	for key, why := range badWants {
		bad[key] = why
		p.badWants[lastOf(key)] = true
	}
	known := p.statuses
	p.statuses = map[string]planner.Status{}
	for _, s := range statuses {
		if old, ok := known[s.Name]; ok && old.At >= s.At { // ours is newer than what was worth writing
			old.Index, s = s.Index, old
		}
		p.statuses[s.Name] = s
	}
	for key, why := range badStatuses {
		bad[key] = why
	}
	if p.reports == nil {
		p.reports, p.present = map[string]survey.Report{}, presence{}
	}
	p.takeOver(ctx)
	maps.Copy(bad, p.unread)
	if p.placed == nil || p.loaded.IsZero() {
		p.placed = told(p.wants)
	}
	p.bad, p.loaded = bad, now
	return nil
}

func (p *Planner) facts(now time.Time, orders planner.Orders, services []survey.Service, broken map[string]string, monitors []fleet.Monitor) survey.Facts {
	all := map[string]string{}
	for name, why := range broken {
		if strings.Contains(name, "/") {
			all[name] = why
			continue
		}
		for _, of := range p.servicesOf(name) {
			all[of] = why
		}
	}
	for _, name := range orders.Blind {
		all[name] = "what was set by hand for it cannot be read"
	}
	f := survey.Facts{
		At: now.Unix(), Services: services, Broken: all, Reports: p.reports, Pools: orders.Pools, Freezes: orders.Freezes,
		Announced: orders.Announced, Hands: orders.Hands, Placed: p.placed, Statuses: p.statuses, Memory: p.memory, Offsets: offsets(services, now),
		Expected: map[string]scale.Expected{},
	}
	for _, m := range monitors {
		if !p.badWants[m.Node] { // what it runs is not known, so nothing is planned for it
			f.Monitors = append(f.Monitors, m)
		}
	}
	for _, v := range services {
		if l := p.learned[v.Name]; l != nil {
			f.Expected[v.Name] = l.expect(now, v.Spec.Scale.StartUp)
		}
	}
	if !p.Since.IsZero() && now.Before(p.Since.Add(newLeader)) {
		f.RaiseOnly = "a new planner leads since " + p.Since.UTC().Format(time.TimeOnly)
		f.RaiseEnds = p.Since.Add(newLeader + time.Second).Unix() // whole seconds: not before that
	}
	return f
}

// servicesOf are the services of an app that somebody was told of.
func (p *Planner) servicesOf(app string) (out []string) {
	for name := range p.statuses {
		if strings.HasPrefix(name, app+"/") {
			out = append(out, name)
		}
	}
	for _, x := range p.placed {
		if strings.HasPrefix(x.Name, app+"/") {
			out = append(out, x.Name)
		}
	}
	return out
}

// offsets are the zones of all schedules, now.
func offsets(services []survey.Service, now time.Time) map[string]int {
	out := map[string]int{}
	for _, v := range services {
		for _, s := range v.Spec.Scale.Schedules {
			if zone, err := time.LoadLocation(s.Zone); err == nil {
				_, out[s.Zone] = now.In(zone).Zone()
			}
		}
	}
	return out
}

// ownPools are the pools that nodes name themselves.
func ownPools(monitors []fleet.Monitor) map[string]string {
	out := map[string]string{}
	for _, m := range monitors {
		if out[m.Node] = m.Pool; m.Pool == "" {
			out[m.Node] = survey.DefaultPool
		}
	}
	return out
}
