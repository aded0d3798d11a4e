//go:build real

package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// streamRules are those of docs/events.md, one a line.
func streamRules(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```hcl\n(.*?)\n```").FindSubmatch(text)
	if found == nil {
		t.Fatal("docs/events.md has no policy")
	}
	return strings.Split(string(found[1]), "\n")
}

// TestTheStreamNeedsTheRightsOfItsBook tells all with exactly these, and says what
// it cannot see without one of them. Consul hides services and nodes from a token
// that may not read them, and refuses the rest.
func TestTheStreamNeedsTheRightsOfItsBook(t *testing.T) {
	r := aclRig(t)
	r.allowDNS()
	r.release("r1", "good", plainSpec)
	r.must("up", r.service(), "--release", "r1", "--promote")
	for _, key := range []string{"deploy/" + r.app, "scale/service/" + r.app + "/web"} { // what is not there is not hidden either
		r.kv(key, "no document")
	}
	instance := `"kind":"instance","event":"new"`
	r.set("CONSUL_HTTP_TOKEN", "")
	rules := streamRules(t)
	for n := -1; n < len(rules); n++ {
		name, left := "all", strings.Join(rules, "\n")
		if n >= 0 {
			name, left = rules[n], strings.Join(append(append([]string{}, rules[:n]...), rules[n+1:]...), "\n")
		}
		r.set("CONSUL_HTTP_TOKEN_FILE", r.tokenFile(fmt.Sprintf("events%d", n+1), left))
		got := r.run("events")
		told, refused := strings.Contains(got.stdout, instance), strings.Contains(got.stdout, `"event":"refused"`)
		switch {
		case n < 0:
			if got.code != 0 || !told || refused || strings.Contains(got.stderr, "not allowed") {
				t.Errorf("with all rights: exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
		case strings.HasPrefix(name, "key_prefix"):
			if !told || !refused {
				t.Errorf("without %s: instances told %t, refused %t\n%s%s", name, told, refused, got.stdout, got.stderr)
			}
		case strings.HasPrefix(name, "agent_prefix"):
			if got.code == 0 || !strings.Contains(got.stderr, "not allowed") {
				t.Errorf("without %s: exit %d\n%s", name, got.code, got.stderr)
			}
		default:
			if told {
				t.Errorf("without %s instances are told all the same", name)
			}
		}
	}
}
