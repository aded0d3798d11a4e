package planner

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"svckit/lib/place"
	"svckit/lib/scale"
)

// Bounds of single values.
const (
	maxText    = 253
	maxCPU     = 100_000_000 // thousandths of a core
	maxMemory  = 1 << 50     // bytes
	maxSignals = 64
	maxSpan    = 400 * 24 * time.Hour
)

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkText(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s is missing", what)
	case len(s) > maxText:
		return fmt.Errorf("%s has %d bytes, expected at most %d", what, len(s), maxText)
	case strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar }) >= 0:
		return fmt.Errorf("%s %q has characters that a name may not have", what, s)
	}
	return nil
}

func checkServiceName(s string) error {
	if err := checkText("name", s); err != nil {
		return err
	}
	if app, service, ok := strings.Cut(s, "/"); !ok || app == "" || service == "" || strings.Contains(service, "/") {
		return fmt.Errorf("name: expected APP/SERVICE, got %q", s)
	}
	return nil
}

func within[T int | int64 | float64 | time.Duration](what string, n, least, most T) error {
	if n < least || n > most || n != n { // NaN differs from itself
		return fmt.Errorf("%s: expected %v to %v, got %v", what, least, most, n)
	}
	return nil
}

func oneOf[T ~string](what string, s T, words ...T) error {
	if slices.Contains(words, s) {
		return nil
	}
	return fmt.Errorf("%s: expected one of %v, got %q", what, words, s)
}

func checkService(s Service) error {
	p := s.Policy
	err := first(
		checkServiceName(s.Name),
		oneOf("policy.strategy", p.Strategy, scale.Noop, scale.BusyRatio, scale.RPSRatio, scale.Queue),
		within("policy.target", p.Target, 0, 1), within("policy.wait", p.Wait, 0, 1),
		within("policy.min", p.Min, 0, scale.MaxSize), within("policy.max", p.Max, 0, scale.MaxSize),
		within("policy.min_nodes", p.MinNodes, 0, maxNodes), checkText("policy.pool", p.Pool),
		oneOf("policy.survive", place.Survive(p.Survive), "", place.None, place.Node, place.Zone),
		oneOf("policy.on_blind", p.OnBlind, "", scale.BlindHold, scale.BlindForecast, scale.BlindMax),
		within("policy.start_up", p.StartUp, 0, maxSpan), within("policy.wait_over", p.WaitOver, 0, maxSpan),
		within("policy.zero_after", p.ZeroAfter, 0, maxSpan), within("policy.drain", p.Drain, 0, maxSpan),
		within("policy.tick", p.Tick, 0, maxSpan), within("policy.down.after", p.Down.After, 0, maxSpan),
		within("policy.down.step", p.Down.Step, 0, 1),
		checkShape(s.Shape),
		within("seen.ready", s.Seen.Ready, 0, 10*scale.MaxSize), within("seen.starting", s.Seen.Starting, 0, 10*scale.MaxSize),
		within("seen.signals", len(s.Seen.Signals), 0, maxSignals), within("remain", s.Remain, 0, scale.MaxSize),
		within("state.size", s.State.Size, 0, scale.MaxSize),
	)
	if err == nil && p.Max > 0 && p.Max < p.Min {
		err = fmt.Errorf("policy.max: expected at least min, %d, got %d", p.Min, p.Max)
	}
	for _, z := range p.Schedules {
		err = first(err, within("policy.schedules.from", z.From, 0, 1439), within("policy.schedules.to", z.To, 0, 1440),
			within("policy.schedules.min", z.Min, 0, scale.MaxSize), within("policy.schedules.max", z.Max, 0, scale.MaxSize))
	}
	return err
}

func checkShape(s Shape) error {
	return first(
		oneOf("shape.unit", s.Unit, "workers", "instances"), oneOf("shape.spread", s.Spread, place.Equal, place.Balanced),
		within("shape.cpu", s.CPU, 0, maxCPU), within("shape.memory", s.Memory, 0, maxMemory), within("shape.per_node", s.PerNode, 0, scale.MaxSize),
	)
}

func checkNode(n Node) error {
	err := first(checkText("name", n.Name), checkText("pool", n.Pool), within("cpu", n.CPU, 0, maxCPU), within("memory", n.Memory, 0, maxMemory), within("load", n.Load, 0, 1e6), within("due", n.Due, 0, 1<<40))
	if n.Home != "" {
		err = first(err, checkText("home", n.Home))
	}
	if n.Zone != "" {
		err = first(err, checkText("zone", n.Zone))
	}
	return err
}

func checkPool(p place.Pool) error {
	return first(checkText("name", p.Name), oneOf("class", p.Class, "", place.VIP, place.Production, place.Stable, place.Internal, place.Free),
		within("loans", p.Loans, 0, maxNodes), within("reserve", p.Reserve, 0, maxNodes))
}

func checkShare(s place.Share) error {
	return first(checkServiceName(s.Name), checkText("node", s.Node), within("count", s.Count, 0, scale.MaxSize))
}

func checkFreeze(z Freeze) error {
	err := first(oneOf("scope", z.Scope, "all", "pool", "service"), oneOf("mode", z.Mode, scale.NotFrozen, scale.NoDown, scale.NoChange, scale.Observe))
	if z.Scope != "all" {
		err = first(err, checkText("name", z.Name))
	}
	return err
}

func checkAnnouncement(a Announcement) error {
	return first(checkServiceName(a.Service), within("rps", a.RPS, 0, 1e9), within("factor", a.Factor, 0, 1e6), within("base", a.Base, 0, 1e9))
}

func checkRules(r place.Rules) error {
	return first(
		within("skew", r.Skew, 1, 100), within("borrow_at", r.BorrowAt, 0.1, 1), within("return_at", r.ReturnAt, 0, r.BorrowAt),
		within("return_after", r.ReturnAfter, 0, maxSpan), within("due_ahead", r.DueAhead, 0, maxSpan), within("hot_for", r.HotFor, 0, maxSpan),
		within("hot_load", r.HotLoad, 0, 100), within("moves_an_hour", r.MovesAnHour, 0, math.MaxFloat32),
	)
}
