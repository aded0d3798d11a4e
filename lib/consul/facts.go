package consul

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/events"
	"svckit/lib/fleet"
	"svckit/lib/planner"
)

// Facts of values in KV and of the catalog, as a stream of events takes them. A
// value that cannot be read becomes a fact of its own.

func bad(key, app, why string) events.Fact {
	return events.Fact{
		Kind: events.Unreadable, ID: clean(key, 500), App: app, Key: clean(key, 500),
		About: events.About{Bad: &events.Bad{Why: clean(why, 300)}},
	}
}

func (c *Client) freezeFacts(pairs []*api.KVPair) (out []events.Fact) {
	for _, p := range pairs {
		if p.Key != c.keys.freeze() && !strings.HasPrefix(p.Key, c.keys.freeze()+"/") {
			continue
		}
		var o planner.Orders
		if err := c.readFreeze(&o, p); err != nil {
			f := bad(p.Key, "", err.Error())
			f.Index = p.ModifyIndex
			out = append(out, f)
			continue
		}
		for _, z := range o.Freezes {
			f := events.Fact{Kind: events.OfFreeze, ID: z.Name, Key: p.Key, Index: p.ModifyIndex, About: events.About{Freeze: &events.Freeze{
				Scope: z.Scope, Mode: string(z.Mode), Until: unix(z.Until), Who: z.Who, Why: z.Why,
			}}}
			if f.ID == "" {
				f.ID = "all"
			}
			if z.Scope == "service" {
				f.App, f.Service, _ = strings.Cut(z.Name, "/")
			}
			out = append(out, f)
		}
	}
	return out
}

func (c *Client) poolFacts(pairs []*api.KVPair) (out []events.Fact) {
	for _, p := range pairs {
		var o planner.Orders
		if err := c.readPool(&o, p); err != nil {
			f := bad(p.Key, "", err.Error())
			f.Index = p.ModifyIndex
			out = append(out, f)
			continue
		}
		for _, m := range o.Pools {
			for _, n := range m.Nodes {
				state := ""
				switch {
				case n.Leaving:
					state = "leaving"
				case n.Draining:
					state = "draining"
				}
				node := clean(n.Node, 128)
				out = append(out, events.Fact{
					Kind: events.OfLoan, ID: m.Name + "/" + node, Node: node, Key: p.Key, Index: p.ModifyIndex,
					About: events.About{Loan: &events.Loan{Pool: m.Name, Home: clean(n.Home, 128), Due: unix(n.Due), State: state, Who: n.Who, Why: n.Why}},
				})
			}
		}
	}
	return out
}

func (c *Client) sizeFacts(app string, pairs []*api.KVPair) (out []events.Fact) {
	for _, p := range pairs {
		name, _ := serviceOf(c.keys.statuses(), p.Key)
		owner, service, _ := strings.Cut(name, "/")
		if app != "" && owner != app {
			continue
		}
		s, err := c.readStatus(p)
		if err != nil {
			f := bad(p.Key, "", err.Error())
			f.Index = p.ModifyIndex
			out = append(out, f)
			continue
		}
		a := &events.Scaling{Size: s.Size, Reason: clean(string(s.Reason), 100), Words: s.Words, Held: s.Held, Pool: clean(s.Pool, 100)}
		for _, alarm := range s.Alarms {
			a.Alarms = append(a.Alarms, clean(string(alarm.Code), 100))
		}
		slices.Sort(a.Alarms)
		for _, d := range s.Last {
			a.Decisions = append(a.Decisions, events.Decision{At: unix(d.At), From: d.From, Size: d.Size, Reason: clean(string(d.Reason), 100), Words: d.Words})
		}
		out = append(out, events.Fact{Kind: events.OfScaling, ID: name, App: owner, Service: service, Key: p.Key, Index: p.ModifyIndex, About: events.About{Scaling: a}})
	}
	return out
}

