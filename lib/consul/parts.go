package consul

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/events"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const (
	maxFollowedServices = 20 // one connection each, of the 200 that an agent gives to all programs of a client address
	maxFleetServices    = 5000
	maxFleetApps        = 2000
	othersEach          = 5 * time.Second // services beyond maxFollowedServices are read in turn, and when an instance comes or goes
)

// PartNews is what is told of one part of a fleet: what it holds at an index of
// Consul, or why that cannot be read. A fault of kind Unreachable ends by itself.
type PartNews struct {
	Part  string
	Index uint64
	Facts []events.Fact
	Err   error
}

// Fleet reads and follows what a stream of events is made of. App "" means all
// apps. Known are services and apps of which something was told before: they are
// read too, also when they are gone; Indexes those at which parts were read then.
type Fleet struct {
	App      string
	Services []string
	Apps     []string
	Indexes  map[string]uint64
}

// reading is one part and how it is read.
type partReader struct {
	name string
	read func(q *api.QueryOptions) ([]events.Fact, *api.QueryMeta, error)
}

func (c *Client) tree(name, prefix string, facts func([]*api.KVPair) []events.Fact) partReader {
	return partReader{name, func(q *api.QueryOptions) ([]events.Fact, *api.QueryMeta, error) {
		all, meta, err := c.api.KV().List(prefix, q)
		if err != nil {
			return nil, meta, err
		}
		if hidden, err := c.hidden(q.Context(), prefix, meta); err != nil || hidden {
			if err == nil {
				err = notAllowed("read", prefix)
			}
			return nil, meta, err
		}
		return facts(values(all)), meta, nil
	}}
}

// values leaves out placeholders of folders.
func values(all api.KVPairs) (out []*api.KVPair) {
	for _, p := range all {
		if p != nil && !strings.HasSuffix(p.Key, "/") {
			out = append(out, p)
		}
	}
	return out
}

// wholes are the parts that one query each reads.
func (c *Client) wholes(app string) []partReader {
	deploys, sizes := c.keys.deployments(), c.keys.statuses()
	if app != "" {
		deploys, sizes = deploys+app, sizes+app+"/"
	}
	return []partReader{
		c.tree(events.Freezes, c.keys.freeze(), c.freezeFacts),
		c.tree(events.Pools, c.keys.pools(), c.poolFacts),
		c.tree(events.Sizes, sizes, func(p []*api.KVPair) []events.Fact { return c.sizeFacts(app, p) }),
		c.tree(events.Deploys, deploys, func(p []*api.KVPair) []events.Fact { return c.deployFacts(app, p) }),
	}
}

// instances reads one service.
func (c *Client) instances(app, name string) partReader {
	return partReader{events.ServicePart(name), func(q *api.QueryOptions) ([]events.Fact, *api.QueryMeta, error) {
		entries, meta, err := c.api.Health().Service(name, "", false, q)
		if err != nil {
			return nil, meta, err
		}
		if meta.ResultsFilteredByACLs || len(entries) == 0 && c.blind(q.Context(), name, meta) {
			return nil, meta, hiddenServices("read health of " + name)
		}
		return instanceFacts(app, name, entries), meta, nil
	}}
}

