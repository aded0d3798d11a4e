package here

import (
	"context"
	"errors"
	"testing"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/notify"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func TestOnlyTroubleWithTheServiceIsTold(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"nothing", t.Context(), nil, false},
		{"an error of no kind", t.Context(), errors.New("x"), true},
		{"the lock was lost", t.Context(), apply.ErrLockLost, true},
		{"partly applied", t.Context(), fault.New(fault.Partial, "x"), true},
		{"timed out", t.Context(), fault.New(fault.Timeout, "x"), true},
		{"unhealthy", t.Context(), fault.New(fault.Unhealthy, "x"), true},
		{"refused", t.Context(), fault.New(fault.Refused, "x"), true},
		{"usage", t.Context(), fault.New(fault.Usage, "x"), false},
		{"config invalid, said to the caller", t.Context(), fault.New(fault.Invalid, "x"), false},
		{"not found", t.Context(), fault.New(fault.NotFound, "x"), false},
		{"unreachable", t.Context(), fault.New(fault.Unreachable, "x"), false},
		{"conflict", t.Context(), fault.New(fault.Conflict, "x"), false},
		{"Ctrl-C", ended, errors.New("x"), false},
		{"Ctrl-C, taken back", t.Context(), fault.New(fault.Interrupted, "x"), false},
	} {
		if got := worthTelling(row.ctx, row.err); got != row.want {
			t.Errorf("%s: told %v, want %v", row.name, got, row.want)
		}
	}
}

func TestAFailureIsToldWithWhatAPersonNeeds(t *testing.T) {
	d := &Deploy{App: "shop", Service: "web", Session: &tool.Session{Program: "svc-run", Command: "up shop/web --release r1"}}
	d.Site.Name = "node1"
	e := fault.New(fault.Unhealthy, "gate shop-web-1: not well")
	e.Hint, e.Detail = "look at it", []string{"last probe: 500"}
	var got notify.Message
	var receivers []string
	d.Tell = func(_ context.Context, to []string, m notify.Message) { receivers, got = to, m }
	d.TellOf(t.Context(), []spec.Notify{{Webhook: "http://a/"}, {Webhook: "http://b/"}}, d.Failure("r1", e))
	if len(receivers) != 2 || got.Event != "up failed" || got.Kind != "unhealthy" || got.Node != "node1" || got.Release != "r1" ||
		got.Message != "gate shop-web-1: not well" || got.Hint != "look at it" || len(got.Detail) != 1 || got.At.IsZero() {
		t.Errorf("told %q: %+v", receivers, got)
	}
	d.Tell = func(context.Context, []string, notify.Message) { t.Error("told nobody") }
	d.TellOf(t.Context(), nil, notify.Message{})
}

func TestTheEventIsNamedAfterWhatWasCalled(t *testing.T) {
	for _, row := range []struct {
		program, command string
		args             []string
		want             string
	}{
		{"svc-run", "up shop/web --release r1", []string{"shop/web"}, "up"},
		{"svc-run", "restore", nil, "restore"},
		{"svc-reload", "shop/web --source .", []string{"shop/web"}, "reload"},
		{"svc-reload", "--force shop/web", []string{"shop/web"}, "reload"},
		{"svc-reload", "", nil, "reload"},
		{"svc-reload", "rollback shop/web", []string{"shop/web"}, "rollback"},
	} {
		if got := what(&tool.Session{Program: row.program, Command: row.command, Args: row.args}); got != row.want {
			t.Errorf("%s %s: %q, want %q", row.program, row.command, got, row.want)
		}
	}
}
