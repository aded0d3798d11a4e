package hand

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/wish"
)

// lane is a queue of its own: what waits in one never waits for another.
type lane int

const (
	vip    lane = iota // what raises a service of priority vip
	raise              // what raises any other
	lower              // what takes something away
	lanes  = 3
	failed = time.Second      // until a step that failed is tried again; doubled each time
	longer = time.Minute      // at most
	locked = 2 * time.Second  // until a lock that somebody else holds is tried again
	limit  = 30 * time.Minute // of one step
)

// slots is how many steps of a lane are done at a time.
func (l lane) slots() int { return [lanes]int{8, 4, 2}[l] }

// loop goes round until ctx ends and nothing is being done any more. Nothing in
// it blocks.
func (b *book) loop(ctx context.Context) {
	ticks := time.NewTicker(turn)
	defer ticks.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		b.mu.Lock()
		b.beat = now
		b.mu.Unlock()
		b.watchLease(now)
		b.schedule(ctx, now)
		b.look(now)
		b.tell(now)
		select {
		case <-ctx.Done():
		case got := <-b.wants:
			b.wished(got)
		case got := <-b.holds:
			b.froze(got)
		case got := <-b.looks:
			b.saw(got, time.Now())
		case got := <-b.done:
			b.ended(got, time.Now())
		case got := <-b.Hand.lease:
			b.leased(got, time.Now())
		case at := <-ticks.C:
			b.quicken(at)
		}
	}
	for n := b.busy(); n > 0; n-- {
		<-b.done
	}
}

func (b *book) busy() int { return b.inLane(vip) + b.inLane(raise) + b.inLane(lower) + b.orphans }

func (b *book) inLane(l lane) int {
	n := 0
	for _, s := range b.services {
		if s.working != nil && s.working.lane == l {
			n++
		}
	}
	return n
}

// schedule begins what is to be done now: vip services first, then by name.
func (b *book) schedule(ctx context.Context, now time.Time) {
	names := slices.Collect(maps.Keys(b.services))
	slices.SortFunc(names, func(x, y string) int {
		if p, q := b.sight.Services[x].VIP, b.sight.Services[y].VIP; p != q {
			return map[bool]int{true: -1, false: 1}[p]
		}
		return strings.Compare(x, y)
	})
	for _, name := range names {
		s := b.services[name]
		if s.working != nil {
			b.reconsider(s, now)
			continue
		}
		if b.blind != "" || !b.sight.At.After(s.fresh) {
			continue
		}
		plan := wish.Next(b.ask(s, now), b.sight.Services[name])
		s.held = plan.Held
		if len(plan.Steps) == 0 {
			clear(s.trouble)
			b.settle(name, s, "")
		}
		for _, step := range plan.Steps {
			if t := s.trouble[step.Action]; now.Before(t.until) {
				continue
			}
			b.begin(ctx, name, s, step)
			break
		}
	}
}

// begin has one step done, if its lane has a place.
func (b *book) begin(ctx context.Context, name string, s *service, step wish.Step) {
	l := raise
	switch {
	case step.Lowers():
		l = lower
	case b.sight.Services[name].VIP:
		l = vip
	}
	if b.inLane(l) >= l.slots() {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	j := &job{step: step, lane: l, cancel: cancel}
	s.working, s.may = j, max(s.may, step.To, step.From)
	away := b.away != ""
	b.cfg.Log.Debug("step begun", "service", name, "step", step)
	go func() {
		limited, end := context.WithTimeout(ctx, limit)
		err := b.cfg.Node.Do(limited, name, step, away)
		changed := errors.Is(context.Cause(ctx), errChanged)
		end()
		cancel(nil)
		b.done <- worked{name, j, err, changed}
	}()
}

// reconsider ends a change of workers that is under way when another number is wanted.
func (b *book) reconsider(s *service, now time.Time) {
	j := s.working
	if b.unleased(s) != "" {
		j.cancel(errChanged)
		return
	}
	if j.step.Action != wish.Raise && j.step.Action != wish.Lower {
		return
	}
	a := b.ask(s, now)
	stays := j.step.Action == wish.Raise && s.ask.Count+s.lane.Extra >= j.step.To || j.step.Action == wish.Lower && s.ask.Count+s.lane.Extra <= j.step.To
	if j.step.Action == wish.Lower && (a.Mode != "" || a.Away != "") {
		stays = false
	}
	if !stays || s.ask.Unit != wish.Workers {
		j.cancel(errChanged)
	}
}

// ended takes in how a step ended.
func (b *book) ended(got worked, now time.Time) {
	s := b.services[got.service]
	if s == nil || s.working != got.job {
		b.orphans--
		return
	}
	step := got.job.step
	s.working, s.fresh = nil, now
	t := s.trouble[step.Action]
	switch {
	case got.err == nil || got.changed:
		delete(s.trouble, step.Action)
		b.settle(got.service, s, "")
		if got.err == nil {
			b.cfg.Log.Info("step done", "service", got.service, "step", step)
		}
	case fault.KindOf(got.err) == fault.Conflict:
		t.until = now.Add(locked)
		s.trouble[step.Action] = t
		b.settle(got.service, s, got.err.Error())
	default:
		t.times++
		t.words = string(step.Action) + ": " + got.err.Error()
		t.until = now.Add(min(failed<<min(t.times-1, 6), longer))
		s.trouble[step.Action] = t
		b.settle(got.service, s, "")
		b.cfg.Log.Warn("step failed", "service", got.service, "step", step, "error", got.err, "detail", fault.DetailOf(got.err), "times", t.times, "again_in", t.until.Sub(now))
	}
}

// settle notes why a service waits for somebody else.
func (b *book) settle(name string, s *service, why string) {
	if s.settling == why {
		return
	}
	if why != "" && s.settling == "" {
		b.cfg.Log.Info("held by somebody else: trying later", "service", name, "reason", why)
	}
	s.settling = why
	b.mu.Lock()
	defer b.mu.Unlock()
	if why == "" {
		delete(b.settling, name)
	} else {
		b.settling[name] = why
	}
}

// look has the node looked at when that is due.
func (b *book) look(now time.Time) {
	if b.asked {
		return
	}
	every, stale := lookEvery, false
	for name, s := range b.services {
		here := b.sight.Services[name]
		if s.working == nil && !b.sight.At.After(s.fresh) {
			stale = true
		}
		if s.working != nil || len(s.trouble) > 0 || slices.ContainsFunc(here.Containers, func(c wish.Container) bool { return c.Young > 0 }) {
			every = lookSoon
		}
	}
	for _, r := range b.sight.Books.Registrations {
		if r.Check.Type == "ttl" {
			every = max(min(every, r.Check.Interval/6), lookSoon)
		}
	}
	if b.seen.IsZero() || stale || now.Sub(b.seen) >= every {
		select {
		case b.wake <- b.away != "":
			b.asked = true
		default:
		}
	}
}

// tell hands a report over when something changed, and each minute. Before the
// node was looked at there is nothing to tell.
func (b *book) tell(now time.Time) {
	if b.want.Epoch == 0 || b.sight.At.IsZero() {
		return
	}
	h := b.reached(now)
	same := b.told
	same.At = h.At
	if reflect.DeepEqual(same, h) && now.Sub(b.toldAt) < haveEvery {
		return
	}
	b.told, b.toldAt = h, now
	select {
	case <-b.have: // one that nobody took yet is out of date
	default:
	}
	b.have <- h
}
