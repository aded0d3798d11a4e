//go:build real

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"svckit/lab"
)

// guarded is an agent that denies everything by default, with two instances of a service.
func guarded(t *testing.T) *lab.Agent {
	t.Helper()
	agent := lab.Consul(t, "-hcl", `acl { enabled = true, default_policy = "deny", tokens { initial_management = "`+lab.RootToken+`", agent = "`+lab.RootToken+`" } }`)
	for n := range 2 {
		asRoot(t, agent, http.MethodPut, "/v1/agent/service/register", object{"ID": fmt.Sprintf("web%d", n), "Name": "web", "Address": fmt.Sprintf("10.0.0.%d", n+1), "Port": 80}, nil)
	}
	return agent
}

func asRoot(t *testing.T, agent *lab.Agent, method, path string, doc, into any) {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, agent.URL()+path, bytes.NewReader(text))
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
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
	if into != nil {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
}

// documented are the rules that docs/acl.md gives svc-dns.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/acl.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)## svc-dns.*?```hcl\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("docs/acl.md has no policy of svc-dns")
	}
	return strings.Split(strings.TrimSpace(string(found[1])), "\n")
}

// grant writes a new token of these rules to a file.
func grant(t *testing.T, agent *lab.Agent, file string, rules []string) (accessor string) {
	t.Helper()
	var policy struct{ ID string }
	asRoot(t, agent, http.MethodPut, "/v1/acl/policy", object{"Name": fmt.Sprintf("dns%d", time.Now().UnixNano()), "Rules": strings.Join(rules, "\n")}, &policy)
	var token struct{ SecretID, AccessorID string }
	asRoot(t, agent, http.MethodPut, "/v1/acl/token", object{"Policies": []object{{"ID": policy.ID}}}, &token)
	if err := os.WriteFile(file+".new", []byte(token.SecretID+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return token.AccessorID
}

const webName = "web.service.consul"

func TestTheDocumentedRightsAreEnoughAndARevokedTokenCostsNothing(t *testing.T) {
	agent := guarded(t)
	file := filepath.Join(t.TempDir(), "token")
	accessor := grant(t, agent, file, documented(t))
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
	s := newServer(t, agent.URL())
	for _, name := range []string{webName, "node1.node.consul", "WEB.service.dc1.consul"} {
		want := 2
		if strings.Contains(name, "node1") {
			want = 1
		}
		within(t, soon, name, func() error { return whole(s, name, want) })
	}
	if out, code := s.call("lookup", "nothing.service.consul"); code != 0 || !strings.Contains(out, "does not exist") { // Consul itself is asked
		t.Errorf("lookup ends with %d: %s", code, out)
	}
	within(t, soon, "snapshot", func() error { return written(s) })
	if log := s.log.String(); strings.Contains(log, "[WARN]") || strings.Contains(log, "[ERROR]") {
		t.Errorf("with all rights the log says\n%s", log)
	}

	watch := watchName(s.at, webName, 2)
	asRoot(t, agent, http.MethodDelete, "/v1/acl/token/"+accessor, nil, nil)
	register := object{"ID": "web2", "Name": "web", "Address": "10.0.0.3", "Port": 80}
	asRoot(t, agent, http.MethodPut, "/v1/agent/service/register", register, nil) // ends the blocking query
	within(t, soon, "the metric tells", func() error {
		if n := s.metric("svc_dns_refused_subjects"); n < 1 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	for _, want := range []string{"consul refuses to tell: the last good answers stay in force", "ACL not found", "CONSUL_HTTP_TOKEN_FILE"} {
		within(t, soon, "the log says "+want, func() error { return s.logged(want) })
	}
	if out, code := s.call("lookup", webName); code != 0 || !strings.Contains(out, "ACL not found") {
		t.Errorf("lookup ends with %d: %s", code, out)
	}
	watch.atLeast(t, 200)
	watch.mustBeWhole(t, "the token is revoked")
	if code := s.terminate(); code != 0 {
		t.Errorf("TERM ends it with %d", code)
	}
	s.start() // with a token that nobody knows
	if err := whole(s, webName, 2); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	grant(t, agent, file, documented(t))
	within(t, soon, "a new token in the file is read", func() error { return whole(s, webName, 3) })
}

// logged is nil when the log says it, quoted or not.
func (s *server) logged(want string) error {
	if log := s.log.String(); !strings.Contains(strings.ReplaceAll(log, `\"`, `"`), want) {
		return errors.New(log)
	}
	return nil
}

func written(s *server) error {
	if s.metric("svc_dns_snapshot_timestamp_seconds") == 0 || s.metric("svc_dns_snapshot_pending") != 0 {
		return fmt.Errorf("not written")
	}
	return nil
}

// Each rule of docs/acl.md is needed, and what is missing is named.
func TestARightLessIsSaid(t *testing.T) {
	agent := guarded(t)
	rules := documented(t)
	for n, want := range []string{
		`service_prefix "" { policy = "read" }`,
		`node_prefix "" { policy = "read" }`,
		`agent "node1" { policy = "read" }`,
	} {
		t.Run(want, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			grant(t, agent, file, append(append([]string(nil), rules[:n]...), rules[n+1:]...))
			t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
			s := prepareServer(t, agent.URL())
			s.launch()
			if strings.HasPrefix(want, "agent") { // it cannot know whose names it is to answer
				select {
				case <-s.done:
				case <-time.After(time.Minute):
					t.Error("it runs all the same")
				}
				if code := s.cmd.ProcessState.ExitCode(); code != 1 {
					t.Errorf("exit %d, want 1", code)
				}
			} else {
				within(t, soon, "SERVFAIL", func() error {
					m, err := ask(s.at, "udp", webName, dns.TypeA, 0)
					if err == nil && m.Rcode != dns.RcodeServerFailure {
						err = fmt.Errorf("%v", m)
					}
					return err
				})
				if out, code := s.call("lookup", webName); code != 1 {
					t.Errorf("lookup ends with %d, want 1: %s", code, out)
				}
			}
			within(t, soon, "the log names the rule", func() error { return s.logged(want) })
		})
	}
}
