//go:build real

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/fleet"
	"svckit/lib/scale"
)

// program starts scaled as a process of its own, with what it says in a file.
type program struct {
	cmd  *exec.Cmd
	said string // file
	done chan struct{}
}

func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	said, err := os.CreateTemp(t.TempDir(), "said")
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(os.Args[0], args...), said: said.Name(), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "SVCKIT_TEST_AS=scaled"), env...)
	p.cmd.Stdout, p.cmd.Stderr = said, said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%v said:\n%s", args, p.says())
		}
	})
	return p
}

func (p *program) says() string {
	text, _ := os.ReadFile(p.said)
	return string(text)
}

func (p *program) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// soon polls until f is nil, and fails with what it said last.
func soon(t *testing.T, limit time.Duration, what string, f func() error) time.Duration {
	t.Helper()
	began := time.Now()
	var err error
	for time.Since(began) < limit {
		if err = f(); err == nil {
			return time.Since(began)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within %s: %v", what, limit, err)
	return 0
}

// obedient is a node that obeys at once: a monitor that tells of what its wish says.
// The real one is tested in node_real_test.go; this one can also lie.
type obedient struct {
	name   string
	consul *consul.Client
	lie    atomic.Pointer[func(*fleet.Sample)]
	silent atomic.Bool // it answers nobody
	mu     sync.Mutex
	at     int64
}

// serveNode registers a monitor for the node of an agent.
func serveNode(t *testing.T, a *lab.Agent, c *consul.Client) *obedient {
	t.Helper()
	n := &obedient{name: a.Node, consul: c}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	at := server.Listener.Addr().(*net.TCPAddr)
	err := c.Register(t.Context(), fleet.Registration{
		ID: fleet.MonitorService + "-" + n.name, Name: fleet.MonitorService, Address: "127.0.0.1", Port: at.Port, Weight: 1,
		Meta: map[string]string{"scheme": "http"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *obedient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.silent.Load() {
		panic(http.ErrAbortHandler)
	}
	want, _ := n.consul.Want(r.Context(), n.name)
	n.mu.Lock()
	n.at++
	s := fleet.Sample{Schema: 1, Node: n.name, At: time.Now().Unix() + n.at, Epoch: want.Epoch, Gen: want.Gen, CPUs: 8, Memory: 32 << 30}
	n.mu.Unlock()
	for _, x := range want.Services {
		if x.Count > 0 {
			s.Services = append(s.Services, fleet.ServiceSample{Name: x.Name, Instances: 1, Ready: x.Count, Release: "r1"})
		}
	}
	if lie := n.lie.Load(); lie != nil {
		(*lie)(&s)
	}
	_ = json.NewEncoder(w).Encode(s)
}

// appOf puts a release of one service into Consul and makes it current.
func appOf(t *testing.T, c *consul.Client, app, service, body string) {
	t.Helper()
	appOfImage(t, c, "registry.test/"+app+"@sha256:"+strings.Repeat("0", 64), app, service, body)
}

func appOfImage(t *testing.T, c *consul.Client, image, app, service, body string) {
	t.Helper()
	text := fmt.Sprintf("app: %s\nbuild: {image: %s}\nservices:\n  %s:\n%s", app, strings.Split(image, "@")[0], service, body)
	now := time.Now().UTC()
	if err := c.PutRelease(t.Context(), fleet.Release{App: app, Name: "r1", Image: image, Spec: text, BuiltBy: "test", BuiltAt: now}); err != nil {
		t.Fatal(err)
	}
	cur, err := c.Current(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if cur.Services == nil {
		cur.Services = map[string]fleet.Pointer{}
	}
	cur.Services[service] = fleet.Pointer{Release: "r1", At: now, By: "test"}
	if err := c.SetCurrent(t.Context(), app, cur); err != nil {
		t.Fatal(err)
	}
}

const fixedFour = "    command: [gunicorn]\n    master: gunicorn\n    port: 8000\n    scale: {strategy: noop, min: 4}\n"

// fleetOfOne is an agent with a node that obeys, and the variables of a planner there.
func fleetOfOne(t *testing.T) (*lab.Agent, *consul.Client, *obedient, []string) {
	t.Helper()
	a := lab.Consul(t, "-dev=false", "-server", "-bootstrap-expect=1", "-data-dir="+t.TempDir(), "-hcl", "performance { raft_multiplier = 1 }")
	c, err := consul.OpenAt(a.HTTP, "svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return a, c, serveNode(t, a, c), []string{"CONSUL_HTTP_ADDR=" + a.URL(), "SVC_STATE_DIR=" + t.TempDir(), "SVC_CONFIG="}
}

func toldOf(ctx context.Context, c *consul.Client, node, service string, count int) func() error {
	return func() error {
		w, err := c.Want(ctx, node)
		if err != nil {
			return err
		}
		for _, x := range w.Services {
			if x.Name == service && x.Count == count {
				return nil
			}
		}
		return fmt.Errorf("%s is told %v", node, w.Services)
	}
}

// A leader that is stopped past its session's end and goes on later writes
// nothing more; the one that ends well is followed at once.
func TestTwoLeadersNeverWrite(t *testing.T) {
	t.Parallel()
	a, c, _, env := fleetOfOne(t)
	appOf(t, c, "shop", "web", fixedFour)
	first := start(t, env, "run", "--listen", "")
	soon(t, 30*time.Second, "the first leader plans", toldOf(t.Context(), c, a.Node, "shop/web", 4))
	leader, err := c.Planner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := append(env[:len(env):len(env)], "SVC_STATE_DIR="+t.TempDir())
	second := start(t, other, "run", "--listen", "")

	first.signal(t, syscall.SIGSTOP)
	took := soon(t, time.Minute, "another one takes over", func() error {
		now, err := c.Planner(t.Context())
		if err == nil && now.Epoch <= leader.Epoch {
			err = fmt.Errorf("epoch %d leads", now.Epoch)
		}
		return err
	})
	t.Logf("taken over %.1f s after the leader was stopped", took.Seconds())
	size := 6
	if _, err := c.SetHand(t.Context(), "shop/web", &scale.Hand{Size: &size, Who: "test", Why: "test"}); err != nil {
		t.Fatal(err)
	}
	soon(t, 30*time.Second, "the second leader plans", toldOf(t.Context(), c, a.Node, "shop/web", 6))
	before, err := c.Want(t.Context(), a.Node)
	if err != nil {
		t.Fatal(err)
	}
	first.signal(t, syscall.SIGCONT)
	soon(t, 20*time.Second, "the first one notices", func() error {
		if !strings.Contains(first.says(), "leads no longer") {
			return fmt.Errorf("it says: %s", first.says())
		}
		return nil
	})
	after, err := c.Want(t.Context(), a.Node)
	if err != nil || after.Index != before.Index || after.Epoch <= leader.Epoch {
		t.Errorf("written by the first after it lost: %+v, before %+v, %v", after, before, err)
	}

	second.signal(t, syscall.SIGTERM)
	<-second.done
	if code := second.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("a planner told to stop ends with %d", code)
	}
	took = soon(t, 20*time.Second, "the first leads again", func() error {
		now, err := c.Planner(t.Context())
		if err == nil && now.Epoch <= after.Epoch {
			err = fmt.Errorf("epoch %d leads", now.Epoch)
		}
		return err
	})
	t.Logf("taken over %.1f s after the leader ended", took.Seconds())
}

// What one node or one key says wrong changes nothing for others.
func TestPoisonAndLiesChangeNothingForOthers(t *testing.T) {
	t.Parallel()
	a, c, n, env := fleetOfOne(t)
	appOf(t, c, "shop", "web", fixedFour)
	appOf(t, c, "blog", "web", fixedFour)
	put := func(key, value string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL()+"/v1/kv/"+key, strings.NewReader(value))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	put("svc/scale/want/ghost", `rm -rf /`)
	p := start(t, env, "run", "--listen", "")
	for _, service := range []string{"shop/web", "blog/web"} {
		soon(t, 30*time.Second, "planned", toldOf(t.Context(), c, a.Node, service, 4))
	}
	put("svc/apps/blog/current", `{"schema":1,"services":{"web":{"release":"../../x"}}}`)
	put("svc/scale/policy/00/blog/web", `{"schema":1,"size":-5}`)
	put("svc/scale/ctl/freeze/production", `{}`)
	put("svc/scale/announce/shop/web/x", `{"schema":1,"rps":1e300,"from":1,"until":2}`)
	lie := func(s *fleet.Sample) {
		for i := range s.Services {
			s.Services[i].Ready, s.Services[i].Starting = -7, 1<<40
		}
	}
	n.lie.Store(&lie)
	size := 9
	if _, err := c.SetHand(t.Context(), "shop/web", &scale.Hand{Size: &size, Who: "test", Why: "test"}); err != nil {
		t.Fatal(err)
	}
	soon(t, 30*time.Second, "the healthy service goes on", toldOf(t.Context(), c, a.Node, "shop/web", 9))
	if err := toldOf(t.Context(), c, a.Node, "blog/web", 4)(); err != nil {
		t.Errorf("the poisoned service: %v", err)
	}
	soon(t, 20*time.Second, "it is told", func() error {
		for _, want := range []string{"svc/scale/want/ghost", "svc/scale/policy/00/blog/web", "blog"} {
			if !strings.Contains(p.says(), want) {
				return fmt.Errorf("it does not name %s", want)
			}
		}
		return nil
	})
	if _, err := c.Want(t.Context(), "ghost"); err == nil || strings.Contains(err.Error(), "not found") {
		t.Errorf("a foreign value was overwritten: %v", err)
	}
	n.lie.Store(nil)
	soon(t, 30*time.Second, "the journal has it", func() error {
		text, err := os.ReadFile(filepath.Join(strings.TrimPrefix(env[1], "SVC_STATE_DIR="), "scaled", "journal.jsonl"))
		if err == nil && !strings.Contains(string(text), `"shop/web"`) {
			err = fmt.Errorf("%d bytes without it", len(text))
		}
		return err
	})
}

// Without any planner, set plans the one cycle that it needs; status, plan and history say what is.
func TestByHandWithoutAPlanner(t *testing.T) {
	t.Parallel()
	a, c, _, env := fleetOfOne(t)
	appOf(t, c, "shop", "web", fixedFour)
	call := func(args ...string) (string, int) {
		p := start(t, env, args...)
		<-p.done
		return p.says(), p.cmd.ProcessState.ExitCode()
	}
	soon(t, time.Minute, "once tells the node", func() error { // which may answer late
		if said, code := call("once"); code != 0 || !strings.Contains(said, "told "+a.Node+": shop/web 4") {
			return fmt.Errorf("%d %s", code, said)
		}
		return nil
	})
	if said, code := call("set", "--size", "7", "--why", "sale", "shop/web"); code != 0 || !strings.Contains(said, "no planner leads: told "+a.Node+" by this call") {
		t.Errorf("set: %d %s", code, said)
	}
	if err := toldOf(t.Context(), c, a.Node, "shop/web", 7)(); err != nil {
		t.Error(err)
	}
	for _, row := range []struct {
		args string
		code int
		want []string
	}{
		{"status", 0, []string{"nobody plans", "shop/web", "7"}},
		{"history shop/web", 0, []string{"4     7", "by-hand"}},
		{"plan shop/web", 0, []string{"shop/web", "7"}},
		{"status shop/none", 12, []string{"the planner has said nothing of it"}},
		{"announce --rps 50 --hold 10m --id push shop/web", 0, []string{"announced push for shop/web: 50 requests per second"}},
		{"announce --rps 50 --id push shop/web", 14, []string{"it is there already"}},
		{"announcements", 0, []string{"push", "50 requests per second"}},
		{"cancel shop/web push", 0, []string{"taken back"}},
		{"cancel shop/web push", 12, []string{"not found"}},
		{"freeze --mode no-change --for 1h --why night all", 0, []string{"everything frozen (no-change) until"}},
		{"freeze", 0, []string{"no-change", "night"}},
		{"set --clear shop/web", 0, []string{"taken back"}},
		{"once", 0, []string{"nothing to change"}},
		{"thaw all", 0, []string{"everything thawed"}},
		{"thaw all", 0, []string{"nothing to change"}},
		{"pool add --class vip --loans 1 front", 0, []string{"pool front"}},
		{"pool lend --for 1h " + a.Node + " front", 0, []string{"lent to pool front until"}},
		{"pool list", 0, []string{"front", "on loan from default"}},
		{"pool remove front " + a.Node, 0, []string{"out of pool front"}},
		{"pool drain --why broken " + a.Node, 0, []string{"is emptied"}},
		{"pool list", 0, []string{"draining", "broken"}},
		{"pool drain --undo " + a.Node, 0, []string{"takes part again"}},
		{"pool drain nowhere", 12, []string{"node nowhere has no monitor"}},
		{"set --size 5 --min 3 shop/web", 10, []string{"either --size or bounds"}},
	} {
		said, code := call(strings.Fields(row.args)...)
		if code != row.code {
			t.Errorf("%s: exit %d, want %d: %s", row.args, code, row.code, said)
		}
		for _, want := range row.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: said %q, want %q in it", row.args, said, want)
			}
		}
	}
	records, err := c.Records(t.Context(), "", time.Time{})
	if err != nil || len(records) < 10 {
		t.Errorf("%d records in the journal, %v", len(records), err)
	}
}
