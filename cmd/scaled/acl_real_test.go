//go:build real

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
)

func asRoot(t *testing.T, a *lab.Agent, path string, doc, into any) {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	asRootText(t, a, path, string(text), into)
}

// asRootText puts a text as it is.
func asRootText(t *testing.T, a *lab.Agent, path, text string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL()+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", lab.RootToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// granted is a file with a new token of these rules.
func granted(t *testing.T, a *lab.Agent, rules []string) string {
	t.Helper()
	type object map[string]any
	var policy, token struct{ ID, SecretID string }
	asRoot(t, a, "/v1/acl/policy", object{"Name": fmt.Sprintf("p%d", time.Now().UnixNano()), "Rules": strings.Join(rules, "\n")}, &policy)
	asRoot(t, a, "/v1/acl/token", object{"Policies": []object{{"ID": policy.ID}}}, &token)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.SecretID), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A planner works with exactly the rights that docs/scaled.md gives it, and says
// which one is missing when one of them is.
func TestAPlannerNeedsTheRightsOfItsBook(t *testing.T) {
	a := lab.Consul(t, "-hcl", `acl { enabled = true, default_policy = "deny", tokens { initial_management = "`+lab.RootToken+`", agent = "`+lab.RootToken+`" } }`)
	for name, value := range map[string]string{"CONSUL_HTTP_ADDR": a.URL(), "CONSUL_HTTP_TOKEN": lab.RootToken} {
		t.Setenv(name, value)
	}
	root, err := consul.Open("svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	serveNode(t, a, root)
	appOf(t, root, "shop", "web", fixedFour)
	rules := rulesOf(t, "scaled.md", "## Rights", "shop", a.Node, "svc")
	call := func(rules []string, args ...string) (string, int) {
		p := start(t, []string{"CONSUL_HTTP_TOKEN=", "CONSUL_HTTP_TOKEN_FILE=" + granted(t, a, rules), "SVC_STATE_DIR=" + t.TempDir(), "SVC_CONFIG="}, args...)
		<-p.done
		return p.says(), p.cmd.ProcessState.ExitCode()
	}
	for _, args := range []string{"once", "set --size 6 shop/web", "freeze --for 1h all", "thaw all", "announce --rps 5 shop/web", "status", "pool drain " + a.Node, "plan shop/web"} {
		if said, code := call(rules, strings.Fields(args)...); code != 0 || strings.Contains(said, "no audit record") {
			t.Errorf("%s: exit %d: %s", args, code, said)
		}
	}
	for n, rule := range rules {
		less := append(rules[:n:n], rules[n+1:]...)
		said, code := call(less, "set", "--size", fmt.Sprint(7+n), "shop/web")
		named := regexp.MustCompile(`"([^"]*)"`).FindString(rule)
		if code == 0 && !strings.Contains(said, "no audit record") || !strings.Contains(said, "permission") && !strings.Contains(said, "not allowed") {
			t.Errorf("without %s: exit %d: %s", rule, code, said)
		}
		t.Logf("without %s (%s): exit %d: %s", rule, named, code, strings.TrimSpace(said))
	}
}
