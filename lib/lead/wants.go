package lead

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/spec"
)

// told is what nodes were told, as shares.
func told(wants map[string]fleet.Want) []place.Share {
	out := []place.Share{}
	for _, node := range slices.Sorted(maps.Keys(wants)) {
		for _, a := range wants[node].Services {
			if a.Count > 0 {
				out = append(out, place.Share{Name: a.Name, Node: node, Count: a.Count})
			}
		}
	}
	return out
}

// target is where a plan wants everything.
func target(p planner.Plan) []place.Share {
	out := []place.Share{}
	for _, s := range p.Place.Services {
		for _, x := range s.Nodes {
			if x.Want > 0 {
				out = append(out, place.Share{Name: s.Name, Node: x.Node, Count: x.Want})
			}
		}
	}
	return append(out, p.Place.Unasked...)
}

// stage is what the next stage is decided from.
func (p *Planner) stage(c Cycle, raiseOnly string, x *exact) planner.StageInput {
	in := planner.StageInput{
		Told: told(p.wants), Want: target(c.Plan), Hosts: c.Snapshot.Nodes, Services: map[string]planner.Shape{}, RaiseOnly: raiseOnly,
		Bounds: p.bounds(c, x),
	}
	held := map[string]bool{}
	for _, h := range c.Plan.Held {
		held[h.Name] = true
	}
	for _, s := range c.Snapshot.Services {
		if !held[s.Name] {
			in.Services[s.Name] = s.Shape
		}
	}
	for node, r := range p.reports {
		for _, x := range r.Sample.Services {
			in.Ready = append(in.Ready, place.Share{Name: x.Name, Node: node, Count: x.Ready})
		}
	}
	return in
}

// nextWants are the wishes that differ from those that nodes have, those that raise something first.
func (p *Planner) nextWants(c Cycle, now time.Time, known *exact) []fleet.Want {
	specs := map[string]spec.Service{}
	for _, v := range c.Services {
		specs[v.Name] = v.Spec
	}
	reasons := map[string]string{}
	for _, s := range c.Plan.Services {
		reasons[s.Name] = string(s.Decision.Reason)
	}
	allotted := map[string][]fleet.Allotment{}
	for _, x := range c.Stage.Told {
		if p.badWants[x.Node] {
			continue
		}
		old, had := allotment(p.wants[x.Node], x.Name)
		if x.Count == 0 && (!had || p.gone(x, c.At) && p.settled(x.Node, old, known)) {
			continue
		}
		a := old
		if !had || old.Count != x.Count {
			a = fleet.Allotment{Name: x.Name, Unit: "instances", Count: x.Count, Reason: reasons[x.Name]}
			if s, ok := specs[x.Name]; ok {
				a.Unit, a.Room, a.Exact = s.Scale.Unit, fastRoom(s, x.Count), s.Scale.Exactly
			} else if had {
				a.Unit, a.Exact = old.Unit, old.Exact
			}
		}
		allotted[x.Node] = append(allotted[x.Node], a)
	}
	p.keepLeaving(allotted, c, known)
	raises := map[string]bool{}
	for _, x := range c.Stage.Raised {
		raises[x.Node] = true
	}
	nodes := map[string]bool{}
	for node := range p.wants {
		nodes[node] = true
	}
	for node := range allotted {
		nodes[node] = true
	}
	var out []fleet.Want
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		old := p.wants[node]
		list := allotted[node]
		slices.SortFunc(list, func(a, b fleet.Allotment) int { return cmp.Compare(a.Name, b.Name) })
		if !slices.Equal(list, old.Services) {
			out = append(out, fleet.Want{Node: node, Gen: old.Gen + 1, At: now.UTC(), Services: list, Index: old.Index})
		}
	}
	slices.SortStableFunc(out, func(a, b fleet.Want) int {
		switch {
		case raises[a.Node] == raises[b.Node]:
			return 0
		case raises[a.Node]:
			return -1
		}
		return 1
	})
	return out
}

