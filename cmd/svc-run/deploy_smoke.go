package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/probe"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// smokeResult is one test that was tried of an instance.
type smokeResult struct {
	Service  string  `json:"service"`
	Instance string  `json:"instance"` // first 8 digits of the container id
	Target   string  `json:"target"`   // URL, or the command
	OK       bool    `json:"ok"`
	Output   string  `json:"output"` // bounded
	Seconds  float64 `json:"seconds"`
}

// smoke tries the smoke test of a service on each of its instances here: by HTTP at the address and port that DNS
// gives, or as a command in the container. A command runs there and not on the node, since it comes out of KV.
func (n *nodeStep) smoke(ctx context.Context, d *here.Deploy) (said string, err error) {
	s, err := n.specOf(ctx, d)
	if err != nil || !s.Smoke.Given() {
		return "", err
	}
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return "", err
	}
	for _, i := range list {
		if !here.Runs(i) {
			continue
		}
		began := time.Now()
		r := smokeResult{Service: d.Service, Instance: i.Short()}
		limit, cancel := context.WithTimeout(ctx, s.Smoke.Timeout)
		if s.Smoke.HTTP != "" {
			r.Target, r.Output, err = smokeHTTP(limit, d, s, i)
		} else {
			r.Target = strings.Join(s.Smoke.Command, " ")
			r.Output, err = smokeCommand(limit, d, s.Smoke, i)
		}
		cancel()
		r.OK, r.Seconds, r.Output, r.Target = err == nil, time.Since(began).Seconds(), n.s.Veil(r.Output), n.s.Veil(r.Target)
		n.out.Smoke = append(n.out.Smoke, r)
		if err != nil {
			return strings.TrimSpace(r.Target + ": " + n.s.Veil(err.Error()) + " | " + r.Output), err
		}
		n.s.Say("smoke test of %s passed in %.1fs", i.Name, r.Seconds)
	}
	return "", nil
}

// specOf is the service as its running release describes it.
func (n *nodeStep) specOf(ctx context.Context, d *here.Deploy) (spec.Service, error) {
	r, err := d.Consul.Release(ctx, d.App, n.out.Release)
	if err != nil {
		return spec.Service{}, err
	}
	app, err := apply.SpecOf(r)
	s, _ := app.Service(d.Service)
	return s, err
}

// smokeHTTP asks an instance at the place where clients find it; one that is drained, where they would.
func smokeHTTP(ctx context.Context, d *here.Deploy, s spec.Service, i fleet.Instance) (target, said string, err error) {
	name := fmt.Sprintf("%s.service.%s", s.Name, d.Site.Domain)
	target = "http://" + net.JoinHostPort(i.Address, strconv.Itoa(i.Port)) + s.Smoke.HTTP
	drained, err := isDrained(ctx, d, i)
	if err != nil {
		return target, "", err
	}
	if d.World.Resolve != nil && !drained {
		found, _, err := d.World.Resolve(ctx, name)
		if err != nil {
			return target, "", err
		}
		shown := slices.ContainsFunc(found, func(e fleet.Endpoint) bool { return e.Address == i.Address && (e.Port == i.Port || e.Port == 0) })
		if !shown {
			return target, "", fault.New(fault.Unhealthy, "DNS does not show %s:%d as %s", i.Address, i.Port, name)
		}
	}
	said, err = probe.Once(ctx, fleet.Check{Type: "http", Target: target, Timeout: s.Smoke.Timeout})
	return target, said, err
}

// isDrained reports whether an instance is out of DNS because its node is emptied.
func isDrained(ctx context.Context, d *here.Deploy, i fleet.Instance) (bool, error) {
	known, err := d.World.Registrar.Registrations(ctx)
	return slices.ContainsFunc(known, func(r fleet.Registration) bool {
		_, drained := rollout.DrainUntil(r)
		return drained && r.Meta[fleet.MetaContainer] == i.ID
	}), err
}

// smokeCommand runs the test in the container.
func smokeCommand(ctx context.Context, d *here.Deploy, s spec.Smoke, i fleet.Instance) (string, error) {
	ran, err := d.Engine.Exec(ctx, i.ID, fleet.Program{Command: s.Command})
	said := strings.Join(ran.Last, " | ")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return said, fault.New(fault.Timeout, "did not end in %s", s.Timeout)
	case err != nil:
		return said, err
	case ran.Code != 0:
		return said, fmt.Errorf("exit code %d", ran.Code)
	}
	return said, nil
}
