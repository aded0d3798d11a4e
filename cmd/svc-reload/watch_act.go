package main

import (
	"context"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/notify"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

// reloadFunc brings the config of now into a service that runs, and reports
// whether it changed something. The lock is its own to take; what it would tell
// the app's receivers it leaves to its caller (d.Tell is set).
type reloadFunc func(ctx context.Context, d *here.Deploy) (changed bool, err error)

// acted is what came of looking at one service.
type acted struct {
	service string
	changed bool
	keys    []string       // what differed: files, variables
	err     error          //
	problem string         // err in words, whole
	to      []string       // whom the app wants to be told
	message notify.Message // what to tell them
}

// actor brings new config into services. It may be used for many at a time.
type actor struct {
	node    *here.Node
	session *tool.Session
	floor   int  // of the fleet, as for here.Reload
	replace bool // new containers may be made where a reload is not enough
	reload  reloadFunc
}

// reloaded is the reload that the program itself does when it is called by hand.
func (a *actor) reloaded(ctx context.Context, d *here.Deploy) (bool, error) {
	o, err := d.Reload(ctx, here.Reload{Floor: a.floor, Patience: here.FleetPatience})
	return o.Changed, err
}

// act compares what a service has with what it should have, and reloads it where
// that differs.
func (a *actor) act(ctx context.Context, service string) acted {
	out := acted{service: service}
	app, key, _ := strings.Cut(service, "/")
	d, err := here.OpenService(ctx, a.node, a.session, here.Target{App: app, Service: key})
	if err != nil {
		out.err = err
		return out
	}
	d.Tell = func(context.Context, []string, notify.Message) {}
	job, err := here.AsItRuns(ctx, d)
	if err == nil {
		d.Hide(job.Values)
		job.Wanted.Reload = &rollout.Reload{Floor: a.floor, Patience: here.FleetPatience}
		var plan rollout.Plan
		if _, plan, err = d.Plan(ctx, d.World, job); err == nil {
			out.keys, err = a.decide(service, plan)
		}
	}
	switch {
	case fault.KindOf(err) == fault.Usage: // a cron job: it takes its config when it starts
		return out
	case err != nil || len(out.keys) == 0:
	case a.session.DryRun:
		a.session.Say("%s: new content of %s", service, strings.Join(out.keys, ", "))
	default:
		out.changed, err = a.reload(ctx, d)
	}
	if err == nil {
		return out
	}
	out.err = err
	out.problem = err.Error() + "\n" + strings.Join(fault.DetailOf(err), "\n")
	out.message = d.Failure(job.Wanted.Release, err)
	out.message.Event = event(err)
	for _, r := range job.Notify {
		out.to = append(out.to, r.Webhook)
	}
	return out
}

// event is what went wrong, for receivers.
func event(err error) string {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return "config not usable"
	case fault.Refused:
		return "config not applied"
	}
	return "reload failed"
}

// decide names what differs because of config, and refuses what may not be done for it.
func (a *actor) decide(service string, p rollout.Plan) ([]string, error) {
	keys, anew := differing(p)
	if !anew || a.replace {
		return keys, nil
	}
	err := fault.New(fault.Refused, "bring %s into %s: it needs a new container, and none may be made here (--replace=false)", strings.Join(keys, ", "), service)
	return keys, fault.WithHint(err, "svc-run up %s makes it", service)
}

// differing names the files and variables because of which a plan changes
// something, and whether it makes a container for them. A plan may have other
// reasons too: those alone are nobody's business here.
func differing(p rollout.Plan) (keys []string, anew bool) {
	for _, s := range p.Steps {
		for _, field := range s.Fields {
			ours := false
			switch s.Action {
			case rollout.ActDeliver, rollout.ActReload:
				ours = isFile(field)
			case rollout.ActCreate:
				ours = isFile(field) || strings.HasPrefix(field, "env.") && !strings.HasPrefix(field, "env.SVC_")
			}
			if !ours {
				continue
			}
			anew = anew || s.Action == rollout.ActCreate
			if !slices.Contains(keys, field) {
				keys = append(keys, field)
			}
		}
	}
	return keys, anew
}

// isFile tells what is delivered into a container, or was and is not loaded yet, from other things that differ.
func isFile(field string) bool {
	return strings.HasPrefix(field, "secret ") || strings.HasPrefix(field, "file ") || field == "delivered files"
}
