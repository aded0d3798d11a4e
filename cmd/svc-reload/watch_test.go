package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svckit/lib/delivery"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func step(a rollout.Action, fields ...string) rollout.Step {
	return rollout.Step{Action: a, Target: "x", Fields: fields}
}

func TestOnlyWhatConfigChangesIsAReasonToAct(t *testing.T) {
	// The words of what is delivered are package delivery's.
	files := delivery.Changed(delivery.Contents{Secrets: map[string]string{"OLD": "x"}}, spec.Values{
		Secrets: map[string]string{"KEY": "x"}, Files: []spec.Rendered{{To: "/etc/app/a.json"}},
	})
	for _, row := range []struct {
		name  string
		steps []rollout.Step
		keys  string
		anew  bool
	}{
		{"nothing", nil, "", false},
		{"files, reloaded", []rollout.Step{step(rollout.ActDeliver, files...), step(rollout.ActReload, files...), step(rollout.ActProve)}, "file /etc/app/a.json, secret KEY, secret OLD gone", false},
		{"files, and a master that cannot", []rollout.Step{step(rollout.ActCreate, files...), step(rollout.ActStart)}, "file /etc/app/a.json, secret KEY, secret OLD gone", true},
		{"delivered by a run that was cut off", []rollout.Step{step(rollout.ActReload, "delivered files")}, "delivered files", false},
		{"a variable", []rollout.Step{step(rollout.ActCreate, "env.GREETING")}, "env.GREETING", true},
		{"a variable and a new image", []rollout.Step{step(rollout.ActCreate, "image (a → b)", "env.GREETING")}, "env.GREETING", true},
		{"another name of the node", []rollout.Step{step(rollout.ActCreate, "env.SVC_NODE")}, "", false},
		{"another image", []rollout.Step{step(rollout.ActCreate, "image (a → b)", "port")}, "", false},
		{"an instance is missing", []rollout.Step{step(rollout.ActCreate), step(rollout.ActStart)}, "", false},
		{"code that was not loaded", []rollout.Step{step(rollout.ActReload, "code a → b")}, "", false},
		{"tags", []rollout.Step{step(rollout.ActRegister, "tags")}, "", false},
		{"leftovers", []rollout.Step{step(rollout.ActUnregister), step(rollout.ActRemove)}, "", false},
	} {
		keys, anew := differing(rollout.Plan{Steps: row.steps})
		if got := strings.Join(keys, ", "); got != row.keys || anew != row.anew {
			t.Errorf("%s: %q, new container %v, want %q, %v", row.name, got, anew, row.keys, row.anew)
		}
	}
	a := &actor{}
	if _, err := a.decide("shop/web", rollout.Plan{Steps: []rollout.Step{step(rollout.ActCreate, "env.A")}}); fault.KindOf(err) != fault.Refused {
		t.Errorf("--replace=false: %v", err)
	}
	a.replace = true
	if _, err := a.decide("shop/web", rollout.Plan{Steps: []rollout.Step{step(rollout.ActCreate, "env.A")}}); err != nil {
		t.Errorf("--replace: %v", err)
	}
}

// place is a node and a Consul that a looker looks at.
type place struct {
	list  []fleet.Instance
	keys  map[string]string // app/service → value
	reads []string
	err   error
}

func (p *place) instances(context.Context) ([]fleet.Instance, error) { return p.list, nil }

func (p *place) layers(_ context.Context, app, service string) (spec.Layers, error) {
	p.reads = append(p.reads, app+"/"+service)
	if app == "hidden" {
		return spec.Layers{}, fault.New(fault.Failed, "read: not allowed")
	}
	return spec.Layers{App: map[string]string{"KEY": p.keys[app+"/"+service]}}, p.err
}

func instance(app, service, release string, state fleet.State) fleet.Instance {
	return fleet.Instance{App: app, Service: service, Release: release, Image: "i@" + release, State: state, Prefix: "svc"}
}