// keepLeaving keeps in a wish what its node was told to run none of, until it was seen
// to have none: what a wish does not name is left alone.
func (p *Planner) keepLeaving(allotted map[string][]fleet.Allotment, c Cycle, known *exact) {
	for node, w := range p.wants {
		for _, a := range w.Services {
			if a.Count > 0 || slices.ContainsFunc(allotted[node], func(b fleet.Allotment) bool { return b.Name == a.Name }) {
				continue
			}
			if !p.gone(place.Share{Name: a.Name, Node: node}, c.At) || !p.settled(node, a, known) {
				allotted[node] = append(allotted[node], a)
			}
		}
	}
}

// fastRoom is how many workers a node may add by itself between two cycles: as
// many as it has, within the bounds of the service.
func fastRoom(s spec.Service, count int) int {
	c := s.Scale
	if c.Unit != "workers" || c.Strategy != "busy_ratio" {
		return 0
	}
	room := count
	if c.Max > 0 {
		room = min(room, max(c.Max-count, 0))
	}
	return room
}

func allotment(w fleet.Want, name string) (fleet.Allotment, bool) {
	k, ok := slices.BinarySearchFunc(w.Services, name, func(a fleet.Allotment, n string) int { return cmp.Compare(a.Name, n) })
	if !ok {
		return fleet.Allotment{}, false
	}
	return w.Services[k], true
}

// gone reports whether a node was just seen without any instance of a service.
func (p *Planner) gone(x place.Share, now time.Time) bool {
	r, ok := p.reports[x.Node]
	if !ok || now.Unix()-r.At > int64(pullLimit/time.Second) {
		return false
	}
	w := p.wants[x.Node]
	if (fleet.Want{Epoch: w.Epoch, Gen: w.Gen}).Newer(r.Sample.Epoch, r.Sample.Gen) {
		return false // it has not heard the wish yet
	}
	return !slices.ContainsFunc(r.Sample.Services, func(s fleet.ServiceSample) bool { return s.Name == x.Name && s.Instances > 0 })
}

// next fills in what is said of services after a cycle.
func (p *Planner) next(c *Cycle) {
	pools, held, ready := map[string]string{}, map[string]string{}, map[string]int{}
	for _, s := range c.Snapshot.Services {
		pools[s.Name], ready[s.Name] = s.Policy.Pool, s.Seen.Ready
	}
	for _, h := range c.Plan.Held {
		held[h.Name] = h.Reason
	}
	nodes := map[string][]place.Share{}
	for _, x := range target(c.Plan) {
		nodes[x.Name] = append(nodes[x.Name], x)
	}
	c.Every = maps.Clone(p.statuses)
	for _, s := range c.Plan.Services {
		old := p.statuses[s.Name]
		status := planner.Next(old, s, ready[s.Name], pools[s.Name], held[s.Name], nodes[s.Name])
		c.Every[s.Name] = status
		if old.At == 0 || status.Worth(old) || due(old, status, len(c.Plan.Services)) {
			c.Statuses = append(c.Statuses, status)
		}
		p.learn(s.Name, c.At, s)
	}
}

// How often a status is written that did not change, in seconds: people look at
// it, and the next leader goes on from it. Many services are written more rarely,
// so that Consul is not kept busy with it.
const (
	sayEach     = 60
	sayEachMany = 300
	many        = 1000
)

// due is how often a status is written that tells nothing new.
func due(old, status planner.Status, services int) bool {
	each := int64(sayEach)
	if services > many {
		each = sayEachMany
	}
	return turn(status.Name, old.At, status.At, each)
}

// turn reports whether it is time to write something of a service that was
// written before, once in each seconds: the writes of all are spread over that time.
func turn(name string, before, now, each int64) bool {
	shift := int64(0)
	for _, b := range []byte(name) {
		shift = (shift*31 + int64(b)) % each
	}
	return (before+shift)/each != (now+shift)/each
}

func lastOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
