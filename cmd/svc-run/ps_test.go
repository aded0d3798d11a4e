package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// call runs f as a command of svc-run and returns what it printed.
func call(t *testing.T, f func(ctx context.Context, s *tool.Session) error, words ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	app := &cli.App{Name: "svc-run", Usage: "test", Flags: []cli.Flag{tool.DryRun()}, Action: tool.Action(
		func(ctx context.Context, s *tool.Session, _ *cli.Context) error { return f(ctx, s) })}
	code = tool.Run(t.Context(), app, append([]string{"svc-run"}, words...), strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String()
}

const (
	idA = "aaaaaaaa11111111111111111111111111111111111111111111111111111111"
	idB = "bbbbbbbb22222222222222222222222222222222222222222222222222222222"
	idC = "cccccccc33333333333333333333333333333333333333333333333333333333"
)

func running(id string) fleet.Instance {
	return fleet.Instance{
		ID: id, Name: "n", App: "shop", Service: "web", Release: "r2", State: fleet.Running, Address: "10.0.0.1", Port: 20001,
		StartedAt: now.Add(-3*time.Minute - 5*time.Second), CreatedAt: now.Add(-time.Hour), CPU: 1.5, Memory: 512 << 20, Restarts: 2, Prefix: "svc",
	}
}

func registered(id string) fleet.Registration {
	return fleet.Registration{
		ID: "shop-web-node1-" + id[:8], Name: "shop-web", Node: "node1", Address: "10.0.0.1", Port: 20001, Weight: 4, Health: fleet.Passing,
		Meta: map[string]string{fleet.MetaOwner: "1", fleet.MetaApp: "shop", fleet.MetaService: "web", fleet.MetaRelease: "r2", fleet.MetaContainer: id, fleet.MetaWorkers: "4", fleet.MetaZone: "a", fleet.MetaEngine: "ENG", fleet.MetaFound: "SRV"},
	}
}

func seen(change func(*seenNode)) seenNode {
	s := seenNode{
		prefix: "svc", engine: fleet.Engine{ID: "ENG"},
		agent:     fleet.Agent{Node: "node1", Domain: "consul", Meta: map[string]string{fleet.MetaZone: "a"}},
		instances: []fleet.Instance{running(idA)}, registrations: []fleet.Registration{registered(idA)},
	}
	change(&s)
	return s
}

func TestPsJoinsContainersAndRegistrations(t *testing.T) {
	tests := []struct {
		name   string
		target here.Target
		seen   seenNode
		want   []string // state health note, of each row
	}{
		{"a healthy instance", here.Target{}, seen(func(*seenNode) {}), []string{"running passing "}},
		{"a container that Consul does not know", here.Target{}, seen(func(s *seenNode) { s.registrations = nil }), []string{"running unregistered Consul does not know it"}},
		{"a registration whose container is gone", here.Target{}, seen(func(s *seenNode) { s.instances = nil }), []string{"ghost passing its container is gone"}},
		{"a ghost of another app is not meant", here.Target{App: "blog"}, seen(func(s *seenNode) { s.instances = nil }), []string{}},
		{"a ghost of another service is not meant", here.Target{App: "shop", Service: "api"}, seen(func(s *seenNode) { s.instances = nil }), []string{}},
		{"what another engine on the same agent runs is no ghost", here.Target{}, seen(func(s *seenNode) { s.instances = nil; s.engine.ID = "OTHER" }), []string{}},
		{"instances of another prefix are not ours", here.Target{}, seen(func(s *seenNode) { s.instances[0].Prefix = "lab"; s.registrations = nil }), []string{}},
		{"Consul is away", here.Target{}, seen(func(s *seenNode) { s.registrations = nil; s.consul = errors.New("gone") }), []string{"running unknown "}},
		{"a failing check says why", here.Target{}, seen(func(s *seenNode) {
			s.registrations[0].Health, s.registrations[0].Output = fleet.Critical, "HTTP GET: 500\nbody"
		}), []string{"running critical HTTP GET: 500"}},
		{"a maintenance says why", here.Target{}, seen(func(s *seenNode) {
			s.registrations[0].Health, s.registrations[0].Reason = fleet.Maintenance, "reload by ann"
		}), []string{"running maintenance reload by ann"}},
		{"an ended container", here.Target{}, seen(func(s *seenNode) {
			s.instances[0].State, s.instances[0].ExitCode, s.instances[0].OOMKilled, s.registrations = fleet.Exited, 137, true, nil
		}), []string{"exited unregistered exit code 137; out of memory"}},
		{"a container that never ran", here.Target{}, seen(func(s *seenNode) { s.instances[0].State, s.registrations = fleet.Created, nil }), []string{"created unregistered never ran"}},
		{"labels that make no sense", here.Target{}, seen(func(s *seenNode) { s.instances[0].Bad = []string{"svckit.port: x"} }), []string{"running passing labels: svckit.port: x"}},
		{"nothing", here.Target{}, seen(func(s *seenNode) { s.instances, s.registrations = nil, nil }), []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := nodeList(tt.seen, tt.target, now)
			got := []string{}
			for _, r := range list.Instances {
				got = append(got, r.State+" "+r.Health+" "+r.Note)
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("rows %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPsPrintsATable(t *testing.T) {
	list := nodeList(seen(func(s *seenNode) {
		b := running(idB)
		b.Service, b.State, b.ExitCode, b.CPU, b.Memory = "api", fleet.Exited, 1, 0, 0
		s.instances = append(s.instances, b)
	}), here.Target{}, now)
	_, stdout, _ := call(t, func(_ context.Context, s *tool.Session) error {
		return s.Result(list, func(w io.Writer) { list.write(w, s) })
	})
	want := `SERVICE   INSTANCE  RELEASE  STATE    HEALTH        ADDRESS         DNS                      BY   WEIGHT  RESTARTS  CPU  MEMORY     UP    NOTE
shop/api  bbbbbbbb  r2       exited   unregistered  10.0.0.1:20001  -                        -    -       2         -    -          -     exit code 1
shop/web  aaaaaaaa  r2       running  passing       10.0.0.1:20001  shop-web.service.consul  SRV  4       2         1.5  512.0 MiB  3m5s  -
`
	if stdout != want {
		t.Errorf("table\n%swant\n%s", stdout, want)
	}
}

func TestPsOfTheFleetIsSortedByZone(t *testing.T) {
	near, far, ghostly := registered(idA), registered(idB), registered(idC)
	far.Node, far.Meta[fleet.MetaZone] = "node0", "b"
	ghostly.Node = "node2"
	list := fleetList([]fleet.Registration{far, ghostly, near}, fleet.Agent{Domain: "consul"})
	var got []string
	for _, r := range list.Instances {
		got = append(got, r.Zone+"/"+r.Node+"/"+r.Instance)
	}
	if want := "a/node1/aaaaaaaa a/node2/cccccccc b/node0/bbbbbbbb"; strings.Join(got, " ") != want {
		t.Errorf("rows %v, want %s", got, want)
	}
}

func TestAgeHasItsTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 312 * time.Second: "5m12s", 3*time.Hour + 4*time.Minute: "3h4m", 76 * time.Hour: "3d4h"} {
		if got := age(d); got != want {
			t.Errorf("age(%s) is %q, want %q", d, got, want)
		}
	}
}

// fakeFleet is a catalog with two apps; an app's services are named by its releases.
type fakeFleet struct{ asked []string }

func (f *fakeFleet) Apps(context.Context) ([]string, error) { return []string{"blog", "shop"}, nil }

func (f *fakeFleet) Releases(_ context.Context, app string) ([]fleet.Release, []string, error) {
	named := func(release, consul string) fleet.Release {
		return fleet.Release{App: app, Name: release, Spec: "app: " + app + "\nbuild: {dockerfile: Dockerfile, image: r/x}\nservices:\n  web: {port: 8000, name: " + consul + "}\n"}
	}
	return []fleet.Release{named("r3", app+"-new"), named("r2", app+"-now"), named("r1", app+"-old")}, nil, nil
}

func (f *fakeFleet) Current(context.Context, string) (fleet.Current, error) {
	return fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "r2"}}}, nil
}

func (f *fakeFleet) Service(_ context.Context, name string) ([]fleet.Registration, error) {
	f.asked = append(f.asked, name)
	mine, foreign := registered(idA), registered(idB)
	foreign.Meta = map[string]string{}
	return []fleet.Registration{mine, foreign}, nil
}

func TestTheFleetIsFoundByTheNamesOfReleasesInUse(t *testing.T) {
	f := &fakeFleet{}
	found, err := lookFleet(t.Context(), f, here.Target{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(f.asked, " "), "blog-new blog-now shop-new shop-now"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if len(found) != 2 || found[0].Meta[fleet.MetaApp] != "shop" {
		t.Errorf("found %v, want the two of shop", found)
	}
}
