//go:build real

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
)

// kindSpec is one service without the keys that a test adds.
const kindSpec = `
app: %s
build: {image: %s}
services:
  web:
`

func TestADaemonWithoutAPortIsRegisteredWhenItRan(t *testing.T) {
	r := newRig(t)
	text := kindSpec + "    kind: daemon\n    check: {min_healthy: 2s, deadline: 20s}\n    stop: {timeout: 5s, drain: 0s}\n"
	r.release("r1", "idle", text)
	began := time.Now()
	first := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("let in after %s, before min_healthy", took)
	}
	if first.FoundBy != "" || first.Instances[0].Port != 0 {
		t.Errorf("found by %q, port %d", first.FoundBy, first.Instances[0].Port)
	}
	all, err := r.consul.Registrations(t.Context())
	if err != nil || len(all) != 1 || all[0].Port != 0 || all[0].Health != fleet.Passing || all[0].Meta[fleet.MetaRelease] != "r1" {
		t.Errorf("registrations %+v, %v", all, err)
	}
	if again := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout); again.Changed {
		t.Errorf("a second up: %q", actions(again.Steps))
	}
	r.release("r2", "crash", text)
	got := r.run("up", r.service(), "--release", "r2")
	if got.code != int(fault.Unhealthy) || !strings.Contains(got.stderr, "cannot find my configuration, giving up") {
		t.Errorf("a daemon that ends at once: exit %d\n%s", got.code, got.stderr)
	}
	r.release("r3", "idle", text)
	r.must("up", r.service(), "--release", "r3", "--instances", "2")
	if containers, entries := r.state(); !slices.Equal(containers, []string{"r3 running", "r3 running"}) || entries != 2 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
}

func TestAServiceIsLetInByItsOwnKindOfCheck(t *testing.T) {
	for _, row := range []struct{ name, manners, check, bad, badCheck, reason string }{
		{"tcp", "good", "tcp: true", "idle", "tcp: true", "nothing listens behind the port"},
		{"grpc", "grpc", "grpc: true", "good", "grpc: true", "its check did not pass once"},
		{"grpc with a service's name", "grpc", "grpc: shop.Orders", "grpc", "grpc: shop.Other", `the server knows no service "shop.Other"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			text := kindSpec + "    kind: service\n    port: 9000\n    check: {CHECK, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 20s}\n    stop: {timeout: 5s, drain: 0s}\n"
			r.release("r1", row.manners, strings.Replace(text, "CHECK", row.check, 1))
			r.must("up", r.service())
			if e := r.endpoints(); len(e) != 1 {
				t.Errorf("endpoints %+v", e)
			}
			text = strings.Replace(text, "min_healthy: 1s, deadline: 20s", "min_healthy: 4s, deadline: 10s", 1)
			r.release("r2", row.bad, strings.Replace(text, "CHECK", row.badCheck, 1))
			got := r.run("up", r.service(), "--release", "r2")
			if got.code != int(fault.Unhealthy) || !strings.Contains(got.stderr, row.reason) {
				t.Errorf("exit %d, want 16 and %q\n%s", got.code, row.reason, got.stderr)
			}
			// The agent's own checks agree: it has run them for some seconds now.
			if e := r.endpoints(); len(e) != 1 {
				t.Errorf("after the bad release: endpoints %+v", e)
			}
		})
	}
}

func TestATTLCheckIsTheServicesOwnWord(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", kindSpec+"    kind: service\n    port: 8000\n    check: {ttl: 15s, min_healthy: 1s, deadline: 20s}\n    stop: {timeout: 5s, drain: 0s}\n")
	r.must("up", r.service())
	id := r.only().ID
	if again := decode[here.Outcome](t, r.must("up", r.service(), "--json").stdout); again.Changed {
		t.Errorf("a second up: %q", actions(again.Steps))
	}
	r.eventually("a service that says nothing is out after its ttl", func() bool { return len(r.endpoints()) == 0 })
	r.eventually("it is back when it says that it is well", func() bool {
		r.agentCall(http.MethodPut, "/v1/agent/check/pass/service:"+id, "")
		return len(r.endpoints()) == 1
	})
}

func TestCronIsNotStartedByUp(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", kindSpec+"    kind: cron\n    schedule: \"*/5 * * * *\"\n")
	got := r.run("up", r.service())
	if want := fmt.Sprintf("run %s: kind cron is started by its schedule, not by up", r.service()); got.code != int(fault.Usage) || !strings.Contains(got.stderr, want) {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if containers, entries := r.state(); len(containers) != 0 || entries != 0 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
}

// only is the one registration that there is.
func (r *rig) only() fleet.Registration {
	r.t.Helper()
	all, err := r.consul.Registrations(r.t.Context())
	if err != nil || len(all) != 1 {
		r.t.Fatalf("registrations %+v, %v; want one", all, err)
	}
	return all[0]
}

// eventually polls until something is so.
func (r *rig) eventually(what string, so func() bool) {
	r.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not so in 2 minutes: %s", what)
		}
	}
}
