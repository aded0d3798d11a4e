package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"svckit/lib/deploy"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// maxDeployNodes bounds a deploy over the fleet.
const maxDeployNodes = 2000

type deploymentDoc struct {
	Schema int `json:"schema"`
	deploy.State
}

// Deployments of apps lie outside svc/apps/: a sign of life every few seconds must
// not wake who follows the keys of an app.
func (k keys) deployments() string { return k.root + "deploy/" }

func (k keys) deployment(app string) (string, error) {
	if !appName.MatchString(app) {
		return "", badName("app", app, "[a-z][a-z0-9-]{0,39}")
	}
	return k.deployments() + app, nil
}

// Deployment returns the last deploy of an app over the fleet; fleet.ErrNotFound where there was none.
func (c *Client) Deployment(ctx context.Context, app string) (deploy.State, error) {
	key, err := c.keys.deployment(app)
	if err != nil {
		return deploy.State{}, err
	}
	pair, err := c.get(ctx, key)
	switch {
	case err != nil:
		return deploy.State{}, err
	case pair == nil:
		return deploy.State{}, fault.New(fault.NotFound, "read deploy of %s: %w", app, fleet.ErrNotFound)
	}
	s, err := decodeDeployment(app, pair)
	if err != nil {
		return deploy.State{}, unreadable(key, err)
	}
	return s, nil
}