func TestALookReadsWhatIsMarkedOrNewAndNothingElse(t *testing.T) {
	dev, foreign := instance("dev", "web", "r1", fleet.Running), instance("foreign", "web", "r1", fleet.Running)
	dev.Owner, foreign.Prefix = &fleet.Holder{}, "other"
	p := &place{keys: map[string]string{}, list: []fleet.Instance{
		instance("shop", "web", "r1", fleet.Running), instance("shop", "web", "r1", fleet.Running), instance("shop", "api", "r1", fleet.Restarting),
		instance("blog", "web", "r1", fleet.Running), instance("old", "web", "r1", fleet.Exited), dev, foreign,
	}}
	l := newLooker("svc", p.instances, p.layers)
	var followed []string
	l.follow = func(apps []string) { followed = apps }
	looks := func(what string, reads ...string) sight {
		t.Helper()
		p.reads = nil
		s := l.look(t.Context())
		if !slices.Equal(p.reads, reads) {
			t.Errorf("%s: read %q, want %q", what, p.reads, reads)
		}
		return s
	}
	s := looks("first", "blog/web", "shop/api", "shop/web")
	if !slices.Equal(s.services, []string{"blog/web", "shop/api", "shop/web"}) || !slices.Equal(followed, []string{"blog", "shop"}) {
		t.Errorf("services %q, followed %q", s.services, followed)
	}
	before := s.content["shop/web"]
	looks("nothing is marked")
	l.mark("shop")
	if s = looks("an app is marked", "shop/api", "shop/web"); s.content["shop/web"] != before {
		t.Error("the digest changed, the content did not")
	}
	p.keys["shop/web"] = "x"
	l.mark("")
	if s = looks("all are marked", "blog/web", "shop/api", "shop/web"); s.content["shop/web"] == before {
		t.Error("the content changed, the digest did not")
	}
	p.list[3].Release = "r2"
	looks("another release runs", "blog/web")
	p.err = fault.New(fault.Unreachable, "away")
	l.mark("shop")
	if s = looks("Consul is away", "shop/api"); s.away == nil {
		t.Error("not said to be away")
	}
	p.err = nil
	looks("what was not read stays marked", "shop/api", "shop/web")
	p.list = append(p.list, instance("hidden", "web", "r1", fleet.Running))
	for range 2 {
		if s = looks("keys that may not be read", "hidden/web"); s.refused["hidden/web"] == nil || s.away != nil {
			t.Errorf("%+v", s)
		}
	}
	p.list = p.list[3:4]
	looks("services went")
	p.list = append(p.list, instance("shop", "web", "r1", fleet.Running))
	looks("one came back", "shop/web")
}

func TestADigestKeepsApartWhatTextDoesNot(t *testing.T) {
	seen := map[string]string{}
	for name, l := range map[string]spec.Layers{
		"none": {}, "shared": {Shared: map[string]string{"A": "1"}}, "app": {App: map[string]string{"A": "1"}}, "secret": {Secrets: map[string]string{"A": "1"}},
		"bytes": {App: map[string]string{"A": "\xff"}}, "other bytes": {App: map[string]string{"A": "\xfe"}}, "replaced": {App: map[string]string{"A": "\uFFFD"}},
	} {
		d := digest("r1", l)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s look the same", name, other)
		}
		seen[d] = name
	}
	if digest("r1", spec.Layers{}) == digest("r2", spec.Layers{}) {
		t.Error("two releases look the same")
	}
}

func TestWhatWasToldIsRememberedAcrossProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	m := memory{dir: dir}
	if told, err := m.load(); err != nil || told != nil {
		t.Errorf("first: %v, %v", told, err)
	}
	for _, told := range []map[string]string{{"shop/web": "aa"}, {"shop/web": "aa"}, {"shop/web": "bb", "blog/web": "cc"}} {
		if err := m.save(told); err != nil {
			t.Fatal(err)
		}
		later := memory{dir: dir}
		if got, err := later.load(); err != nil || fmt.Sprint(got) != fmt.Sprint(told) {
			t.Errorf("got %v, %v, want %v", got, err, told)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
	for _, text := range []string{"", "{", `{"schema": 2}`, "[]"} {
		if err := os.WriteFile(filepath.Join(dir, toldFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		later := memory{dir: dir}
		if got, err := later.load(); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestAPassEndsAsItsWorstServices(t *testing.T) {
	one := fmt.Errorf("shop/web: %w", &fault.Error{Kind: fault.Invalid, Msg: "config", Detail: []string{"KEY is missing"}})
	for _, row := range []struct {
		name     string
		failures []error
		of       int
		want     fault.Kind
	}{
		{"all well", nil, 2, fault.OK},
		{"nothing runs here", nil, 0, fault.OK},
		{"the only one keeps its kind", []error{one}, 1, fault.Invalid},
		{"one of two", []error{one}, 2, fault.Partial},
		{"all of two", []error{one, errors.New("x")}, 2, fault.Failed},
	} {
		err := verdict(row.failures, row.of)
		if got := fault.KindOf(err); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		if len(row.failures) > 0 && !slices.ContainsFunc(fault.DetailOf(err), func(l string) bool { return strings.Contains(l, "KEY is missing") }) {
			t.Errorf("%s: the detail is lost: %q", row.name, fault.DetailOf(err))
		}
	}
}

func TestWrongCallsAreRefusedBeforeAnythingIsOpened(t *testing.T) {
	for _, args := range [][]string{
		{"shop/web"},
		{"--quiet-period=-1s"},
		{"--quiet-period=1m", "--longest-wait=2s"},
		{"--floor=-1"},
		{"--quiet-period=soon"},
		{"--once", "shop/web"},
	} {
		var out, errs bytes.Buffer
		code := tool.Run(t.Context(), app(&here.Node{Getenv: func(string) string { return "" }}), append([]string{"svc-reload", "watch"}, args...), strings.NewReader(""), &out, &errs)
		if code != int(fault.Usage) || out.Len() != 0 {
			t.Errorf("%q: exit %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
}
