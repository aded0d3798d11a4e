package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/tool"
)

// samePool reports whether a pool is what it was. Who said something of a node and why do not count, nor does an order of nodes.
func samePool(a, b planner.Membership) bool {
	if a.Pool != b.Pool || len(a.Nodes) != len(b.Nodes) {
		return false
	}
	return !slices.ContainsFunc(a.Nodes, func(m planner.Member) bool {
		return !slices.ContainsFunc(b.Nodes, func(n planner.Member) bool {
			n.Who, n.Why = m.Who, m.Why
			return n == m
		})
	})
}

// emptyPoll is how often a node that is emptied is looked at.
const emptyPoll = time.Second

// awaitEmpty waits until a node has reached a wish that gives it nothing.
func awaitEmpty(ctx context.Context, s *tool.Session, k *consul.Client, node string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := ""
	for {
		left, err := leftOn(ctx, k, node)
		if err == nil && len(left) == 0 {
			return nil
		}
		words := fmt.Sprintf("still on %s: %s", node, strings.Join(left, ", "))
		if err != nil {
			words = err.Error()
		}
		if words != said {
			s.Say("%s", words)
			said = words
		}
		select {
		case <-ctx.Done():
			return fault.WithHint(fault.New(fault.Timeout, "drain %s: not empty in %s: %s", node, limit, words),
				"`scaled status` tells what is in the way; a service that finds no room elsewhere stays")
		case <-time.After(emptyPoll):
		}
	}
}

// leftOn names the services that a node is to run, or still runs, by the planner's wish.
func leftOn(ctx context.Context, k *consul.Client, node string) ([]string, error) {
	want, err := k.Want(ctx, node)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	haves, _, err := k.Haves(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(haves, func(h fleet.Have) bool { return h.Node == node })
	var have fleet.Have
	if i >= 0 {
		have = haves[i]
	}
	return remaining(want, have), nil
}

// remaining names what is left of a wish on its node, sorted: what it is to run, and what it has not ended yet.
func remaining(want fleet.Want, have fleet.Have) []string {
	var left []string
	for _, a := range want.Services {
		if a.Count > 0 {
			left = append(left, fmt.Sprintf("%s (%d)", a.Name, a.Count))
		} else if want.Newer(have.Epoch, have.Gen) {
			left = append(left, a.Name+" (told to go)")
		}
	}
	for _, r := range have.Services {
		if r.Ready > 0 && !slices.ContainsFunc(want.Services, func(a fleet.Allotment) bool { return a.Name == r.Name && a.Count > 0 }) {
			left = append(left, fmt.Sprintf("%s (%d end)", r.Name, r.Ready))
		}
	}
	slices.Sort(left)
	return left
}
