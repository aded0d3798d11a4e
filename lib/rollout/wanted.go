// Package rollout decides how one service on one node gets from what is there
// to what is wanted: a list of steps, each with its reason. It is pure: a plan
// is a function of its arguments, and the same plan is printed by --dry-run and
// walked by package apply.
package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Wanted is what one node should run of one service.
type Wanted struct {
	App     string
	Service spec.Service
	Release string
	Image   string            // repo@sha256:…, or an image id in local mode
	Env     map[string]string // config and the SVC_* variables of Identity
	Secrets bool              // the service gets secret files
	Files   []string          // targets of the rendered files, sorted
	Count   int               // instances on this node; ≥ 0
	Names   []string          // fresh container names, at least Count of them, none in use
	Revive  bool              // start a stopped container that is what is wanted, instead of making another
	Run     string            // id of the run of a cron service that a container is for; "": of none
	Reload  *Reload           // new code or config into what runs; nil for a deployment
}

// Reload is what a caller asks beyond bringing the node to what is wanted.
type Reload struct {
	Force bool   // also where nothing is new
	Code  string // generation of the code to switch to first; "": the code stays
	From  string // the generation that it replaces; "": there was none, or it is not known
	Floor int    // instances of the fleet that must pass beside the one that is taken out; negative: half of them, at least 1
	// Patience is how long those others are waited for; 0 refuses at once when they are too few.
	Patience time.Duration
	// Hold is until when what is taken out stays out, because its node is emptied; zero: until its reload is proven.
	Hold time.Time
}

// Node is what registrations and containers must know of the machine.
type Node struct {
	Name    string
	Zone    string
	Address string   // where instances are reached
	DNS     []string // nameservers given to containers
	Prefix  string   // root of the keys, kept on containers
	Engine  string   // ID of the container engine
	CodeDir string   // where code on volumes is kept
}

// Seen is what is there at one moment.
type Seen struct {
	Instances     []fleet.Instance        // this service's containers on this node
	Others        []fleet.Instance        // every other container of ours on this node
	Registrations []fleet.Registration    // all of ours with the local agent
	Outdated      map[string][]string     // container name → targets of delivered files that differ from what is wanted now
	Stale         map[string][]string     // container name → what lies on this node and its master has not loaded: "code 1a2b → 3c4d"
	Masters       map[string]fleet.Master // container name → its master, of those that have anything to load
	Fleet         []fleet.Registration    // the service on all nodes; asked for a reload only
	ImageHere     bool                    // the engine holds Wanted.Image
}

// variables that name the release a container was started for; they do not make a container outdated.
const releaseVariable = "SVC_RELEASE"

// Identity returns the variables that tell a program who it is.
func Identity(app string, s spec.Service, release string, n Node) map[string]string {
	env := map[string]string{
		"SVC_APP": app, "SVC_SERVICE": s.Key, releaseVariable: release, "SVC_NODE": n.Name,
	}
	if s.Port > 0 {
		env["SVC_PORT"] = fmt.Sprint(s.Port)
	}
	return env
}

// ID is the registration's ID: fresh for every container, since Consul lets a
// registration under a used ID inherit the old check's state.
func ID(i fleet.Instance, n Node) string {
	return strings.Join([]string{i.App, i.Service, n.Name, i.Short()}, "-")
}

// Registration is how instance i is made known to Consul. Workers is the number
// of workers that serve in it; it becomes the weight, at least 1.
func Registration(w Wanted, i fleet.Instance, n Node, workers int) fleet.Registration {
	workers = max(workers, 1)
	r := fleet.Registration{
		ID: ID(i, n), Name: w.Service.Name, Node: n.Name,
		Address: i.Address, Port: i.Port, Weight: workers,
		Tags:  slices.Clone(w.Service.Tags),
		Check: check(w.Service.Check, i),
		Meta: map[string]string{
			fleet.MetaOwner: "1", fleet.MetaApp: w.App, fleet.MetaService: w.Service.Key,
			fleet.MetaRelease: w.Release, fleet.MetaWorkers: fmt.Sprint(workers),
			fleet.MetaNode: n.Name, fleet.MetaContainer: i.ID,
		},
	}
	if r.Address == "" {
		r.Address = n.Address
	}
	if found := FoundBy(w.Service); found != "" {
		r.Meta[fleet.MetaFound] = found
	}
	if n.Engine != "" {
		r.Meta[fleet.MetaEngine] = n.Engine
	}
	if n.Zone != "" {
		r.Meta[fleet.MetaZone] = n.Zone
	}
	return r
}

// The records by which clients find a service. An A answer has no port and merges
// the instances of one address, so it is enough only where an instance has an
// address of its own, or one fixed port that no other instance of its node has.
const (
	FoundBySRV = "SRV"
	FoundByA   = "A"
)

// FoundBy says which of the two it is; "" for a service without a port.
func FoundBy(s spec.Service) string {
	switch {
	case s.Port == 0:
		return ""
	case s.Network.Mode == spec.Bridge && s.Publish.Auto():
		return FoundBySRV
	}
	return FoundByA
}

// check turns the spec's check into one with an address.
func check(c spec.Check, i fleet.Instance) fleet.Check {
	if c.Type == spec.NoCheck {
		return fleet.Check{}
	}
	to := fmt.Sprintf("%s:%d", i.Address, i.Port)
	out := fleet.Check{Type: string(c.Type), Interval: c.Interval, Timeout: c.Timeout}
	switch c.Type {
	case spec.CheckHTTP:
		out.Target = "http://" + to + c.Path
	case spec.CheckTCP:
		out.Target = to
	case spec.CheckGRPC:
		out.Target = strings.TrimRight(to+"/"+c.Path, "/")
	case spec.CheckTTL, spec.NoCheck:
	}
	return out
}

// registrationDiff names what differs between a registration and what it should
// be. Weight and the workers in meta belong to whoever counts workers (svc-run
// at the start, the scaler later), so they never make a difference here.
func registrationDiff(have, want fleet.Registration) []string {
	var fields []string
	add := func(name string, same bool) {
		if !same {
			fields = append(fields, name)
		}
	}
	add("name", have.Name == want.Name)
	add("address", have.Address == want.Address)
	add("port", have.Port == want.Port)
	add("check", have.Check == want.Check)
	add("tags", slices.Equal(have.Tags, want.Tags))
	a, b := maps.Clone(have.Meta), maps.Clone(want.Meta)
	delete(a, fleet.MetaWorkers)
	delete(b, fleet.MetaWorkers)
	for _, key := range slices.Sorted(maps.Keys(b)) {
		add("meta."+key, a[key] == b[key])
	}
	return fields
}
