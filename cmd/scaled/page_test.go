package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svckit/lib/lead"
	"svckit/lib/nodeagent"
	"svckit/lib/planner"
)

// seenFleet is what a planner shows after some cycles of the fleet of the goldens.
func seenFleet(t *testing.T) *seen {
	t.Helper()
	text, err := os.ReadFile(fleetFile)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := planner.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(snapshot.At, 0)
	s := &seen{now: func() time.Time { return now }, trail: trail{}}
	s.leads(true, 3)
	for range 800 {
		snapshot.At += 5
		now = time.Unix(snapshot.At, 0)
		plan := planner.Decide(snapshot)
		every := map[string]planner.Status{}
		for _, v := range plan.Services {
			every[v.Name] = planner.Next(planner.Status{}, v, v.Decision.Size, "web", "", nil)
		}
		alarms := []lead.Alarm{{Service: "shop/web", Code: "stuck", Since: 5, Words: "3 missing"}}
		s.cycled(lead.Cycle{At: now, Snapshot: snapshot, Plan: plan, Every: every, Alarms: alarms}, time.Millisecond, nil)
	}
	return s
}

func get(h http.Handler, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestThePageShowsTheFleetAndEachService(t *testing.T) {
	s := seenFleet(t)
	h := pages(s)
	for path, want := range map[string][]string{
		"/":                 {"shop/web", "This planner leads", "3 missing", "Frozen: old/web", "moves out on Friday", "class=\"spark\"", "draining", "gone"},
		"/service/shop/web": {"/ shop/web", "class=\"chart\"", "all ready", "min"},
	} {
		w := get(h, path, nil)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, w.Code)
		}
		for _, text := range want {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s has no %q", path, text)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	for _, path := range []string{"/service/shop/none", "/service/shop", "/x", "/service/a/b/c"} {
		if w := get(h, path, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if n := len(s.trail["shop/web"]); n != keepPoints {
		t.Errorf("%d points are kept", n)
	}
}

func TestAStandbyNamesTheLeader(t *testing.T) {
	s := &seen{now: time.Now, trail: trail{}}
	s.led("node7")
	if body := get(pages(s), "/", nil).Body.String(); !strings.Contains(body, "node7 leads") || strings.Contains(body, "Nobody leads") {
		t.Errorf("the page of a planner that waits: %s", body)
	}
	s.led("")
	if body := get(pages(s), "/", nil).Body.String(); !strings.Contains(body, "Nobody leads") {
		t.Error("the page does not say that nobody leads")
	}
}

func TestThePageAsksForTheTokenBeyondTheLoopback(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a-token-of-some-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := (nodeagent.Access{TokenFile: file}).Guard(pages(seenFleet(t)))
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		change func(*http.Request)
		code   int
	}{
		"nobody":         {nil, http.StatusUnauthorized},
		"a wrong one":    {func(r *http.Request) { r.SetBasicAuth("ana", "wrong") }, http.StatusUnauthorized},
		"as a password":  {func(r *http.Request) { r.SetBasicAuth("ana", "a-token-of-some-length") }, http.StatusOK},
		"as a bearer":    {func(r *http.Request) { r.Header.Set("Authorization", "Bearer a-token-of-some-length") }, http.StatusOK},
		"as a user name": {func(r *http.Request) { r.SetBasicAuth("a-token-of-some-length", "") }, http.StatusUnauthorized},
	} {
		if w := get(h, "/", row.change); w.Code != row.code {
			t.Errorf("%s: %d, want %d", name, w.Code, row.code)
		}
	}
	if _, err := serve("10.0.0.5:9521", &seen{}, nodeagent.Access{}); err == nil || !strings.Contains(err.Error(), "everybody in the network") {
		t.Errorf("served to everybody: %v", err)
	}
	if _, err := serve("9521", &seen{}, nodeagent.Access{}); err == nil {
		t.Error("no address was taken for one")
	}
}
