//go:build real

package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// TestWatch plays on stations side by side; each has an agent of its own, which some kill.
func TestWatch(t *testing.T) {
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	appImage(t)
	sideBySide(t, 6, []row{
		{"a changed key is delivered and reloaded once", aChangedKeyIsDeliveredAndReloadedOnce},
		{"what cannot be rendered changes nothing and is told once", whatCannotBeRenderedChangesNothingAndIsToldOnce},
		{"with consul gone nothing changes and following goes on afterwards", withConsulGoneNothingChangesAndFollowingGoesOnAfterwards},
		{"a variable needs a new container and one may forbid it", aVariableNeedsANewContainerAndOneMayForbidIt},
		{"a service that is held is reloaded later", aServiceThatIsHeldIsReloadedLater},
		{"one pass for cron", onePassForCron},
	})
}

func aChangedKeyIsDeliveredAndReloadedOnce(t *testing.T) {
	r := newStation(t)
	d := r.watch("--quiet-period", "5s") // no two writes of the burst are so far apart
	before := r.one("web")
	has := func(service, value string) func() bool {
		return func() bool { return strings.Contains(r.loaded(service), value) }
	}
	r.set("KEY", "second")
	r.eventually("the new key is loaded", d, has("web", "second"))
	r.eventually("the reload is done", d, func() bool { return strings.Contains(d.said.String(), "new config is in") })
	if n := r.signals("web"); n != 1 {
		t.Errorf("%d reloads for one change", n)
	}

	for n := range 20 {
		r.set("KEY", fmt.Sprintf("burst-%02d", n))
		time.Sleep(20 * time.Millisecond) // a hand or a script that writes one key after the other
	}
	r.eventually("the last key of the burst is loaded", d, has("web", "burst-19"))

	r.key(http.MethodPut, "secrets/UNNAMED", "of no service") // and what changes nothing
	r.set("KEY", "burst-19")
	r.set("SIDE", "second")
	r.eventually("the other service is reloaded", d, has("side", "second"))
	if n := r.signals("web"); n != 2 {
		t.Errorf("%d reloads for one change and one burst, want 2", n)
	}
	if now := r.one("web"); now.ID != before.ID || !now.StartedAt.Equal(before.StartedAt) {
		t.Errorf("the container was replaced or started again: %+v", now)
	}
	d.expect("WATCHDOG=1")
	if code := d.end(); code != 0 {
		t.Errorf("terminated: exit %d, want 0", code)
	}
	d.expect("STOPPING=1")
	if len(r.told) != 0 {
		t.Errorf("somebody was told: %+v", <-r.told)
	}
	if strings.Contains(d.said.String(), "burst-19") {
		t.Errorf("the log shows a secret:\n%s", d.said)
	}
}

