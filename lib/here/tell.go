package here

import (
	"context"
	"slices"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/notify"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// worthTelling picks the failures that somebody should hear of who did not make
// the call: trouble with the service. A wrong call, a lock that is held, or an
// end by hand is for the caller alone, and so is a node without Consul or Docker,
// whose own alarm tells of all its services at once.
func worthTelling(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Failed, fault.Partial, fault.Timeout, fault.Unhealthy, fault.Refused:
		return true
	}
	return false
}

// Failure is the message of a command that failed, without anything secret.
func (d *Deploy) Failure(release string, err error) notify.Message {
	s := d.Session
	m := notify.Message{
		At: time.Now().UTC(), Event: what(s) + " failed", Kind: fault.KindOf(err).String(),
		App: d.App, Service: d.Service, Node: d.Site.Name, Program: s.Program, Release: release,
		Message: s.Veil(err.Error()), Hint: s.Veil(fault.HintOf(err)),
	}
	for _, line := range fault.DetailOf(err) {
		m.Detail = append(m.Detail, s.Veil(line))
	}
	return m
}

// what is the command that failed in one word: up, rollback, restore; for a
// program that works without one, reload for svc-reload.
func what(s *tool.Session) string {
	word, _, _ := strings.Cut(s.Command, " ")
	if word == "" || strings.HasPrefix(word, "-") || slices.Contains(s.Args, word) {
		return strings.TrimPrefix(s.Program, "svc-")
	}
	return word
}

// TellOf gives a message to the app's receivers. That one could not be told
// changes nothing about the work: it is logged.
func (d *Deploy) TellOf(ctx context.Context, receivers []spec.Notify, m notify.Message) {
	to := make([]string, 0, len(receivers))
	for _, r := range receivers {
		to = append(to, r.Webhook)
	}
	if len(to) == 0 {
		return
	}
	if d.Tell != nil {
		d.Tell(ctx, to, m)
		return
	}
	if err := notify.New(d.Session.Program).Send(context.WithoutCancel(ctx), to, m); err != nil {
		d.Session.Log.Warn("receiver not told", "event", m.Event, "error", err)
	}
}
