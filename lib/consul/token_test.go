package consul

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestAReplacedTokenFileIsReadAgain(t *testing.T) {
	var sent string
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("X-Consul-Token")
		fmt.Fprint(w, `"10.0.0.1:8300"`)
	}))
	defer agent.Close()
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL)
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
	write("first\n")
	c, err := Open("svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func()
		want   string
	}{
		{"as it is at the start", func() {}, "first"},
		{"replaced", func() { write("the second\n") }, "the second"},
		{"emptied", func() { write("\n") }, "the second"},
		{"gone", func() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, "the second"},
		{"there again", func() { write("third") }, "third"},
	} {
		row.change()
		if _, err := c.Leader(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sent != row.want {
			t.Errorf("%s: the agent got %q, want %q", row.name, sent, row.want)
		}
	}
}
