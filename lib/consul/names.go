package consul

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/answer"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Follow calls see with the state of a service or node as often as it may have
// changed, and with an error whenever it cannot be known, until ctx ends. It
// holds one of the 200 connections that an agent gives to a client address.
// Servers that are not the leader answer too, so that an election is not noticed;
// what one says that is behind is not told.
func (c *Client) Follow(ctx context.Context, s answer.Subject, see func(answer.State, error)) {
	var seen lag
	for {
		err := c.watch(ctx, "follow "+s.String(), func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
			state, meta, err := c.state(s, q)
			if err == nil && meta != nil && seen.behind(meta.LastIndex, time.Now()) {
				return nil, false, fault.New(fault.Unreachable, "read %s: index %d is older than %d: a server is behind", s, meta.LastIndex, seen.highest)
			}
			if ctx.Err() == nil {
				see(state, c.fault(ctx, "read "+s.String(), err))
			}
			return meta, false, err
		})
		// A refusal, e.g. of the token: it may be given its rights later.
		if ctx.Err() != nil || !sleep(ctx, jitter(maxPause, rand.Float64())) {
			return
		}
		c.log.Debug("follow again", "what", s.String(), "error", err)
	}
}

// State reads the state of a service or node once.
func (c *Client) State(ctx context.Context, s answer.Subject) (answer.State, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	state, _, err := c.state(s, q)
	return state, c.fault(ctx, "read "+s.String(), err)
}

// NodeKnown reports whether the catalog holds a node.
func (c *Client) NodeKnown(ctx context.Context, name, datacenter string) (bool, error) {
	state, err := c.State(ctx, answer.Subject{Node: true, Name: name, Datacenter: datacenter})
	return state.Node != nil, err
}

// state asks. An unknown datacenter is one in which nothing exists.
func (c *Client) state(s answer.Subject, q *api.QueryOptions) (answer.State, *api.QueryMeta, error) {
	q.AllowStale, q.Datacenter = true, s.Datacenter
	ask := c.serviceState
	if s.Node {
		ask = c.nodeState
	}
	state, meta, err := ask(s, q)
	if err != nil && strings.Contains(err.Error(), "No path to datacenter") {
		return answer.State{}, nil, fault.New(fault.NotFound, "read %s: %w", s, fleet.ErrNotFound)
	}
	return state, meta, err
}

func (c *Client) serviceState(s answer.Subject, q *api.QueryOptions) (answer.State, *api.QueryMeta, error) {
	entries, meta, err := c.api.Health().Service(s.Name, "", false, q)
	if err != nil {
		return answer.State{}, meta, err
	}
	if meta.ResultsFilteredByACLs || len(entries) == 0 && c.blind(q.Context(), s.Name, meta) {
		return answer.State{}, meta, hiddenServices("read " + s.String())
	}
	var state answer.State
	for _, e := range entries {
		if e != nil && e.Service != nil && e.Node != nil && strings.EqualFold(e.Service.Service, s.Name) {
			state.Instances = append(state.Instances, answerInstance(e))
		}
	}
	slices.SortFunc(state.Instances, func(a, b answer.Instance) int {
		if a.Node != b.Node {
			return strings.Compare(a.Node, b.Node)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return state, meta, nil
}

func answerInstance(e *api.ServiceEntry) answer.Instance {
	i := answer.Instance{
		ID: clean(e.Service.ID, 255), Node: clean(e.Node.Node, 255), Datacenter: clean(e.Node.Datacenter, 63),
		Address: clean(e.Service.Address, 253), NodeAddress: clean(e.Node.Address, 253), Port: min(max(e.Service.Port, 0), 65535),
		Passing: e.Service.Weights.Passing, Warning: e.Service.Weights.Warning,
		Health: healthOf(e.Checks), Zone: clean(e.Service.Meta[fleet.MetaZone], 63),
	}
	if i.Passing == 0 && i.Warning == 0 { // an old server that knows no weights
		i.Passing, i.Warning = 1, 1
	}
	if i.Zone == "" {
		i.Zone = clean(e.Node.Meta[fleet.MetaZone], 63)
	}
	for _, tag := range e.Service.Tags {
		i.Tags = append(i.Tags, clean(tag, 255))
	}
	if i.Health != fleet.Passing {
		output, reason := explain(e.Checks)
		i.Why = clean(output, 200)
		if i.Health == fleet.Maintenance {
			i.Why = clean(reason, 200)
		}
	}
	i.Unchecked, i.NodeDown = silent(e.Checks)
	return i
}

// silent tells why checks are critical where nothing was found wrong. An agent
// that starts again registers the checks that it runs itself as critical with
// no output, until their first run; what a check has found, and what was set by
// hand or is a TTL that ran out, is another matter.
func silent(checks api.HealthChecks) (unchecked, nodeDown bool) {
	for _, k := range checks {
		switch {
		case k.Status != api.HealthCritical:
		case k.CheckID == "serfHealth":
			nodeDown = true
		case k.CheckID == api.NodeMaint || strings.HasPrefix(k.CheckID, api.ServiceMaintPrefix), k.Output != "", k.Type == "", k.Type == "ttl":
			return false, false
		default:
			unchecked = true
		}
	}
	return unchecked && !nodeDown, nodeDown
}

func (c *Client) nodeState(s answer.Subject, q *api.QueryOptions) (answer.State, *api.QueryMeta, error) {
	found, meta, err := c.api.Catalog().Node(s.Name, q)
	switch {
	case err != nil:
		return answer.State{}, meta, err
	case found == nil || found.Node == nil:
		if meta != nil && meta.ResultsFilteredByACLs {
			return answer.State{}, meta, hiddenServices("read " + s.String())
		}
		return answer.State{}, meta, nil
	case !strings.EqualFold(found.Node.Node, s.Name):
		return answer.State{}, meta, errors.New("answer about another node")
	}
	n := &answer.Node{Name: clean(found.Node.Node, 255), Datacenter: clean(found.Node.Datacenter, 63), Address: clean(found.Node.Address, 253), Meta: map[string]string{}}
	for k, v := range found.Node.Meta {
		n.Meta[cut(k, 128)] = cut(v, maxMetaValue) // byte for byte: it is never shown, only put into TXT records
	}
	return answer.State{Node: n}, meta, nil
}
