package main

import (
	"context"
	"fmt"
	"strings"

	"svckit/lib/apply"
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

// deliver reloads by the plan of `svc-run up` for the release that runs.
func deliver(ctx context.Context, d *here.Deploy) (bool, error) {
	o, err := d.Work(ctx, func(ctx context.Context) (apply.Job, error) { return here.AsItRuns(ctx, d) })
	return o.Changed, err
}

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
	replace replacing
	reload  reloadFunc
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
		var plan rollout.Plan
		if _, plan, err = d.Plan(ctx, d.World, job); err == nil {
			out.keys, err = a.decide(service, plan, rollout.StopFirst(job.Wanted.Service))
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
func (a *actor) decide(service string, p rollout.Plan, stopFirst string) ([]string, error) {
	keys, anew := differing(p)
	if !anew || a.replace == replaceAlways || a.replace == replaceStartFirst && stopFirst == "" {
		return keys, nil
	}
	why := "new containers are not made here (--replace never)"
	if a.replace == replaceStartFirst {
		why = fmt.Sprintf("the old one would be stopped first (%s)", stopFirst)
	}
	err := fault.New(fault.Refused, "bring %s into %s: it needs a new container, and %s", strings.Join(keys, ", "), service, why)
	return keys, fault.WithHint(err, "svc-run up %s does it, node by node", service)
}

// differing names the files and variables because of which a plan changes
// something, and whether it makes a container for them. A plan may have other
// reasons too: those alone are nobody's business here.
func differing(p rollout.Plan) (keys []string, anew bool) {
	seen := map[string]bool{}
	for _, s := range p.Steps {
		for _, field := range s.Fields {
			file := strings.HasPrefix(field, "/")
			variable := strings.HasPrefix(field, "env.") && !strings.HasPrefix(field, "env.SVC_")
			ours := s.Action == rollout.ActDeliver && file || s.Action == rollout.ActCreate && (file || variable)
			if !ours {
				continue
			}
			anew = anew || s.Action == rollout.ActCreate
			if !seen[field] {
				keys, seen[field] = append(keys, field), true
			}
		}
	}
	return keys, anew
}

// replacing says when a container may be replaced for new config.
type replacing string

// The values of --replace.
const (
	replaceStartFirst replacing = "start-first"
	replaceAlways     replacing = "always"
	replaceNever      replacing = "never"
)

func (r replacing) check() error {
	switch r {
	case replaceStartFirst, replaceAlways, replaceNever:
		return nil
	}
	return fault.New(fault.Usage, "--replace %q: expected %s, %s or %s", string(r), replaceStartFirst, replaceAlways, replaceNever)
}
