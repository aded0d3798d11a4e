package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Consul's limits of a registration (agent/structs; traps: longer names only warn and then cannot be resolved).
const (
	maxMeta      = 64
	maxMetaKey   = 128
	maxMetaValue = 512
	maxWeight    = 65535
	maxOutput    = 500 // bytes of a check's output that are kept here
)

var (
	instanceID  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)
	serviceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`) // a DNS label
	metaKey     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// Register tells the local agent of an instance. A new one is registered as
// passing, since the caller probed it: the agent's own first probe comes at a
// random point of the interval. One whose Health is Maintenance is registered as
// critical, and goes into maintenance with its Reason before anybody can find it.
// One with the same ID is changed, and keeps the
// state of its check and a maintenance that somebody put it in. Meta gets
// MetaOwner, which marks it as ours, and MetaCheck, as the agent does not tell
// the target of a check. 200 from the agent does not mean that the servers took it: see Await.
//
// DeregisterCriticalServiceAfter stays unset: after a long outage it would take
// an instance away that comes back by itself, and nobody would register it
// again. Registrations without a container are removed by the next `up`.
func (c *Client) Register(ctx context.Context, r fleet.Registration) error {
	if err := checkRegistration(r); err != nil {
		return fault.New(fault.Invalid, "register %s: %w", clean(r.ID, 80), err)
	}
	meta := make(map[string]string, len(r.Meta)+2)
	for k, v := range r.Meta {
		meta[k] = v
	}
	if meta[fleet.MetaOwner] == "" {
		meta[fleet.MetaOwner] = "1"
	}
	meta[fleet.MetaCheck] = checkText(r.Check)
	known, err := c.dropStaleChecks(ctx, r)
	if err != nil {
		return err
	}
	// Not ReplaceExistingChecks: it would end a maintenance.
	var opts api.ServiceRegisterOpts
	ctx2, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = c.api.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID: r.ID, Name: r.Name, Address: r.Address, Port: r.Port, Tags: r.Tags, Meta: meta,
		Weights: &api.AgentWeights{Passing: r.Weight, Warning: 1}, Check: agentCheck(r),
	}, opts.WithContext(ctx2))
	if err == nil && r.Health == fleet.Maintenance {
		err = c.Maintain(ctx, r.ID, true, r.Reason)
	}
	if err == nil && r.Check.Type == "ttl" && !known {
		// A state that was told is kept over a restart of the agent; the one of the registration is not.
		return c.UpdateTTL(ctx, r.ID, fleet.Passing, "registered")
	}
	return c.fault(ctx, "register "+r.ID, err)
}

// dropStaleChecks removes the checks of an earlier registration that the new
// one does not replace: an agent that gets a check of another type under the
// same ID goes on running the old one beside it. known says that the wanted check is there already.
func (c *Client) dropStaleChecks(ctx context.Context, r fleet.Registration) (known bool, err error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	checks, err := c.api.Agent().ChecksWithFilterOpts(fmt.Sprintf("ServiceID == %q", r.ID), q)
	if err != nil {
		return false, c.fault(ctx, "list checks of "+r.ID, err)
	}
	for id, k := range checks {
		switch {
		case k == nil || strings.HasPrefix(id, api.ServiceMaintPrefix):
		case id == checkID(r.ID) && k.Type == r.Check.Type:
			known = true
		default:
			if err := c.api.Agent().CheckDeregisterOpts(id, q); err != nil && statusCode(err) != http.StatusNotFound {
				return false, c.fault(ctx, "remove old check of "+r.ID, err)
			}
		}
	}
	return known, nil
}

// Deregister takes an instance out of the local agent; it is nothing if it is not there.
func (c *Client) Deregister(ctx context.Context, id string) error {
	if !instanceID.MatchString(id) {
		return badName("instance", id, "letters, digits, `.`, `_` and `-`")
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	err := c.fault(ctx, "deregister "+id, c.api.Agent().ServiceDeregisterOpts(id, q))
	if errors.Is(err, fleet.ErrNotFound) {
		return nil
	}
	return err
}

// Maintain takes an instance out of discovery with a reason, or lets it in again.
func (c *Client) Maintain(ctx context.Context, id string, on bool, reason string) error {
	if !instanceID.MatchString(id) {
		return badName("instance", id, "letters, digits, `.`, `_` and `-`")
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	if on {
		return c.fault(ctx, "put "+id+" into maintenance", c.api.Agent().EnableServiceMaintenanceOpts(id, clean(reason, 200), q))
	}
	return c.fault(ctx, "end maintenance of "+id, c.api.Agent().DisableServiceMaintenanceOpts(id, q))
}

// UpdateTTL feeds the TTL check of an instance.
func (c *Client) UpdateTTL(ctx context.Context, id string, health fleet.Health, output string) error {
	if !instanceID.MatchString(id) {
		return badName("instance", id, "letters, digits, `.`, `_` and `-`")
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	return c.fault(ctx, "update check of "+id, c.api.Agent().UpdateTTLOpts(checkID(id), clean(output, maxOutput), string(health), q))
}

func checkID(id string) string { return "service:" + id }

func agentCheck(r fleet.Registration) *api.AgentServiceCheck {
	k := r.Check
	check := &api.AgentServiceCheck{CheckID: checkID(r.ID), Status: api.HealthPassing, Interval: k.Interval.String(), Timeout: k.Timeout.String()}
	if r.Health == fleet.Maintenance {
		check.Status = api.HealthCritical
	}
	switch k.Type {
	case "http":
		check.HTTP, check.Method = k.Target, http.MethodGet
	case "tcp":
		check.TCP = k.Target
	case "grpc":
		check.GRPC = k.Target
	case "ttl":
		check.TTL, check.Interval, check.Timeout = k.Interval.String(), "", ""
	default:
		return nil
	}
	return check
}

func checkRegistration(r fleet.Registration) error {
	switch {
	case !instanceID.MatchString(r.ID):
		return errors.New("id is not 1 to 255 letters, digits, `.`, `_` and `-`")
	case !serviceName.MatchString(r.Name):
		return fmt.Errorf("name %q is not a DNS label, so it could not be resolved", clean(r.Name, 80))
	case r.Address == "" || len(r.Address) > 253 || !line(r.Address, 253):
		return errors.New("no address")
	case r.Port < 0 || r.Port > 65535:
		return fmt.Errorf("port %d", r.Port)
	case r.Weight < 1 || r.Weight > maxWeight:
		return fmt.Errorf("weight %d is not 1 to %d", r.Weight, maxWeight)
	case len(r.Meta) > maxMeta-2:
		return fmt.Errorf("%d meta pairs, Consul takes %d", len(r.Meta), maxMeta)
	}
	for k, v := range r.Meta {
		if !metaKey.MatchString(k) || len(v) > maxMetaValue || !line(v, maxMetaValue) {
			return fmt.Errorf("meta %q is no key of 1 to %d letters, digits, `_` and `-`, or its value is over %d bytes", clean(k, 80), maxMetaKey, maxMetaValue)
		}
	}
	for _, tag := range r.Tags {
		if tag == "" || !line(tag, 128) {
			return fmt.Errorf("tag %q", clean(tag, 80))
		}
	}
	return checkCheck(r.Check)
}

func checkCheck(k fleet.Check) error {
	ok := len(checkText(k)) <= maxMetaValue && line(k.Target, maxMetaValue)
	switch k.Type {
	case "":
		return nil
	case "ttl":
		ok = ok && k.Interval > 0
	case "http":
		u, err := url.Parse(k.Target)
		ok = ok && err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
	case "tcp", "grpc":
		address, _, _ := strings.Cut(k.Target, "/")
		host, port, err := net.SplitHostPort(address)
		_, badPort := strconv.ParseUint(port, 10, 16)
		ok = ok && err == nil && badPort == nil && host != ""
	default:
		return fmt.Errorf("check type %q", clean(k.Type, 40))
	}
	if !ok || k.Type != "ttl" && (k.Interval <= 0 || k.Timeout <= 0) {
		return fmt.Errorf("%s check of %q each %s with timeout %s", k.Type, clean(k.Target, 80), k.Interval, k.Timeout)
	}
	return nil
}

// checkText is the value of MetaCheck, e.g. "http 2s 1s http://10.0.0.1:8000/healthz"; "" for none.
func checkText(k fleet.Check) string {
	if k.Type == "" {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", k.Type, k.Interval, k.Timeout, k.Target))
}

// parseCheck reads MetaCheck; what it cannot read is no check, which differs from every wanted one.
func parseCheck(text string) fleet.Check {
	f := strings.SplitN(text, " ", 4)
	if len(f) < 3 {
		return fleet.Check{}
	}
	interval, err1 := time.ParseDuration(f[1])
	timeout, err2 := time.ParseDuration(f[2])
	k := fleet.Check{Type: f[0], Interval: interval, Timeout: timeout}
	if len(f) == 4 {
		k.Target = f[3]
	}
	if err1 != nil || err2 != nil || checkCheck(k) != nil {
		return fleet.Check{}
	}
	return k
}