func whatCannotBeRenderedChangesNothingAndIsToldOnce(t *testing.T) {
	r := newStation(t)
	d := r.watch()
	before := r.one("web")
	r.key(http.MethodDelete, "secrets/KEY", "")
	m := r.message(d)
	if m.Event != "config not usable" || m.Kind != "invalid" || m.App != r.app || m.Service != "web" || m.Node != "node1" || m.Program != "svc-reload" ||
		m.Release != "r1" || !strings.Contains(strings.Join(m.Detail, "\n"), "KEY") {
		t.Errorf("told %+v", m)
	}
	// Another key changes, for the other service: that one is reloaded, the problem is not told again.
	r.set("SIDE", "second")
	r.eventually("the other service is reloaded", d, func() bool { return strings.Contains(r.loaded("side"), "second") })
	r.eventually("the problem is met again", d, func() bool { return strings.Count(d.said.String(), "new config is not in") >= 2 })

	r.set("KEY", "break the template")
	m = r.message(d)
	if m.Event != "config not usable" || !strings.Contains(strings.Join(m.Detail, "\n"), "settings.tmpl") || strings.Contains(fmt.Sprint(m), "break the template") {
		t.Errorf("told %+v", m)
	}
	if n := r.signals("web"); n != 0 || !strings.Contains(r.loaded("web"), "first") {
		t.Errorf("%d reloads, loaded %s", n, r.loaded("web"))
	}
	if now := r.one("web"); now.ID != before.ID {
		t.Error("the container was replaced")
	}
	r.set("KEY", "third")
	r.eventually("the repaired key is loaded", d, func() bool { return strings.Contains(r.loaded("web"), "third") })
	if len(r.told) != 0 {
		t.Errorf("told again: %+v", <-r.told)
	}
	if code := d.end(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func withConsulGoneNothingChangesAndFollowingGoesOnAfterwards(t *testing.T) {
	r := newStation(t)
	d := r.watch()
	web, side := r.one("web"), r.one("side")
	r.agent.Kill()
	d.expect("STATUS=cannot look, nothing is changed")
	d.expect("WATCHDOG=1") // it is well, Consul is not
	r.eventually("asked several times", d, func() bool { return len(d.heard) > 10 })
	r.agent.Start(t)
	d.expect("STATUS=2 services of this node are followed")
	if n := strings.Count(d.said.String(), "cannot look: nothing is changed until it answers"); n != 1 {
		t.Errorf("said %d times that Consul is away", n)
	}
	if r.one("web").ID != web.ID || r.one("side").ID != side.ID || r.signals("web")+r.signals("side") != 0 || len(r.told) != 0 {
		t.Errorf("something changed while Consul was away\n%s", d.said)
	}
	r.set("KEY", "after")
	r.eventually("following goes on", d, func() bool { return strings.Contains(r.loaded("web"), "after") })
	if code := d.end(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func aVariableNeedsANewContainerAndOneMayForbidIt(t *testing.T) {
	r := newStation(t)
	before := r.one("web")
	d := r.watch("--replace=false")
	r.key(http.MethodPut, "web/config/GREETING", "hello there")
	m := r.message(d)
	if m.Event != "config not applied" || m.Kind != "refused" || !strings.Contains(m.Message, "env.GREETING") || m.Service != "web" {
		t.Errorf("told %+v", m)
	}
	if r.one("web").ID != before.ID {
		t.Error("it was replaced")
	}
	if code := d.end(); code != 0 {
		t.Errorf("exit %d", code)
	}
	d = r.watch()
	r.eventually("a new container has the variable", d, func() bool {
		list, err := r.engine.Instances(t.Context(), r.app, "web")
		return err == nil && len(list) == 1 && list[0].ID != before.ID && strings.Contains(r.loaded("web"), "hello there")
	})
	if code := d.end(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func aServiceThatIsHeldIsReloadedLater(t *testing.T) {
	r := newStation(t)
	d := r.watch()
	lock, err := r.consul.Lock(t.Context(), "locks/"+r.app+"/web/node1", fleet.Holder{Schema: 1, Who: "ana", Node: "elsewhere", Command: "svc-run up"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.set("KEY", "second")
	r.eventually("it is seen to be held", d, func() bool { return strings.Contains(d.said.String(), "held by somebody else") })
	if n := r.signals("web"); n != 0 {
		t.Errorf("%d reloads while somebody else holds the lock", n)
	}
	if err := lock.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is reloaded", d, func() bool { return strings.Contains(r.loaded("web"), "second") })
	if code := d.end(); code != 0 || len(r.told) != 0 {
		t.Errorf("exit %d, %d messages", code, len(r.told))
	}
}

// What --once prints is sorted by name: side before web.
func onePassForCron(t *testing.T) {
	r := newStation(t)
	code, out, errs := r.once()
	if p := decode[pass](t, out); code != 0 || p.Changed || len(p.Services) != 2 {
		t.Errorf("exit %d, %+v\n%s", code, p, errs)
	}
	r.set("KEY", "second")
	code, out, _ = r.once("--dry-run")
	if p := decode[pass](t, out); code != 0 || !p.Changed || !p.DryRun || p.Services[1].Changed != true || r.signals("web") != 0 {
		t.Errorf("dry run: exit %d, %+v", code, p)
	}
	code, out, errs = r.once()
	if p := decode[pass](t, out); code != 0 || !p.Changed || len(p.Services[1].Differs) == 0 || p.Services[0].Changed || !strings.Contains(r.loaded("web"), "second") {
		t.Errorf("exit %d, %+v\n%s", code, p, errs)
	}
	r.key(http.MethodDelete, "secrets/KEY", "")
	for n := range 2 {
		code, out, errs = r.once()
		p := decode[pass](t, out)
		if code != int(fault.Partial) || p.Changed || p.Services[1].Kind != "invalid" || p.Services[0].Kind != "ok" || !strings.Contains(errs, "KEY") {
			t.Errorf("pass %d: exit %d, %+v\n%s", n+1, code, p, errs)
		}
	}
	if len(r.told) != 1 {
		t.Errorf("two passes told of one problem %d times", len(r.told))
	}
	r.agent.Kill()
	if code, _, errs := r.once(); code != int(fault.Unreachable) {
		t.Errorf("without Consul: exit %d\n%s", code, errs)
	}
	r.agent.Start(t)
}