// SetDeployment writes a deploy if nobody changed it since it was read (fault.Conflict).
func (c *Client) SetDeployment(ctx context.Context, s deploy.State) error {
	key, err := c.keys.deployment(s.App)
	if err != nil {
		return err
	}
	if err := checkDeployment(s); err != nil {
		return fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	value, err := encode(deploymentDoc{Schema: schema, State: s})
	if err != nil {
		return fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	return c.swap(ctx, key, value, s.Index)
}

// AwaitDeployment waits until a deploy is no longer what it was at index, as long as ctx allows (fault.Timeout).
func (c *Client) AwaitDeployment(ctx context.Context, app string, index uint64) error {
	key, err := c.keys.deployment(app)
	if err != nil {
		return err
	}
	return c.watch(ctx, "follow "+key, func(q *api.QueryOptions) (*api.QueryMeta, bool, error) {
		pair, meta, err := c.api.KV().Get(key, q)
		return meta, err == nil && (pair == nil || pair.ModifyIndex != index), err
	})
}

func decodeDeployment(app string, pair *api.KVPair) (deploy.State, error) {
	var d deploymentDoc
	if err := decode(pair.Value, &d); err != nil {
		return deploy.State{}, err
	}
	s := d.State
	s.App, s.Index = app, pair.ModifyIndex
	s.Began, s.Beat = s.Began.UTC(), s.Beat.UTC()
	s.Holder, s.Run = clean(s.Holder, 200), clean(s.Run, 100)
	s.Failure = shownFailure(s.Failure)
	for name, n := range s.Nodes {
		n.At, n.Zone, n.Why = n.At.UTC(), clean(n.Zone, 100), shownFailure(n.Why)
		s.Nodes[name] = n
	}
	return s, checkDeployment(s)
}

func shownFailure(f *deploy.Failure) *deploy.Failure {
	if f == nil {
		return nil
	}
	return &deploy.Failure{Node: clean(f.Node, 128), Service: clean(f.Service, 40), Check: clean(f.Check, 40), Output: clean(f.Output, 2000)}
}

// checkDeployment holds for both directions.
func checkDeployment(s deploy.State) error {
	switch {
	case !releaseName.MatchString(s.Release) || !digestRef.MatchString(s.Image):
		return errors.New("release or image is not one")
	case s.Run == "" || !line(s.Run, 100) || !line(s.Holder, 300):
		return errors.New("run or holder is missing, or no short line")
	case !sane(s.Began) || !sane(s.Beat):
		return errors.New("began or beat is not a time of this century")
	case !slices.Contains([]deploy.Phase{deploy.Pull, deploy.Forward, deploy.Ready, deploy.Back, deploy.Ended}, s.Phase):
		return fmt.Errorf("phase %q is none", clean(string(s.Phase), 40))
	case (s.Phase == deploy.Back || s.Result == deploy.Failed) && s.Failure == nil:
		return errors.New("it goes back and does not say why")
	case len(s.Nodes) > maxDeployNodes || len(s.Batches) > maxDeployNodes || len(s.Returns) > maxDeployNodes || len(s.Services) > 100:
		return errors.New("too many nodes, batches or services")
	case s.At < 0 || s.Size < 1 || s.Floor < 0:
		return errors.New("at, size or floor are out of bounds")
	}
	return checkDeploymentNames(s)
}

// checkDeploymentNames checks what services, releases and nodes a deploy names.
func checkDeploymentNames(s deploy.State) error {
	for _, key := range slices.Concat(s.Services, s.Tight) {
		if checkService(key) != nil {
			return fmt.Errorf("service %q is none", clean(key, 80))
		}
	}
	for key, aim := range s.Stable {
		if checkService(key) != nil || !releaseName.MatchString(aim.Release) || !digestRef.MatchString(aim.Image) {
			return fmt.Errorf("stable release of %q is none", clean(key, 80))
		}
	}
	for name := range s.Nodes {
		if !nodeName.MatchString(name) {
			return fmt.Errorf("node %q is none", clean(name, 80))
		}
	}
	for _, name := range slices.Concat(slices.Concat(s.Batches...), slices.Concat(s.Returns...)) {
		if _, known := s.Nodes[name]; !known {
			return fmt.Errorf("node %q is in a batch only", clean(name, 80))
		}
	}
	return nil
}

// ReleaseIn reads a release record of another datacenter; "" is the agent's own.
func (c *Client) ReleaseIn(ctx context.Context, datacenter, app, name string) (fleet.Release, error) {
	key, err := c.keys.release(app, name)
	if err != nil {
		return fleet.Release{}, err
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	q.Datacenter = datacenter
	pair, _, err := c.api.KV().Get(key, q)
	switch {
	case err != nil && strings.Contains(err.Error(), "No path to datacenter"):
		return fleet.Release{}, fault.New(fault.NotFound, "read release %s of %s: no datacenter %s is known here", name, app, datacenter)
	case err != nil:
		return fleet.Release{}, c.fault(ctx, "read "+key+" in "+datacenter, err)
	case pair == nil:
		return fleet.Release{}, fault.New(fault.NotFound, "read release %s of %s in %s: %w", name, app, datacenter, fleet.ErrNotFound)
	}
	r, err := decodeRelease(app, name, pair.Value)
	if err != nil {
		return fleet.Release{}, unreadable(key+" in "+datacenter, err)
	}
	return r, nil
}

// Members returns the nodes that the catalog knows, sorted by name.
func (c *Client) Members(ctx context.Context) ([]fleet.Member, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	nodes, meta, err := c.api.Catalog().Nodes(q)
	if err != nil {
		return nil, c.fault(ctx, "list nodes", err)
	}
	if meta != nil && meta.ResultsFilteredByACLs {
		return nil, hiddenServices("list nodes")
	}
	critical, _, err := c.api.Health().State(api.HealthCritical, q)
	if err != nil {
		return nil, c.fault(ctx, "read health of nodes", err)
	}
	var out []fleet.Member
	for _, n := range nodes {
		if n == nil || !nodeName.MatchString(n.Node) {
			continue
		}
		dead := slices.ContainsFunc(critical, func(k *api.HealthCheck) bool { return k != nil && k.Node == n.Node && k.CheckID == "serfHealth" })
		out = append(out, fleet.Member{Node: n.Node, Zone: clean(n.Meta[fleet.MetaZone], 100), Alive: !dead})
	}
	slices.SortFunc(out, func(a, b fleet.Member) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}
