package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

// lost names the services that have something to restore, sorted: a container
// that ended, or one that runs and Consul does not know (asked only where Consul answers).
func lost(list []fleet.Instance, known []fleet.Registration, prefix string, asked bool) []here.Target {
	var out []here.Target
	for _, i := range list {
		if i.Prefix != "" && i.Prefix != prefix || i.App == "" || i.Service == "" {
			continue
		}
		if i.Run != "" || i.Restart == "no" {
			continue // a run of cron, or of a service that runs exactly so often: scaled node knows whether it may
		}
		registered := slices.ContainsFunc(known, func(r fleet.Registration) bool { return r.Meta[fleet.MetaContainer] == i.ID })
		if i.State == fleet.Exited || asked && i.State == fleet.Running && !registered {
			out = append(out, here.Target{App: i.App, Service: i.Service})
		}
	}
	slices.SortFunc(out, func(a, b here.Target) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// restoreOne brings one service back.
func restoreOne(ctx context.Context, w *here.Node, s *tool.Session, t here.Target, online bool, wait time.Duration) (here.Outcome, error) {
	if !online {
		return here.Wake(ctx, w, s, t, wait)
	}
	d, err := here.OpenService(ctx, w, s, t)
	if err != nil {
		return here.Outcome{}, err
	}
	d.Wait = wait
	return d.Work(ctx, func(ctx context.Context) (apply.Job, error) { return here.AsItWas(ctx, d) })
}