// serviceNames lists the services that have an instance of ours. Servers that
// filter nothing here give all names, which costs reads alone.
func (c *Client) serviceNames(app string, q *api.QueryOptions) ([]string, *api.QueryMeta, error) {
	q.Filter = `"` + fleet.MetaOwner + `" in ServiceMeta`
	if app != "" {
		q.Filter += ` and ServiceMeta.` + fleet.MetaApp + ` == "` + app + `"`
	}
	all, meta, err := c.api.Catalog().Services(q)
	if err != nil {
		return nil, meta, err
	}
	var names []string
	for name := range all {
		if serviceName.MatchString(name) && name != fleet.MonitorService {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > maxFleetServices {
		return nil, meta, tooMany("services", len(names), maxFleetServices)
	}
	return names, meta, nil
}

// apps lists the apps that have keys.
func (c *Client) appsBelow(app string, q *api.QueryOptions) ([]string, *api.QueryMeta, error) {
	prefix := c.keys.apps()
	if app != "" {
		prefix += app + "/"
	}
	all, meta, err := c.api.KV().Keys(prefix, "", q)
	if err != nil {
		return nil, meta, err
	}
	if app != "" {
		return []string{app}, meta, nil
	}
	var apps []string
	for _, key := range all {
		name, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		if appName.MatchString(name) && !slices.Contains(apps[max(0, len(apps)-1):], name) { // keys are in order
			apps = append(apps, name)
		}
	}
	if len(apps) == 0 { // else those of other teams may well be hidden
		if hidden, err := c.hidden(q.Context(), prefix, meta); err != nil || hidden {
			return nil, meta, cmp.Or(err, notAllowed("list", prefix))
		}
	}
	if len(apps) > maxFleetApps {
		return nil, meta, tooMany("apps", len(apps), maxFleetApps)
	}
	return apps, meta, nil
}

// appState reads releases and what is current of one app, unless nothing below
// its releases and its current changed since index, which returns news without a part.
func (c *Client) appState(ctx context.Context, app string, index uint64) PartNews {
	n := PartNews{Part: events.AppPart(app)}
	what := "read releases of " + app
	prefix, err := c.keys.releases(app)
	if err != nil {
		n.Err = err
		return n
	}
	currentKey, _ := c.keys.current(app)
	q, cancel := c.reading(ctx)
	defer cancel()
	_, meta, err := c.api.KV().Keys(prefix, "", q)
	if err != nil {
		n.Err = c.fault(ctx, what, err)
		return n
	}
	current, _, err := c.api.KV().Get(currentKey, q)
	if err != nil {
		n.Err = c.fault(ctx, "read "+currentKey, err)
		return n
	}
	if n.Index = meta.LastIndex; current != nil {
		n.Index = max(n.Index, current.ModifyIndex)
	}
	if index != 0 && n.Index == index {
		return PartNews{Index: index}
	}
	all, meta, err := c.api.KV().List(prefix, q)
	if err == nil {
		var hidden bool
		if hidden, err = c.hidden(ctx, prefix, meta); err == nil && hidden {
			err = notAllowed("read", prefix)
		}
	}
	if err != nil {
		n.Err = c.fault(ctx, what, err)
		return n
	}
	n.Facts = releaseFacts(app, prefix, currentKey, values(all), current)
	return n
}

// Look reads every part once. It returns an error when Consul cannot be asked,
// or shows nothing at all; a part that may not be read is told.
func (c *Client) Look(ctx context.Context, f Fleet, tell func(PartNews)) error {
	readable := 0
	believe := time.Now().Add(believeLower) // what is older than what was seen before
	one := func(p partReader) error {
		q, cancel := c.reading(ctx)
		defer cancel()
		facts, meta, err := p.read(q)
		for err == nil && meta.LastIndex < f.Indexes[p.name] && time.Now().Before(believe) && sleep(ctx, emptyPause) {
			again, end := c.reading(ctx)
			facts, meta, err = p.read(again)
			end()
		}
		if err != nil {
			err = c.fault(ctx, "read "+p.name, err)
			if ctx.Err() != nil || fault.KindOf(err) == fault.Unreachable {
				return err
			}
			tell(PartNews{Part: p.name, Err: err})
			return nil
		}
		readable++
		tell(PartNews{Part: p.name, Index: meta.LastIndex, Facts: facts})
		return nil
	}
	for _, p := range c.wholes(f.App) {
		if err := one(p); err != nil {
			return err
		}
	}
	if err := c.lookLists(ctx, f, tell, one, &readable); err != nil {
		return err
	}
	if readable == 0 {
		return notAllowed("read", c.keys.root)
	}
	return nil
}

// lookLists reads the apps and the services that are listed, and those that were known before.
func (c *Client) lookLists(ctx context.Context, f Fleet, tell func(PartNews), one func(partReader) error, readable *int) error {
	ends := func(err error) bool { return ctx.Err() != nil || fault.KindOf(err) == fault.Unreachable }
	q, cancel := c.reading(ctx)
	defer cancel()
	apps, _, err := c.appsBelow(f.App, q)
	if err != nil {
		if err = c.fault(ctx, "list apps", err); ends(err) {
			return err
		}
		tell(PartNews{Part: "apps", Err: err})
	}
	for _, app := range union(apps, f.Apps) {
		n := c.appState(ctx, app, 0)
		if n.Err != nil && ends(n.Err) {
			return n.Err
		}
		if n.Err == nil {
			*readable++
		}
		tell(n)
	}
	q, cancelNames := c.reading(ctx)
	defer cancelNames()
	names, _, err := c.serviceNames(f.App, q)
	if err != nil {
		if err = c.fault(ctx, "list services", err); ends(err) {
			return err
		}
		tell(PartNews{Part: "services", Err: err})
	}
	for _, name := range union(names, f.Services) {
		if err := one(c.instances(f.App, name)); err != nil {
			return err
		}
	}
	return nil
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
