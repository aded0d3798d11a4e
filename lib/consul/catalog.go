package consul

import (
	"context"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Registrations returns what is ours on the local agent, with health, sorted by
// ID. What bears our mark but is malformed is logged and left out, so that
// nothing acts on it; so is what the token may not read, as it could not change it either.
func (c *Client) Registrations(ctx context.Context) ([]fleet.Registration, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	q.Filter = `"` + fleet.MetaOwner + `" in Meta`
	var services map[string]*api.AgentService
	if _, err := c.api.Raw().Query("/v1/agent/services", &services, q); err != nil {
		return nil, c.fault(ctx, "list registrations", err)
	}
	q.Filter = ""
	var checks map[string]*api.AgentCheck
	if _, err := c.api.Raw().Query("/v1/agent/checks", &checks, q); err != nil {
		return nil, c.fault(ctx, "list checks", err)
	}
	byService := map[string]api.HealthChecks{}
	for _, k := range checks {
		if k != nil {
			byService[k.ServiceID] = append(byService[k.ServiceID], &api.HealthCheck{
				Node: k.Node, CheckID: k.CheckID, Status: k.Status, Output: k.Output, Notes: k.Notes, ServiceID: k.ServiceID, Type: k.Type,
			})
		}
	}
	var found []fleet.Registration
	for _, s := range services {
		if s == nil {
			continue
		}
		r := registration(s, append(byService[s.ID], byService[""]...))
		if r.Name == fleet.MonitorService {
			continue // ours, and no instance of an app
		}
		if !ours(r) {
			c.log.Warn("skip malformed registration that bears our mark", "id", shown(s.ID))
			continue
		}
		found = append(found, r)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].ID < found[j].ID })
	return found, nil
}

// Service returns every instance of a service that the catalog knows, on all
// nodes and in any health, sorted by node and ID. Where the instance says no zone, its node's is filled in.
func (c *Client) Service(ctx context.Context, name string) ([]fleet.Registration, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	found, _, err := c.service(ctx, name, q)
	return found, err
}

func (c *Client) service(ctx context.Context, name string, q *api.QueryOptions) ([]fleet.Registration, *api.QueryMeta, error) {
	if !serviceName.MatchString(name) {
		return nil, nil, badName("service", name, "a DNS label")
	}
	entries, meta, err := c.api.Health().Service(name, "", false, q)
	if err != nil {
		return nil, nil, c.fault(ctx, "read health of "+name, err)
	}
	if meta.ResultsFilteredByACLs || len(entries) == 0 && c.blind(ctx, name, meta) {
		return nil, nil, hiddenServices("read health of " + name)
	}
	var found []fleet.Registration
	for _, e := range entries {
		if r, ok := fromCatalog(e, name); ok {
			found = append(found, r)
		}
	}
	sort.Slice(found, func(i, j int) bool {
		if found[i].Node != found[j].Node {
			return found[i].Node < found[j].Node
		}
		return found[i].ID < found[j].ID
	})
	return found, meta, nil
}

// blind tells "none" from "not allowed" for a caller without a token, whom
// Consul gives an empty list for both. The agent's own endpoint refuses openly.
func (c *Client) blind(ctx context.Context, name string, meta *api.QueryMeta) bool {
	if c.hasToken || meta.DefaultACLPolicy != "deny" {
		return false
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	_, err := c.api.Raw().Query("/v1/agent/health/service/name/"+name, new(any), q)
	return statusCode(err) == http.StatusForbidden
}

// Await waits until the servers show the instance with that health, "" until
// they show it no more, as long as ctx allows (fault.Timeout). It is the proof
// that a registration was taken: an agent accepts what its servers then refuse.
func (c *Client) Await(ctx context.Context, id, name string, want fleet.Health) error {
	if !instanceID.MatchString(id) {
		return badName("instance", id, "letters, digits, `.`, `_` and `-`")
	}
	seen, last := false, fleet.Registration{}
	err := c.watch(ctx, "wait for "+id+" in Consul", func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
		found, meta, err := c.service(ctx, name, q)
		if err != nil {
			return nil, false, err
		}
		seen, last = false, fleet.Registration{}
		for _, r := range found {
			if r.ID == id {
				seen, last = true, r
			}
		}
		return meta, last.Health == want, nil
	})
	if fault.KindOf(err) != fault.Timeout {
		return err
	}
	if seen {
		return fault.New(fault.Timeout, "wait for %s in Consul: it is %s, not %s: %s", id, last.Health, orGone(want), last.Output)
	}
	return c.explainAbsent(ctx, id, name, err)
}