func (c *Client) deployFacts(app string, pairs []*api.KVPair) (out []events.Fact) {
	for _, p := range pairs {
		name := strings.TrimPrefix(p.Key, c.keys.deployments())
		if app != "" && name != app {
			continue
		}
		s, err := decodeDeployment(name, p)
		if !appName.MatchString(name) {
			err = errors.New("not a name of an app")
		}
		if err != nil {
			f := bad(p.Key, "", err.Error())
			f.Index = p.ModifyIndex
			out = append(out, f)
			continue
		}
		d := &events.Deploy{
			Run: s.Run, Release: s.Release, Phase: string(s.Phase), Batch: s.At + 1, Batches: len(s.Batches),
			Holder: s.Holder, Result: clean(s.Result, 40), Began: s.Began,
		}
		if s.Failure != nil {
			d.Why = clean(s.Failure.Words(), 2000)
		}
		out = append(out, events.Fact{Kind: events.OfDeploy, ID: name, App: name, Key: p.Key, Index: p.ModifyIndex, About: events.About{Deploy: d}})
	}
	return out
}

// releaseFacts are the releases of an app, and which of them are current.
func releaseFacts(app, prefix, currentKey string, pairs []*api.KVPair, current *api.KVPair) (out []events.Fact) {
	for _, p := range pairs {
		name := strings.TrimPrefix(p.Key, prefix)
		r, err := decodeRelease(app, name, p.Value)
		if !releaseName.MatchString(name) {
			err = errors.New("not a name of a release")
		}
		if err != nil {
			f := bad(p.Key, app, err.Error())
			f.Index = p.ModifyIndex
			out = append(out, f)
			continue
		}
		a := &events.Release{Image: r.Image, Commit: r.Git.Commit, BuiltBy: r.BuiltBy, BuiltAt: r.BuiltAt}
		if r.Stable != nil {
			a.Stable = r.Stable.By
		}
		if r.Failed != nil {
			a.Failed = clean(r.Failed.By+": "+r.Failed.Why, 2300)
		}
		out = append(out, events.Fact{Kind: events.OfRelease, ID: app + "@" + name, App: app, Key: p.Key, Index: p.ModifyIndex, About: events.About{Release: a}})
	}
	if current == nil {
		return out
	}
	services, err := decodeCurrent(current.Value)
	if err != nil {
		f := bad(currentKey, app, err.Error())
		f.Index = current.ModifyIndex
		return append(out, f)
	}
	for service, p := range services {
		out = append(out, events.Fact{
			Kind: events.OfCurrent, ID: app + "/" + service, App: app, Service: service, Key: currentKey, Index: current.ModifyIndex,
			About: events.About{Current: &events.Current{Release: p.Release, Previous: p.Previous, By: p.By, Moved: p.At}},
		})
	}
	return out
}

// maxTags bounds what is kept of an instance's tags.
const maxTags = 30

// instanceFacts are the instances of a service that are ours, of one app or ("") of all.
func instanceFacts(app, name string, entries []*api.ServiceEntry) (out []events.Fact) {
	for _, e := range entries {
		r, ok := fromCatalog(e, name)
		if !ok || r.Meta[fleet.MetaOwner] == "" || r.Name == fleet.MonitorService || app != "" && r.Meta[fleet.MetaApp] != app {
			continue
		}
		if !ours(r) {
			f := bad("registration "+r.ID+" on "+r.Node, "", "bears our mark and is none of ours")
			f.Key, f.Index = "", e.Service.ModifyIndex
			out = append(out, f)
			continue
		}
		index := e.Service.ModifyIndex
		for _, k := range e.Checks {
			index = max(index, k.ModifyIndex)
		}
		a := &events.Instance{
			Name: r.Name, Address: r.Address, Port: min(max(r.Port, 0), 65535), Weight: r.Weight, Workers: r.Meta[fleet.MetaWorkers],
			Release: r.Meta[fleet.MetaRelease], Health: string(r.Health),
		}
		for _, tag := range r.Tags[:min(len(r.Tags), maxTags)] {
			a.Tags = append(a.Tags, clean(tag, 100))
		}
		if a.Why = clean(r.Output, 500); r.Health == fleet.Maintenance {
			a.Why = r.Reason
		} else if r.Health == fleet.Passing {
			a.Why = ""
		}
		out = append(out, events.Fact{
			Kind: events.OfInstance, ID: r.Node + "/" + r.ID, App: r.Meta[fleet.MetaApp], Service: r.Meta[fleet.MetaService],
			Node: r.Node, Zone: r.Meta[fleet.MetaZone], Index: index, About: events.About{Instance: a},
		})
	}
	return out
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
