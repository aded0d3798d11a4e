//go:build real

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/deploy"
	"svckit/lib/events"
	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

// listener is a svc-run events --follow, and what it said.
type listener struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan events.Event
	heard []events.Event
}

// listen starts one. It ends with the test at the latest.
func listen(t *testing.T, agent *lab.Agent, args ...string) *listener {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"events"}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "CONSUL_HTTP_ADDR="+agent.URL(), "SVC_CONFIG=", "SVC_RUN_DIR="+lab.RunDir(t), "SVC_STATE_DIR="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &listener{t: t, cmd: cmd, lines: make(chan events.Event, 10000)}
	go func() {
		defer close(l.lines)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e events.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("not an event: %q: %v", lines.Text(), err)
			}
			l.lines <- e
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return l
}

// until takes events until the wanted one comes, which it returns.
func (l *listener) until(want string) events.Event {
	l.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case e, ok := <-l.lines:
			if !ok {
				l.t.Fatalf("ended without %q; said %q", want, allTold(l.heard))
			}
			l.heard = append(l.heard, e)
			if toldAs(e) == want {
				return e
			}
		case <-limit:
			l.t.Fatalf("never said %q; said %q", want, allTold(l.heard))
		}
	}
}

// end stops it with a signal and takes what it said until then.
func (l *listener) end(sig os.Signal) {
	l.t.Helper()
	_ = l.cmd.Process.Signal(sig)
	for e := range l.lines {
		l.heard = append(l.heard, e)
	}
	if err := l.cmd.Wait(); err != nil && sig == syscall.SIGTERM {
		l.t.Errorf("ended by TERM: %v", err)
	}
}

func toldAs(e events.Event) string {
	text := fmt.Sprintf("%s %s %s", e.Kind, e.What, e.Subject)
	if e.From+e.To != "" {
		text += " " + e.From + ">" + e.To
	}
	return text
}

func allTold(list []events.Event) (out []string) {
	for _, e := range list {
		out = append(out, toldAs(e))
	}
	return out
}

// lasting are the arguments of an agent that keeps what it knows over a restart.
func lasting(t *testing.T) []string {
	return []string{"-dev=false", "-server", "-bootstrap-expect=1", "-data-dir=" + t.TempDir(), "-hcl", "performance { raft_multiplier = 1 }"}
}