// explainAbsent says why an instance is not in the catalog: the agent's log is the only other place that knows.
func (c *Client) explainAbsent(ctx context.Context, id, name string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, _, missing := c.api.Agent().Service(id, (&api.QueryOptions{}).WithContext(ctx)); missing != nil {
		return fault.New(fault.Timeout, "wait for %s in Consul: neither the agent nor the catalog has it: %w", id, err)
	}
	e := fault.New(fault.Timeout, "wait for %s in Consul: the agent has it and the servers do not: %w", id, err)
	e.Hint = "the servers refuse it silently when a token lacks rights: give it service " + `"` + name + `" { policy = "write" }` + ", and look for `blocked by ACLs` in the agent's log"
	return e
}

func fromCatalog(e *api.ServiceEntry, name string) (fleet.Registration, bool) {
	if e == nil || e.Service == nil || e.Node == nil || e.Service.Service != name {
		return fleet.Registration{}, false
	}
	r := registration(e.Service, e.Checks)
	r.Node = clean(e.Node.Node, 255)
	if r.Address == "" {
		r.Address = clean(e.Node.Address, 253)
	}
	if zone := e.Node.Meta[fleet.MetaZone]; r.Meta[fleet.MetaZone] == "" && zone != "" {
		r.Meta[fleet.MetaZone] = clean(zone, maxMetaValue)
	}
	return r, instanceID.MatchString(r.ID)
}

// registration converts, bounding what came from outside.
func registration(s *api.AgentService, checks api.HealthChecks) fleet.Registration {
	r := fleet.Registration{
		ID: s.ID, Name: s.Service, Node: clean(s.Meta[fleet.MetaNode], 255), Address: clean(s.Address, 253), Port: s.Port,
		Weight: s.Weights.Passing, Meta: make(map[string]string, len(s.Meta)), Health: healthOf(checks),
	}
	for k, v := range s.Meta {
		if metaKey.MatchString(k) {
			r.Meta[k] = clean(v, maxMetaValue)
		}
	}
	for _, tag := range s.Tags {
		r.Tags = append(r.Tags, clean(tag, 255))
	}
	sort.Strings(r.Tags)
	if want := parseCheck(s.Meta[fleet.MetaCheck]); want.Type == "" || hasCheck(checks, checkID(s.ID), want.Type) {
		r.Check = want
	}
	if r.Node == "" && len(checks) > 0 {
		r.Node = clean(checks[0].Node, 255)
	}
	r.Output, r.Reason = explain(checks)
	return r
}

// ours reports whether a registration with our mark is one that svckit can have written.
func ours(r fleet.Registration) bool {
	return r.Meta[fleet.MetaOwner] != "" && instanceID.MatchString(r.ID) && serviceName.MatchString(r.Name) &&
		appName.MatchString(r.Meta[fleet.MetaApp]) && appName.MatchString(r.Meta[fleet.MetaService])
}

func hasCheck(checks api.HealthChecks, id, kind string) bool {
	for _, k := range checks {
		if k.CheckID == id && (k.Type == kind || k.Type == "") {
			return true
		}
	}
	return false
}

func healthOf(checks api.HealthChecks) fleet.Health {
	switch h := fleet.Health(checks.AggregatedStatus()); h {
	case fleet.Passing, fleet.Warning, fleet.Critical, fleet.Maintenance:
		return h
	}
	return fleet.Critical
}

// explain returns the output of the worst check, of the instance rather than of its node, and the reason of a maintenance.
func explain(checks api.HealthChecks) (output, reason string) {
	rank := map[string]int{api.HealthPassing: 2, api.HealthWarning: 4, api.HealthCritical: 6}
	worst, from := 0, ""
	for _, k := range checks {
		if k.CheckID == api.NodeMaint || strings.HasPrefix(k.CheckID, api.ServiceMaintPrefix) {
			reason = clean(k.Notes, 300)
			continue
		}
		bad := rank[k.Status]
		if k.ServiceID != "" {
			bad++
		}
		if bad > worst || bad == worst && k.CheckID < from {
			worst, from, output = bad, k.CheckID, clean(k.Output, maxOutput)
		}
	}
	return output, reason
}

func orGone(want fleet.Health) string {
	if want == "" {
		return "gone"
	}
	return string(want)
}

func hiddenServices(what string) error {
	return fault.WithHint(fault.New(fault.Failed, "%s: not allowed: the Consul token hides services that are there", what),
		`give the token the rules: service_prefix "" { policy = "read" } and node_prefix "" { policy = "read" }`)
}
