//go:build real

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

// fleetRig is an app with one instance on each of two hosts.
type fleetRig struct {
	t      *testing.T
	fleet  *lab.Fleet
	app    string
	source string
	consul *consul.Client
}

// newFleetRig brings up plain uwsgi, which pauses while it reloads, with generation one on both hosts.
func newFleetRig(t *testing.T) *fleetRig {
	t.Helper()
	f := lab.NewFleet(t, lab.Datacenter{Servers: 3, Hosts: 2})
	r := &fleetRig{t: t, fleet: f, app: "shop", source: folder(t)}
	t.Setenv("CONSUL_HTTP_ADDR", f.Servers[0].Consul())
	t.Setenv("SVC_CONFIG", "")
	client, err := consul.Open("svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	r.consul = client
	one := &rig{t: t, env: environment{registry: f.Registry, image: f.Base}, app: r.app, consul: client, source: r.source}
	one.release("r1", fmt.Sprintf(uwsgiSpec, plain))
	one.code(appCode("one"))
	run := built(t, "svckit/cmd/svc-run")
	var wait sync.WaitGroup
	for _, h := range f.Hosts {
		wait.Go(func() {
			for _, args := range [][]string{{os.Args[0], "shop/web", "--source", r.source}, {run, "up", "shop/web"}} {
				if got := r.call(h, args...); got.code != 0 {
					t.Errorf("%s %s on %s: exit %d\n%s%s", filepath.Base(args[0]), strings.Join(args[1:], " "), h.Name(), got.code, got.stdout, got.stderr)
				}
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return r
}

// call runs a program on a host; this test binary is svc-reload.
func (r *fleetRig) call(h *lab.Host, args ...string) result {
	var out, errs bytes.Buffer
	cmd := h.Command(r.t, args[0], args[1:]...)
	cmd.Env = append(cmd.Env, asProgram+"=svc-reload", "SVC_DNS_MARGIN=100ms")
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.t.Error(err)
		return result{code: -1}
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// says is what the instance on a host answers.
func (r *fleetRig) says(h *lab.Host) string {
	r.t.Helper()
	for _, i := range r.health("") {
		if i.Node.Node != h.Name() {
			continue
		}
		res, err := http.Get(fmt.Sprintf("http://%s:%d/", i.Service.Address, i.Service.Port))
		if err != nil {
			r.t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return strings.TrimSpace(string(text))
	}
	r.t.Fatalf("no instance on %s", h.Name())
	return ""
}

// entry is one instance in Consul's health.
type entry struct {
	Node    struct{ Node string }
	Service struct {
		ID, Address string
		Port        int
	}
	Checks []struct{ CheckID, Status string }
}

func (e entry) passing() bool {
	return !slices.ContainsFunc(e.Checks, func(c struct{ CheckID, Status string }) bool { return c.Status != "passing" })
}

// health is the service as a server knows it; query is such as "?index=7".
func (r *fleetRig) health(query string) []entry {
	r.t.Helper()
	list, _, err := r.look(query)
	for end := time.Now().Add(time.Minute); err != nil; list, _, err = r.look(query) {
		if time.Now().After(end) { // busy servers may be without a leader for a moment
			r.t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return list
}

func (r *fleetRig) look(query string) (list []entry, index string, err error) {
	res, err := http.Get(r.fleet.Servers[0].Consul() + "/v1/health/service/shop-web" + query)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, "", errors.New(res.Status)
	}
	err = json.NewDecoder(res.Body).Decode(&list)
	return list, res.Header.Get("X-Consul-Index"), err
}

// follow notes which nodes are out, at each change, until stop is called.
func (r *fleetRig) follow() (stop func() [][]string) {
	ended, done := make(chan struct{}), make(chan struct{})
	var views [][]string
	go func() {
		defer close(done)
		index := "0"
		for {
			list, next, err := r.look("?wait=1s&index=" + index)
			for end := time.Now().Add(time.Minute); err != nil; list, next, err = r.look("?wait=1s&index=" + index) {
				if time.Now().After(end) {
					r.t.Errorf("follow the service: %v", err)
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			index = next
			out := []string{}
			for _, i := range list {
				if !i.passing() {
					out = append(out, i.Node.Node)
				}
			}
			slices.Sort(out)
			if len(views) == 0 || !slices.Equal(views[len(views)-1], out) {
				views = append(views, out)
			}
			select {
			case <-ended:
				return
			default:
			}
		}
	}()
	return func() [][]string { close(ended); <-done; return views }
}

// containers are the app's containers on a host, with the time of their start.
func (r *fleetRig) containers(h *lab.Host) string {
	r.t.Helper()
	out, err := exec.Command("docker", "--host", h.Docker(), "ps", "--all", "--quiet", "--no-trunc").Output()
	if err != nil {
		r.t.Fatal(err)
	}
	args := append([]string{"--host", h.Docker(), "inspect", "--format", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}"}, strings.Fields(string(out))...)
	if out, err = exec.Command("docker", args...).Output(); err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// TestFleetNeverFallsBelowItsFloor plays a master that has to be taken out of DNS on two nodes.
func TestFleetNeverFallsBelowItsFloor(t *testing.T) {
	r := newFleetRig(t)
	one, two := r.fleet.Hosts[0], r.fleet.Hosts[1]
	for _, row := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"nodes that are told at once go one after the other", r.nodesToldAtOnceGoOneAfterTheOther},
		{"the other instance hangs", func(t *testing.T) {
			r.belowTheFloorNothingIsTouched(t, func() { dockerAt(t, two, "pause") }, func() { dockerAt(t, two, "unpause") })
		}},
		{"the other node is cut off", func(t *testing.T) {
			r.belowTheFloorNothingIsTouched(t, func() { two.CutOff(t) }, func() { two.Rejoin(t) })
		}},
		{"with the other one back it goes on", func(t *testing.T) {
			if got := r.call(one, os.Args[0], "shop/web", "--source", r.source); got.code != 0 || r.says(one) != "three" {
				t.Errorf("exit %d, it says %q\n%s%s", got.code, r.says(one), got.stdout, got.stderr)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.t = t
			row.test(t)
		})
	}
}

// nodesToldAtOnceGoOneAfterTheOther: the lock of the fleet lets one of them go first. They find it held, so both wait for the same moment.
func (r *fleetRig) nodesToldAtOnceGoOneAfterTheOther(t *testing.T) {
	one, two := r.fleet.Hosts[0], r.fleet.Hosts[1]
	(&rig{t: t, source: r.source}).code(appCode("two"))
	lock, err := r.consul.Lock(t.Context(), "locks/shop/web", fleet.Holder{Who: "test", Node: "srv1", Command: "test"}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	stop := r.follow()
	results := make([]result, 2)
	var wait sync.WaitGroup
	for n, h := range r.fleet.Hosts {
		wait.Go(func() { results[n] = r.call(h, os.Args[0], "shop/web", "--source", r.source, "--json") })
	}
	for _, h := range r.fleet.Hosts {
		r.awaitRun(t, h)
	}
	time.Sleep(2 * time.Second) // time enough to do wrong what must not be done
	if views := stop(); len(views) != 1 || len(views[0]) > 0 {
		t.Errorf("while another node held the lock there were out: %v", views)
	}
	stop = r.follow()
	if err := lock.Release(t.Context()); err != nil {
		t.Error(err)
	}
	wait.Wait()
	views := stop()

	t.Logf("out of the fleet, at each change: %v", views)
	var order []string
	for _, v := range views {
		if len(v) > 1 {
			t.Errorf("both were out at once")
		}
		order = append(order, v...)
	}
	slices.Sort(order)
	if !slices.Equal(order, []string{one.Name(), two.Name()}) {
		t.Errorf("each was to be out once, and was: %v", views)
	}
	for n, h := range r.fleet.Hosts {
		if results[n].code != 0 {
			t.Errorf("svc-reload on %s: exit %d\n%s%s", h.Name(), results[n].code, results[n].stdout, results[n].stderr)
			continue
		}
		o := decode[here.Outcome](t, results[n].stdout)
		if !slices.ContainsFunc(o.Steps, func(s rollout.Step) bool { return s.Action == rollout.ActAside }) {
			t.Errorf("%s did not take its instance out: %+v", h.Name(), o.Steps)
		}
		if got := r.says(h); got != "two" {
			t.Errorf("%s says %q", h.Name(), got)
		}
	}
}

// belowTheFloorNothingIsTouched loses the instance of one node, so the other node's may not be taken out.
func (r *fleetRig) belowTheFloorNothingIsTouched(t *testing.T, lose, back func()) {
	one, two := r.fleet.Hosts[0], r.fleet.Hosts[1]
	(&rig{t: t, source: r.source}).code(appCode("three"))
	before, current := r.containers(one), r.current(one)
	lose()
	r.await(t, two, false)
	stop := r.follow()
	got := r.call(one, os.Args[0], "shop/web", "--source", r.source, "--wait-floor", "2s")
	views := stop()

	if got.code != 17 || !strings.Contains(got.stderr, "without it 0 of 2 instances of shop-web would pass, and 1 must") || !strings.Contains(got.stderr, "--floor 0") {
		t.Errorf("exit %d, want 17\n%s%s", got.code, got.stdout, got.stderr)
	}
	if len(views) != 1 || !slices.Equal(views[0], []string{two.Name()}) {
		t.Errorf("out meanwhile: %v", views)
	}
	if after := r.containers(one); after != before {
		t.Errorf("containers before\n%sand after\n%s", before, after)
	}
	if after := r.current(one); after != current {
		t.Errorf("current code was %s and is %s", current, after)
	}
	if said := r.says(one); said != "two" {
		t.Errorf("it says %q", said)
	}
	back()
	r.await(t, two, true)
}

// awaitRun waits until a reload is at work on a host.
func (r *fleetRig) awaitRun(t *testing.T, h *lab.Host) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(r.fleet.Servers[0].Consul() + "/v1/kv/svc/locks/shop/web/" + h.Name())
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no reload on %s", h.Name())
		}
	}
}

// await waits until Consul takes the instance on a host for well, or not.
func (r *fleetRig) await(t *testing.T, h *lab.Host, well bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		list := r.health("")
		if slices.ContainsFunc(list, func(i entry) bool { return i.Node.Node == h.Name() && i.passing() == well }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the instance on %s is not so: %+v", h.Name(), list)
		}
	}
}

// current is the version of the code that a host's instances would start with.
func (r *fleetRig) current(h *lab.Host) string {
	r.t.Helper()
	link, err := os.Readlink(filepath.Join(h.CodeDir(), "shop", "web", "current"))
	if err != nil {
		r.t.Fatal(err)
	}
	return link
}

// dockerAt does something to the only container of a host.
func dockerAt(t *testing.T, h *lab.Host, verb string) {
	t.Helper()
	id, err := exec.Command("docker", "--host", h.Docker(), "ps", "--quiet").Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("docker", "--host", h.Docker(), verb, strings.TrimSpace(string(id))).CombinedOutput(); err != nil {
		t.Fatalf("docker %s: %v\n%s", verb, err, out)
	}
}
