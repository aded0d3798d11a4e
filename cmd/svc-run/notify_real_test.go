//go:build real

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/notify"
)

func TestAFailedUpIsToldToTheAppsReceivers(t *testing.T) {
	told := make(chan notify.Message, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var m notify.Message
		if err := json.NewDecoder(req.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		told <- m
	}))
	defer receiver.Close()
	r := newRig(t)
	text := "notify: [{webhook: \"" + receiver.URL + "/token-of-the-team\"}, {webhook: \"http://127.0.0.1:1/nobody-there\"}]\n" +
		plainSpec
	r.release("r1", "good", text)
	r.must("up", r.service())
	r.release("r2", "bad", strings.Replace(text, "deadline: 20s", "deadline: 4s", 1))
	if got := r.run("up", r.service(), "--release", "r2", "--dry-run"); got.code != 0 || len(told) != 0 {
		t.Errorf("a dry run: exit %d, %d messages", got.code, len(told))
	}
	got := r.run("up", r.service(), "--release", "r2")
	if got.code != int(fault.Unhealthy) {
		t.Fatalf("exit %d\n%s", got.code, got.stderr)
	}
	if len(told) != 1 {
		t.Fatalf("%d messages, want 1\n%s", len(told), got.stderr)
	}
	m := <-told
	if m.Schema != 1 || m.Event != "up failed" || m.Kind != "unhealthy" || m.App != r.app || m.Service != "web" || m.Node != "node1" || m.Release != "r2" ||
		!strings.Contains(m.Message, "did not pass once before the deadline") || !strings.Contains(strings.Join(m.Detail, "\n"), "testapp r2 starts") {
		t.Errorf("told %+v", m)
	}
	if !strings.Contains(got.stderr, "tell 127.0.0.1:1: ") || strings.Contains(got.stderr, "nobody-there") || strings.Contains(got.stderr, "token-of-the-team") {
		t.Errorf("stderr:\n%s", got.stderr)
	}
	if got := r.run("up", r.service(), "--release", "missing"); got.code != int(fault.NotFound) || len(told) != 0 {
		t.Errorf("a wrong call: exit %d, %d messages", got.code, len(told))
	}
}
