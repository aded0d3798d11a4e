//go:build real

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"svckit/lab"
	"svckit/lib/consul"

	"github.com/hashicorp/go-hclog"
)

// aclRig is a node whose agent denies everything by default. The rig itself has the root token.
func aclRig(t *testing.T) *rig {
	t.Helper()
	r := newRigAlone(t, "-hcl", `acl { enabled = true, default_policy = "deny", tokens { initial_management = "`+lab.RootToken+`", agent = "`+lab.RootToken+`" } }`)
	t.Setenv("CONSUL_HTTP_ADDR", r.agent.URL())
	t.Setenv("CONSUL_HTTP_TOKEN", lab.RootToken)
	var err error
	if r.consul, err = consul.Open("svc", hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	return r
}

// policy is the one that docs/acl.md gives, for this rig's app and node.
func (r *rig) policy() string {
	r.t.Helper()
	text, err := os.ReadFile("../../docs/acl.md")
	if err != nil {
		r.t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindSubmatch(text)
	if found == nil {
		r.t.Fatal("docs/acl.md has no policy")
	}
	return strings.NewReplacer("shortener", r.app, "node1", r.agent.Node).Replace(string(found[1]))
}

// tokenFile makes a token of a policy and returns the file that holds it.
func (r *rig) tokenFile(name, rules string) string {
	r.t.Helper()
	name = r.app + "-" + name
	r.consulPut("/v1/acl/policy", map[string]any{"Name": name, "Rules": rules})
	var made struct{ SecretID string }
	if err := json.Unmarshal(r.consulPut("/v1/acl/token", map[string]any{"Description": name, "Policies": []any{map[string]string{"Name": name}}}), &made); err != nil {
		r.t.Fatal(err)
	}
	file := filepath.Join(r.t.TempDir(), "token")
	writeFile(r.t, file, made.SecretID)
	return file
}

func (r *rig) consulPut(path string, body any) []byte {
	r.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPut, r.agent.URL()+path, bytes.NewReader(text))
	req.Header.Set("X-Consul-Token", lab.RootToken)
	res, err := r.agent.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	out, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("PUT %s: %s %s", path, res.Status, out)
	}
	return out
}

func TestTheDocumentedPolicyIsEnoughForUpAndItsDNS(t *testing.T) {
	r := aclRig(t)
	r.kv("apps/"+r.app+"/config/GREETING", "hello")
	r.kv("apps/"+r.app+"/secrets/SESSION_KEY", "s3cret-of-the-test")
	text := plainSpec + "    config: {env: [GREETING], secrets: [SESSION_KEY]}\n"
	r.release("r1", "good", text)
	r.release("r2", "good", text)
	r.set("CONSUL_HTTP_TOKEN", "")
	r.set("CONSUL_HTTP_TOKEN_FILE", r.tokenFile("deploy", r.policy()))
	r.allowDNS()
	for _, args := range [][]string{
		{"up", r.service(), "--release", "r1", "--promote"},
		{"up", r.service(), "--release", "r2"},
		{"rollback", r.service()},
		{"restore"},
		{"ps"},
		{"config", r.service()},
		{"releases", r.app},
		{"audit", r.app},
		{"down", r.service()},
	} {
		got := r.must(args...)
		if strings.Contains(got.stderr, "not allowed") || strings.Contains(got.stderr, "WARN") {
			t.Errorf("svc-run %s says:\n%s", strings.Join(args, " "), got.stderr)
		}
	}
}

// allowDNS gives the agent the token by which its DNS answers.
func (r *rig) allowDNS() {
	r.t.Helper()
	secret, err := os.ReadFile(r.tokenFile("dns", `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`))
	if err != nil {
		r.t.Fatal(err)
	}
	r.consulPut("/v1/agent/token/default", map[string]string{"Token": string(secret)})
}

func TestATokenThatMayNotRegisterIsToldSoAndNothingChanges(t *testing.T) {
	r := aclRig(t)
	r.release("r1", "good", plainSpec)
	r.release("r2", "good", plainSpec)
	r.allowDNS()
	r.must("up", r.service(), "--release", "r1")
	before := r.of("web")
	rule := fmt.Sprintf(`service_prefix "%s-"`, r.app)
	policy := r.policy()
	if !strings.Contains(policy, rule) {
		t.Fatalf("the policy has no %s", rule)
	}
	r.set("CONSUL_HTTP_TOKEN", "")
	r.set("CONSUL_HTTP_TOKEN_FILE", r.tokenFile("reader", strings.Replace(policy, rule, `service_prefix "unrelated-"`, 1)+` service_prefix "" { policy = "read" }`))
	got := r.run("up", r.service(), "--release", "r2")
	for _, want := range []string{"not allowed", fmt.Sprintf(`service "%s-web" { policy = "write" }`, r.app), "still serving: " + before[0].Name} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr does not say %q:\n%s", want, got.stderr)
		}
	}
	if got.code != 1 {
		t.Errorf("exit %d, want 1", got.code)
	}
	if containers, _ := r.state(); !slices.Equal(containers, []string{"r1 running"}) || r.of("web")[0].ID != before[0].ID {
		t.Errorf("left %q", containers)
	}
	if e := r.endpoints(); len(e) != 1 || e[0].Port != before[0].Port {
		t.Errorf("DNS answers %+v", e)
	}
	secret, _ := os.ReadFile(r.env["CONSUL_HTTP_TOKEN_FILE"])
	if strings.Contains(got.stderr, string(secret)) {
		t.Error("the token is in the output")
	}
}

func TestALeftRegistrationOfAnotherAppDoesNotStopUp(t *testing.T) {
	r := aclRig(t)
	r.release("r1", "good", plainSpec)
	r.allowDNS()
	r.consulPut("/v1/agent/service/register", map[string]any{
		"ID": "foreign-web-node1-00000001", "Name": "foreign-web", "Address": "127.0.0.1", "Port": 1,
		"Meta":  map[string]string{"svckit": "1", "app": "foreign", "service": "web", "container": strings.Repeat("0", 64)},
		"Check": map[string]string{"TCP": "127.0.0.1:1", "Interval": "1s", "Status": "critical"},
	})
	r.set("CONSUL_HTTP_TOKEN", "")
	r.set("CONSUL_HTTP_TOKEN_FILE", r.tokenFile("seeing", r.policy()+` service_prefix "" { policy = "read" }`))
	got := r.must("up", r.service())
	if !strings.Contains(got.stderr, "registration without a container stays") {
		t.Errorf("nothing is said of it:\n%s", got.stderr)
	}
	if e := r.endpoints(); len(e) != 1 {
		t.Errorf("endpoints %+v", e)
	}
}
