package timetable

import (
	"context"
	"fmt"
	"time"

	"svckit/lib/cron"
	"svckit/lib/fault"
)

// ByHand runs a service once, now, for somebody: with the same lock and the same
// record as a run by its schedule, and to its end. began hears the id of the container
// when its program was started. A run that goes on is a fault.Conflict; its end is
// waited for until wait is over.
func (s Site) ByHand(ctx context.Context, of Service, who string, wait time.Duration, began func(id string)) (cron.Run, error) {
	until := time.Now().Add(wait)
	for {
		r, err := s.byHand(ctx, of, who, began)
		if fault.KindOf(err) != fault.Conflict || !time.Now().Before(until) || !pause(ctx, again) {
			return r, err
		}
	}
}

func (s Site) byHand(ctx context.Context, of Service, who string, began func(id string)) (cron.Run, error) {
	state, held, err := s.States.CronState(ctx, of.Name)
	if err != nil {
		return cron.Run{}, err
	}
	if err := Occupied(of.Name, state, held); err != nil {
		return cron.Run{}, err
	}
	now := s.Now().UTC()
	r := cron.Run{ID: NewID(now), By: who, Node: s.Node, Claimed: now, Tries: 1}
	lock, state, err := s.Locks.ClaimCron(ctx, state.Claim(r))
	if err != nil {
		return cron.Run{}, err
	}
	w := &work{Site: s, service: of, state: state, run: r, lock: lock, byHand: true}
	w.Containers = starting{s.Containers, began}
	var last cron.Run
	w.Tell = func(_ Service, r cron.Run) { last = r; s.Tell(of, r) }
	w.all(ctx)
	if last.ID == "" {
		if err := context.Cause(ctx); err != nil {
			return w.run, err
		}
		return w.run, fault.New(fault.Failed, "run %s: it was taken over, or could not be recorded: see `svc-run runs %s`", of.Name, of.Name)
	}
	return last, context.Cause(ctx)
}

// Occupied says why no run can begin now: a fault.Conflict that names the one that goes
// on; nil: one can.
func Occupied(name string, s cron.State, held bool) error {
	if s.Run == nil && !held {
		return nil
	}
	what := "somebody holds its lock"
	if s.Run != nil {
		what = fmt.Sprintf("run %s is %s at %s since %s", s.Run.ID, s.Run.Stage, s.Run.Node, s.Run.Claimed.UTC().Format(time.RFC3339))
	}
	return fault.WithHint(fault.New(fault.Conflict, "run %s: %s", name, what), "wait for its end with --wait 10m")
}

// starting tells when a container was started.
type starting struct {
	Containers
	began func(id string)
}

func (s starting) Start(ctx context.Context, id string) error {
	err := s.Containers.Start(ctx, id)
	if err == nil && s.began != nil {
		s.began(id)
	}
	return err
}
