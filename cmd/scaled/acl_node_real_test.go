//go:build real

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/node"
)

// aclNode is a node whose agent denies everything by default, with a planner that
// is the test: it writes wishes, and looks at what a node with a token does of them.
type aclNode struct {
	t      *testing.T
	agent  *lab.Agent
	root   *consul.Client
	engine *docker.Engine
	app    string
	env    []string
	lease  *consul.Lease
	gen    uint64
}

const aclSpec = "    port: 8000\n    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 500ms, deadline: 60s}\n    stop: {timeout: 5s, drain: 100ms}\n" +
	"    config: {env: [GREETING, REGION], secrets: [SESSION_KEY]}\n    scale: {unit: instances}\n"

func newACLNode(t *testing.T) *aclNode {
	t.Helper()
	r := &aclNode{t: t, app: fmt.Sprintf("n%06x", rand.Uint32()&0xffffff)}
	r.agent = lab.Consul(t, "-hcl", `acl { enabled = true, default_policy = "deny", tokens { initial_management = "`+lab.RootToken+`", agent = "`+lab.RootToken+`" } }`)
	for name, value := range map[string]string{"CONSUL_HTTP_ADDR": r.agent.URL(), "CONSUL_HTTP_TOKEN": lab.RootToken, "DOCKER_HOST": lab.DockerHost(t)} {
		t.Setenv(name, value)
	}
	var err error
	if r.root, err = consul.Open(r.prefix(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.Open(t.Context(), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	low := 30000 + rand.IntN(20)*100
	r.env = []string{
		"CONSUL_HTTP_TOKEN=", "SVC_CONFIG=", "SVC_PREFIX=" + r.prefix(), "SVC_RUN_DIR=" + lab.RunDir(t), "SVC_STATE_DIR=" + t.TempDir(), "SVC_CODE_DIR=" + t.TempDir(),
		"SVC_DNS_MARGIN=100ms", "NOTIFY_SOCKET=", fmt.Sprintf("SVC_PORTS=%d-%d", low, low+99),
	}
	dns, err := os.ReadFile(granted(t, r.agent, []string{`service_prefix "" { policy = "read" }`, `node_prefix "" { policy = "read" }`}))
	if err != nil {
		t.Fatal(err)
	}
	r.put("/v1/agent/token/default", strings.NewReader(`{"Token": "`+string(dns)+`"}`))
	image := lab.AppImage(t, lab.Registry(t), r.app, "r1", "good")
	appOfImage(t, r.root, image, r.app, "web", aclSpec)
	r.kv("apps/"+r.app+"/config/GREETING", "hello")
	r.kv("shared/config/REGION", "north")
	r.kv("apps/"+r.app+"/secrets/SESSION_KEY", "secret-of-this-test")
	h, err := node.Holder("test", r.agent.Node, "planner", time.Now())
	if err == nil {
		r.lease, err = r.root.Lead(t.Context(), h, "", time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// prefix keeps the tests of others on the same engine from taking these services for theirs.
func (r *aclNode) prefix() string { return "svcacl" }

func (r *aclNode) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := r.engine.Instances(ctx, r.app, "")
	if err != nil {
		r.t.Error(err)
	}
	for _, i := range list {
		if err := r.engine.Remove(ctx, i.ID); err != nil {
			r.t.Error(err)
		}
	}
	_ = r.engine.Close()
}

// wish tells the node how many instances to run.
func (r *aclNode) wish(count int) {
	r.t.Helper()
	r.gen++
	now, err := r.root.Want(r.t.Context(), r.agent.Node)
	if err != nil && !strings.Contains(err.Error(), "not found") {
		r.t.Fatal(err)
	}
	written, err := r.lease.SetWants(r.t.Context(), []fleet.Want{{
		Node: r.agent.Node, Gen: r.gen, At: time.Now().UTC(), Index: now.Index,
		Services: []fleet.Allotment{{Name: r.app + "/web", Unit: "instances", Count: count}},
	}})
	if err != nil || len(written.Conflicts) > 0 {
		r.t.Fatal(written, err)
	}
}

// reached is nil when the node says that it did the last wish.
func (r *aclNode) reached(count int) error {
	haves, _, err := r.root.Haves(r.t.Context())
	if err != nil {
		return err
	}
	for _, h := range haves {
		for _, s := range h.Services {
			if h.Node == r.agent.Node && h.Gen == r.gen && s.Name == r.app+"/web" && s.Ready == count && s.Error == "" {
				return nil
			}
		}
	}
	return fmt.Errorf("it says %+v", haves)
}

// seen is nil when the monitor is known to planners.
func (r *aclNode) seen() error {
	monitors, err := r.root.Monitors(r.t.Context())
	if err == nil && len(monitors) != 1 {
		err = fmt.Errorf("monitors %v", monitors)
	}
	return err
}

// rules are those that docs/acl.md gives a node, for this app and node.
func (r *aclNode) rules() []string {
	r.t.Helper()
	return rulesOf(r.t, "acl.md", "## scaled node", r.app, r.agent.Node, r.prefix())
}

// rulesOf are the rules of the first policy after a heading of a page of docs, for this app, node and prefix.
func rulesOf(t *testing.T, page, heading, app, node, prefix string) (out []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n" + regexp.QuoteMeta(heading) + "\n.*?```hcl\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no policy after %s", page, heading)
	}
	for line := range strings.Lines(strings.NewReplacer("shortener", app, "node1", node, `"svc/`, `"`+prefix+`/`).Replace(string(found[1]))) {
		if rule, _, _ := strings.Cut(line, "#"); strings.TrimSpace(rule) != "" {
			out = append(out, strings.TrimSpace(rule))
		}
	}
	return out
}

// A node works with exactly the rights that docs/acl.md gives it. Without any one
// of them something that was wished or that planners need does not come, and it says which is missing.
func TestANodeNeedsTheRightsOfItsBook(t *testing.T) {
	r := newACLNode(t)
	rules := r.rules()
	run := func(rules []string) *program {
		port := lab.FreePorts(t, 1)[0]
		env := append(r.env[:len(r.env):len(r.env)], "CONSUL_HTTP_TOKEN_FILE="+granted(t, r.agent, rules), "SVC_STATE_DIR="+t.TempDir())
		return start(t, env, "node", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	}
	p := run(rules)
	for _, count := range []int{1, 2, 0} {
		r.wish(count)
		soon(t, 90*time.Second, fmt.Sprintf("%d instances with the rights of the book", count), func() error { return r.reached(count) })
	}
	soon(t, 30*time.Second, "planners find it", r.seen)
	p.end(t)
	if said := p.says(); strings.Contains(said, "ermission") || strings.Contains(said, "not allowed") {
		t.Errorf("with the rights of the book it says:\n%s", said)
	}
	for n, rule := range rules {
		p := run(append(rules[:n:n], rules[n+1:]...))
		r.wish(n + 1) // one more than before needs all of them
		soon(t, 60*time.Second, "it says what it may not do without "+rule, func() error {
			said := p.says()
			if !strings.Contains(said, "ermission") && !strings.Contains(said, "not allowed") && !strings.Contains(said, "REGION") { // the last: a config key that it does not find
				return fmt.Errorf("it says:\n%s", said)
			}
			return nil
		})
		p.end(t)
	}
}

// kv puts a value into Consul.
func (r *aclNode) kv(key, value string) {
	r.t.Helper()
	r.put("/v1/kv/"+r.prefix()+"/"+key, strings.NewReader(value))
}

func (r *aclNode) put(path string, body io.Reader) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut, r.agent.URL()+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", lab.RootToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s", path, res.Status)
	}
}

// end ends a daemon as systemd does.
func (p *program) end(t *testing.T) {
	t.Helper()
	select {
	case <-p.done: // it has ended by itself
		return
	default:
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	<-p.done
}
