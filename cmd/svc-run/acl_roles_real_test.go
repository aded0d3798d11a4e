//go:build real

package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// What each role of an app may do, and what it is refused, on an agent that denies by default.
func TestRolesOfAnAppMayDoWhatTheyAreForAndNoMore(t *testing.T) {
	r := aclRig(t)
	r.release("r1", "good", plainSpec)
	r.release("r2", "good", plainSpec)
	r.kv("apps/"+r.app+"/config/GREETING", "hello")
	r.kv("apps/"+r.app+"/secrets/SESSION_KEY", "s3cret-of-the-test")
	r.kv("apps/other/releases/r1", "x")
	r.allowDNS()
	tokens := map[string]string{}
	for _, role := range [][]string{{"owner", r.app}, {"member", r.app}, {"node", r.agent.Node, "--apps", r.app}, {"dns", r.agent.Node}, {"scaler"}} {
		tokens[role[0]] = r.tokenFile("role-"+role[0], r.must(append([]string{"acl"}, role...)...).stdout)
	}
	as := func(role string) {
		t.Helper()
		t.Setenv("CONSUL_HTTP_TOKEN", "")
		t.Setenv("CONSUL_HTTP_TOKEN_FILE", tokens[role])
	}
	own := "key \"svc/apps/" + r.app + "/current\""
	for _, row := range []struct {
		role string
		args []string
		code int
		says string // on stderr, of what is refused
	}{
		{"dns", []string{"promote", r.app, "r1"}, 1, "not allowed"},
		{"scaler", []string{"promote", r.app, "r1"}, 1, own},
		{"node", []string{"promote", r.app, "r1"}, 1, own},
		{"member", []string{"up", r.service(), "--release", "r1", "--promote"}, 0, ""},
		{"member", []string{"config", r.service()}, 0, ""},
		{"member", []string{"deploy", "begin", r.app, "--release", "r2"}, 0, ""},
		{"member", []string{"deploy", "step", r.app}, 0, ""},
		{"member", []string{"deploy", "advance", r.app, "--over"}, 0, ""},
		{"member", []string{"deploy", "step", r.app}, 0, ""},
		{"member", []string{"deploy", "advance", r.app, "--over"}, 0, ""},
		{"member", []string{"deploy", "finish", r.app}, 0, ""},
		{"member", []string{"audit", r.app}, 0, ""},
		{"member", []string{"promote", "other", "r1"}, 1, "not allowed"},
		{"node", []string{"restore"}, 0, ""},
		{"node", []string{"deploy", "begin", r.app, "--release", "r1"}, 1, "not allowed"},
		{"owner", []string{"rollback", r.service(), "--promote"}, 0, ""},
		{"owner", []string{"promote", "other", "r1"}, 1, "not allowed"},
		{"owner", []string{"down", r.service()}, 0, ""},
	} {
		as(row.role)
		got := r.run(row.args...)
		if got.code != row.code || row.says != "" && !strings.Contains(got.stderr, row.says) {
			t.Errorf("%s: svc-run %s: exit %d, want %d and %q\n%s%s", row.role, strings.Join(row.args, " "), got.code, row.code, row.says, got.stdout, got.stderr)
		}
	}
	key := "apps/" + r.app + "/config/GREETING"
	for role, allowed := range map[string]bool{"owner": true, "member": false, "scaler": false, "node": false, "dns": false} {
		secret, err := os.ReadFile(tokens[role])
		if err != nil {
			t.Fatal(err)
		}
		if got := r.mayWrite(string(secret), key); got != allowed {
			t.Errorf("%s writes config: %v, want %v", role, got, allowed)
		}
	}
}

// mayWrite reports whether a token may write a key below the prefix.
func (r *rig) mayWrite(token, key string) bool {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut, r.agent.URL()+"/v1/kv/svc/"+key, strings.NewReader("x"))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", token)
	res, err := r.agent.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusForbidden {
		r.t.Fatalf("write %s: %s", key, res.Status)
	}
	return res.StatusCode == http.StatusOK
}