func tellAgent(t *testing.T, a *lab.Agent, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

// enroll registers an instance in zone a whose check is set by hand.
func enroll(t *testing.T, a *lab.Agent, id string, weight int) { enrollIn(t, a, "a", id, weight) }

func enrollIn(t *testing.T, a *lab.Agent, zone, id string, weight int) {
	t.Helper()
	tellAgent(t, a, http.MethodPut, "/v1/agent/service/register", fmt.Sprintf(`{
		"ID": %q, "Name": "shop-web", "Address": "127.0.0.1", "Port": 20001, "Weights": {"Passing": %d, "Warning": 1},
		"Meta": {"svckit": "1", "app": "shop", "service": "web", "release": "v1", "zone": %q},
		"Check": {"CheckID": "check:%s", "TTL": "24h", "Status": "passing"}}`, id, weight, zone, id))
	tellAgent(t, a, http.MethodPut, "/v1/agent/check/pass/check:"+id, "") // an agent that restarts remembers what it was told, not what a check began with
}

func TestTheStreamTellsEachChangeOnceOverRestarts(t *testing.T) {
	t.Parallel()
	a := lab.Consul(t, lasting(t)...)
	c, err := consul.OpenAt(a.HTTP, "svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	image := "registry:5000/shop@sha256:" + strings.Repeat("a", 64)
	release := func(name string) {
		t.Helper()
		if err := c.PutRelease(t.Context(), fleet.Release{App: "shop", Name: name, Image: image, Spec: "app: shop\n", BuiltBy: "me", BuiltAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	promote := func(name string) {
		t.Helper()
		cur, err := c.Current(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		cur.Services = map[string]fleet.Pointer{"web": {Release: name, At: time.Now(), By: "me"}}
		if err := c.SetCurrent(t.Context(), "shop", cur); err != nil {
			t.Fatal(err)
		}
	}
	size := func(n, before int, at int64) {
		t.Helper()
		tellAgent(t, a, http.MethodPut, "/v1/kv/svc/scale/service/shop/web", fmt.Sprintf(`{"schema":1,"name":"shop/web","size":%d,"wish":%d,"words":"demand","last":[{"at":%d,"from":%d,"size":%d,"reason":"demand","words":"demand"}]}`, n, n, at, before, n))
	}
	file := filepath.Join(t.TempDir(), "events.json")
	release("v1")
	promote("v1")
	enroll(t, a, "shop-web-node1-0001", 1)
	now := time.Now().Unix()
	size(2, 1, now)

	l := listen(t, a, "--follow", "--state", file)
	l.until("stream ready consul")
	for _, e := range l.heard {
		if e.Kind != events.OfStream && !e.Initial {
			t.Errorf("%s is not initial", toldAs(e))
		}
	}
	start := []string{"scaling new shop/web", "release new shop@v1", "current new shop/web >v1", "instance new node1/shop-web-node1-0001", "stream ready consul"}
	if got := allTold(l.heard); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(start))) {
		t.Fatalf("at first said %q, want %q", got, start)
	}

	enroll(t, a, "shop-web-node1-0002", 4)
	l.until("instance new node1/shop-web-node1-0002")
	tellAgent(t, a, http.MethodPut, "/v1/agent/check/fail/check:shop-web-node1-0002?note=broken", "")
	if e := l.until("health changed node1/shop-web-node1-0002 passing>critical"); e.Why != "broken" || e.App != "shop" || e.Zone != "a" || e.Instance == nil || e.Instance.Port != 20001 {
		t.Errorf("told as %+v", e)
	}
	release("v2")
	l.until("release new shop@v2")
	promote("v2")
	l.until("current changed shop/web v1>v2")
	if err := c.Freeze(t.Context(), "", scale.Freeze{Mode: scale.NoDown, Who: "me", Why: "fair"}); err != nil {
		t.Fatal(err)
	}
	l.until("freeze new all")
	size(5, 2, now+60)
	l.until("scaling decided shop/web 2>5")

	a.Kill()
	l.until("stream away consul")
	a.Start(t)
	l.until("stream back consul")
	tellAgent(t, a, http.MethodPut, "/v1/kv/svc/apps/shop/current", "poison")
	if e := l.until("unreadable new svc/apps/shop/current"); e.Why == "" {
		t.Errorf("told as %+v", e)
	}
	if _, err := c.Thaw(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	l.until("freeze gone all")
	l.end(syscall.SIGTERM)

	tellAgent(t, a, http.MethodPut, "/v1/agent/service/deregister/shop-web-node1-0001", "") // while nobody listens
	size(3, 5, now+120)
	next := listen(t, a, "--follow", "--state", file)
	next.until("stream ready consul")
	want := []string{"scaling decided shop/web 5>3", "instance gone node1/shop-web-node1-0001", "stream ready consul"}
	if got := allTold(next.heard); !slices.Equal(got, want) {
		t.Errorf("after a pause said %q, want %q", got, want)
	}
	release("v3")
	next.until("release new shop@v3")
	next.end(syscall.SIGKILL) // what was told last may not be kept yet
	last := listen(t, a, "--follow", "--state", file)
	last.until("stream ready consul")
	last.end(syscall.SIGTERM)
	for _, e := range last.heard {
		if e.Kind != events.OfStream && !slices.ContainsFunc(next.heard, func(o events.Event) bool { return o.ID == e.ID }) {
			t.Errorf("after a kill said %s, which was not said before", toldAs(e))
		}
	}

	ids := map[string]string{}
	for _, e := range append(l.heard, next.heard...) {
		if before, twice := ids[e.ID]; twice && e.Kind != events.OfStream {
			t.Errorf("%s was said twice, as %s", toldAs(e), before)
		}
		ids[e.ID] = toldAs(e)
	}
	whole := slices.Concat(start, []string{
		"instance new node1/shop-web-node1-0002", "health changed node1/shop-web-node1-0002 passing>critical", "release new shop@v2",
		"current changed shop/web v1>v2", "freeze new all", "scaling decided shop/web 2>5", "unreadable new svc/apps/shop/current", "freeze gone all",
	})
	var lasting []string
	for _, e := range l.heard {
		if e.What != events.Away && e.What != events.Back {
			lasting = append(lasting, toldAs(e))
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(lasting)), slices.Sorted(slices.Values(whole))) {
		t.Errorf("said %q\nwant %q", lasting, whole)
	}
}

func TestDeploysAndLoansAreToldAndInstancesOfOneZone(t *testing.T) {
	t.Parallel()
	a := lab.Consul(t, lasting(t)...)
	c, err := consul.OpenAt(a.HTTP, "svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, a, "--follow", "--zone", "b", "--kind", "deploy,loan,instance")
	l.until("stream ready consul")

	now := time.Now().UTC().Truncate(time.Second)
	st := deploy.State{
		App: "shop", Release: "v2", Image: "registry:5000/shop@sha256:" + strings.Repeat("a", 64), Run: "run1", Holder: "ann on laptop", Began: now, Beat: now,
		Services: []string{"web"}, Phase: deploy.Forward, Batches: [][]string{{"node1"}, {"node2"}}, Size: 1,
		Nodes: map[string]deploy.Node{"node1": {Is: deploy.Pulled, At: now}, "node2": {Is: deploy.Pulled, At: now}},
	}
	write := func(change func(s *deploy.State)) {
		t.Helper()
		change(&st)
		if err := c.SetDeployment(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		if st, err = c.Deployment(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
	}
	write(func(*deploy.State) {})
	if e := l.until("deploy new shop"); e.App != "shop" || e.Deploy == nil || e.Deploy.Batch != 1 || e.Deploy.Batches != 2 || e.Deploy.Holder != st.Holder {
		t.Errorf("told as %+v", e)
	}
	write(func(s *deploy.State) { s.Beat = now.Add(time.Second) }) // a sign of life tells nothing
	write(func(s *deploy.State) {
		s.Phase, s.Result, s.Failure = deploy.Ended, deploy.Failed, &deploy.Failure{Node: "node1", Service: "web", Check: "gate", Output: "500"}
	})
	if e := l.until("deploy changed shop forward>ended"); e.Deploy == nil || e.Deploy.Result != deploy.Failed || !strings.Contains(e.Deploy.Why, "500") {
		t.Errorf("told as %+v", e)
	}

	m := planner.Membership{Pool: place.Pool{Name: "night"}, Nodes: []planner.Member{{Node: "node3", Home: "day", Due: now.Add(time.Hour).Unix(), Who: "bob", Why: "sale"}}}
	if err := c.SetPool(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if e := l.until("loan new night/node3"); e.Node != "node3" || e.Loan == nil || e.Loan.Home != "day" || !e.Loan.Due.Equal(now.Add(time.Hour)) || e.Loan.Who != "bob" {
		t.Errorf("told as %+v", e)
	}
	tellAgent(t, a, http.MethodDelete, "/v1/kv/svc/scale/pool/night", "")
	l.until("loan gone night/node3")

	enrollIn(t, a, "a", "shop-web-node1-0001", 1)
	enrollIn(t, a, "b", "shop-web-node1-0002", 1)
	l.until("instance new node1/shop-web-node1-0002")
	l.end(syscall.SIGTERM)
	want := []string{"stream ready consul", "deploy new shop", "deploy changed shop forward>ended", "loan new night/node3", "loan gone night/node3", "instance new node1/shop-web-node1-0002"}
	if got := allTold(l.heard); !slices.Equal(got, want) {
		t.Errorf("said %q\nwant %q", got, want)
	}
}

func TestMoreServicesThanWatchesAreFollowedAll(t *testing.T) {
	t.Parallel()
	a := lab.Consul(t, lasting(t)...)
	const services = 130
	for n := range services {
		tellAgent(t, a, http.MethodPut, "/v1/agent/service/register", fmt.Sprintf(`{"ID": "a%d-web-1", "Name": "a%d-web", "Port": 80, "Meta": {"svckit": "1", "app": "a%d", "service": "web"}}`, n, n, n))
	}
	l := listen(t, a, "--follow", "--new")
	l.until("stream ready consul")
	for n := range services {
		tellAgent(t, a, http.MethodPut, fmt.Sprintf("/v1/agent/service/deregister/a%d-web-1", n), "")
	}
	missing := map[string]bool{}
	for n := range services {
		missing[fmt.Sprintf("instance gone node1/a%d-web-1", n)] = true
	}
	limit := time.After(5 * time.Minute)
	for len(missing) > 0 {
		select {
		case e := <-l.lines:
			if e.Kind == events.OfInstance && !missing[toldAs(e)] {
				t.Errorf("said %q, which was not expected", toldAs(e))
			}
			delete(missing, toldAs(e))
		case <-limit:
			t.Fatalf("never said %d of them", len(missing))
		}
	}
}
