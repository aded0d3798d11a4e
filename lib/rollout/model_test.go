package rollout_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

var (
	nodeA = rollout.Node{Name: "node-a", Zone: "z1", Address: "10.0.0.1"}
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func image(letter string) string { return "repo@sha256:" + strings.Repeat(letter, 64) }

func webService() spec.Service {
	return spec.Service{
		Key: "web", Name: "app-web", Kind: spec.Web, Command: []string{"serve"}, Port: 8000,
		Network: spec.Network{Mode: spec.Bridge}, Overlap: true, Master: spec.NoMaster,
		Check: spec.Check{Type: spec.CheckHTTP, Path: "/healthz", Interval: 2 * time.Second, Timeout: time.Second, MinHealthy: 5 * time.Second, Deadline: 2 * time.Minute},
		Stop:  spec.Stop{Signal: "TERM", Timeout: 30 * time.Second},
	}
}

func wanted(count int) rollout.Wanted {
	w := rollout.Wanted{App: "app", Service: webService(), Release: "r2", Image: image("b"), Count: count, Env: map[string]string{"A": "1"}}
	for k := range count {
		w.Names = append(w.Names, fmt.Sprintf("new-%d", k+1))
	}
	return w
}

// instance is a running container that is what w wants; change makes it something else.
func instance(w rollout.Wanted, name string, age int, change func(*fleet.Instance)) fleet.Instance {
	i := fleet.Instance{
		ID: strings.Repeat(fmt.Sprintf("%02x", age), 32), Name: name, App: w.App, Service: w.Service.Key, Release: w.Release,
		Image: w.Image, Shape: spec.Shape(w.Service), Env: w.Env, State: fleet.Running,
		Address: nodeA.Address, Port: 20000 + age, CreatedAt: epoch.Add(time.Duration(age) * time.Minute),
	}
	if change != nil {
		change(&i)
	}
	return i
}

func registered(w rollout.Wanted, i fleet.Instance, h fleet.Health) fleet.Registration {
	r := rollout.Registration(w, i, nodeA, 1)
	r.Health = h
	return r
}

func steps(p rollout.Plan) []string {
	out := make([]string, len(p.Steps))
	for k, s := range p.Steps {
		out[k] = fmt.Sprintf("%s %s", s.Action, s.Target)
	}
	return out
}

// model plays the steps of a plan on a snapshot, as a node where every step works.
type model struct {
	w    rollout.Wanted
	seen rollout.Seen
	made int
}

func (m *model) at(name string) *fleet.Instance {
	for k := range m.seen.Instances {
		if m.seen.Instances[k].Name == name {
			return &m.seen.Instances[k]
		}
	}
	return nil
}

func (m *model) entry(name string) int {
	i := m.at(name)
	if i == nil {
		return -1
	}
	return slices.IndexFunc(m.seen.Registrations, func(r fleet.Registration) bool { return r.Meta[fleet.MetaContainer] == i.ID })
}

// play does one step; it panics when the step is not possible in this state.
func (m *model) play(s rollout.Step) {
	i := m.at(s.Target)
	must := func(ok bool) {
		if !ok {
			panic(fmt.Sprintf("impossible step %s in %+v", s, m.seen.Instances))
		}
	}
	switch s.Action {
	case rollout.ActPull:
		m.seen.ImageHere = true
	case rollout.ActUnregister:
		before := len(m.seen.Registrations)
		m.seen.Registrations = slices.DeleteFunc(m.seen.Registrations, func(r fleet.Registration) bool { return r.ID == s.Target })
		must(len(m.seen.Registrations) == before-1)
	case rollout.ActCreate:
		must(i == nil && m.seen.ImageHere)
		m.made++
		m.seen.Instances = append(m.seen.Instances, instance(m.w, s.Target, 100+m.made, func(i *fleet.Instance) { i.State = fleet.Created }))
	case rollout.ActStart:
		must(i != nil && i.State != fleet.Running)
		i.State = fleet.Running
	case rollout.ActGate:
		must(i != nil && i.State == fleet.Running)
	case rollout.ActRegister:
		must(i != nil && i.State == fleet.Running)
		if k := m.entry(s.Target); k >= 0 {
			m.seen.Registrations = slices.Delete(m.seen.Registrations, k, k+1)
		}
		m.seen.Registrations = append(m.seen.Registrations, registered(m.w, *i, fleet.Passing))
	case rollout.ActAwait:
		k := m.entry(s.Target)
		must(k >= 0)
		m.seen.Registrations[k].Health = fleet.Passing
	case rollout.ActWithdraw:
		k := m.entry(s.Target)
		must(k >= 0)
		m.seen.Registrations = slices.Delete(m.seen.Registrations, k, k+1)
	case rollout.ActDrain:
		must(i != nil && m.entry(s.Target) < 0)
	case rollout.ActStop:
		must(i != nil && m.entry(s.Target) < 0)
		i.State = fleet.Exited
	case rollout.ActRemove:
		must(i != nil && m.entry(s.Target) < 0 && i.State != fleet.Running)
		m.seen.Instances = slices.DeleteFunc(m.seen.Instances, func(o fleet.Instance) bool { return o.Name == s.Target })
	case rollout.ActDeliver:
		delete(m.seen.Outdated, s.Target)
	case rollout.ActReload:
		must(i != nil && i.State == fleet.Running)
	}
}

// serving is how many containers run and are registered.
func (m *model) serving() int {
	n := 0
	for _, i := range m.seen.Instances {
		if i.State == fleet.Running && m.entry(i.Name) >= 0 {
			n++
		}
	}
	return n
}
