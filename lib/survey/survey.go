// Package survey turns what the planner saw of a fleet into the snapshot that a
// decision is made from.
//
// Pure: no clock, no log, no network. What a node says is untrusted here: a
// number that cannot be true counts as one that is missing.
package survey

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/spec"
)

// Service is a service that has a scale section, as its current release says it.
type Service struct {
	Name    string // app/service
	Release string
	Spec    spec.Service
	Notify  []spec.Notify // whom its app wants to be told
}

// Report is the newest sample of a node.
type Report struct {
	Sample fleet.Sample
	At     int64 // when it arrived, by the planner's clock; one that repeats an older one does not count as new
	Error  string
}

// Facts is everything that was seen.
type Facts struct {
	At        int64 // unix seconds
	Services  []Service
	Broken    map[string]string // services whose spec or orders cannot be read → why
	Monitors  []fleet.Monitor
	Reports   map[string]Report // by node
	Pools     []planner.Membership
	Freezes   []planner.Freeze
	Announced []planner.Announcement
	Hands     map[string]scale.Hand
	Placed    []place.Share // where the plan before wanted everything
	Statuses  map[string]planner.Status
	Expected  map[string]scale.Expected
	Offsets   map[string]int // zone → seconds east of UTC now
	Memory    planner.Memory
	RaiseOnly string // why nothing may shrink now; "": it may
	RaiseEnds int64  // unix seconds when that ends; 0: not known
}

// freshFor is for how many seconds a sample counts: three ticks.
const freshFor = int64(3 * scale.DefaultTick / 1e9)

// DefaultPool is the pool of a node whose meta names none.
const DefaultPool = "default"

// Snapshot is what a decision is made from.
func Snapshot(f Facts) planner.Snapshot {
	s := planner.Snapshot{
		Schema: planner.Schema, At: f.At, Placed: f.Placed, Announced: f.Announced, Memory: f.Memory,
		Freezes: slices.Clone(f.Freezes), Nodes: nodes(f), Pools: pools(f),
	}
	if f.RaiseOnly != "" {
		s.Freezes = append(s.Freezes, planner.Freeze{Scope: "all", Freeze: scale.Freeze{Mode: scale.NoDown, Until: f.RaiseEnds, Who: "scaled", Why: f.RaiseOnly}})
	}
	there := map[string]bool{}
	for _, v := range f.Services {
		there[v.Name] = true
		s.Services = append(s.Services, service(f, v))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Broken)) {
		if !there[name] {
			s.Services = append(s.Services, planner.Service{
				Name: name, Hold: f.Broken[name], Policy: scale.Policy{Pool: cmp.Or(f.Statuses[name].Pool, DefaultPool)},
				Shape: planner.Shape{Unit: "instances", Spread: place.Balanced}, State: f.Statuses[name].State,
			})
		}
	}
	slices.SortFunc(s.Services, func(a, b planner.Service) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func service(f Facts, v Service) planner.Service {
	c := v.Spec.Scale
	p := scale.FromSpec(c, needed(c)...)
	if h, ok := f.Hands[v.Name]; ok && (h.Until == 0 || h.Until > f.At) {
		p.Hand = &h
	}
	old := f.Statuses[v.Name]
	out := planner.Service{
		Name: v.Name, Policy: p, Shape: ShapeOf(v.Spec), State: old.State, Remain: old.Remain,
		Seen: seen(f, v), Hold: f.Broken[v.Name],
	}
	for _, z := range p.Schedules {
		if off, ok := f.Offsets[z.Zone]; ok {
			if out.Seen.Offsets == nil {
				out.Seen.Offsets = map[string]int{}
			}
			out.Seen.Offsets[z.Zone] = off
		}
	}
	out.Seen.Expected = f.Expected[v.Name]
	if out.Hold == "" {
		out.Hold = unknownRoom(f, v.Name)
	}
	return out
}

// unknownRoom holds a service that runs on a node of which nobody ever said how large it is.
func unknownRoom(f Facts, name string) string {
	for _, x := range f.Placed {
		if x.Name != name || x.Count == 0 {
			continue
		}
		for _, m := range f.Monitors {
			if m.Node == x.Node && m.Alive && f.Reports[m.Node].Sample.CPUs == 0 {
				return "runs on " + x.Node + ", which has not said yet how large it is"
			}
		}
	}
	return ""
}

// The names of the signals.
const (
	Requests = "requests"
	Queue    = "queue"
)

// needed are the signals without which a service is not lowered.
func needed(c spec.Scale) []string {
	switch c.Strategy {
	case "busy_ratio", "rps_ratio":
		return []string{Requests}
	case "queue":
		return []string{Queue}
	}
	return nil
}

// ShapeOf is what placement must know of a service. Resources are what one
// container may take: of a service of workers that is all of them on a node, so
// a worker counts with what the spec says of one, at most what its container may take.
func ShapeOf(s spec.Service) planner.Shape {
	cpu, memory := int64(s.Resources.CPU*1000), s.Resources.Memory
	out := planner.Shape{Unit: s.Scale.Unit, Spread: place.Spread(s.Scale.Spread), CPU: cpu, Memory: memory, NoOverlap: !s.Overlap}
	if s.Scale.Unit == "workers" {
		out.CPU, out.Memory, out.NoOverlap = int64(math.Round(s.Scale.Worker.CPU*1000)), s.Scale.Worker.Memory, false
		if cpu > 0 {
			out.CPU = min(out.CPU, cpu)
		}
		if memory > 0 {
			out.Memory = min(out.Memory, memory)
		}
		return out
	}
	if s.Port != 0 && (s.Network.Mode == spec.Host || s.Network.Mode == spec.Bridge && !s.Publish.Auto()) {
		out.PerNode = 1
	}
	out.Exact = s.Scale.Exactly
	out.Fixed = s.Kind == spec.Daemon && s.Scale.Strategy == "noop" || out.Exact
	out.NoOverlap = out.NoOverlap || out.Exact
	return out
}
