package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestTheDigestIsFoundWhereverTheEngineSaysIt(t *testing.T) {
	whole := "sha256:" + strings.Repeat("a", 64)
	for line, want := range map[string]string{
		"1.2: digest: " + whole + " size: 528":    whole,
		"latest: digest: " + whole + " size: 0":   whole,
		"1.2: digest: sha256:abc size: 528":       "",
		"1.2: digest: " + whole:                   "",
		"Pushed":                                  "",
		"x y: digest: " + whole + " size: 528":    "",
		"1.2: digest: " + whole + " size: 5 more": "",
	} {
		if got := statusDigest(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for raw, want := range map[string]string{
		`{"Tag":"1","Digest":"` + whole + `","Size":5}`: whole,
		`{"Digest":"sha256:abc"}`:                       "",
		`{"ID":"x"}`:                                    "",
		`"text"`:                                        "",
		``:                                              "",
	} {
		if got := auxDigest(json.RawMessage(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

func TestLayersAreAddedUp(t *testing.T) {
	var last string
	p := newPushProgress(func(what string, done, total int64) { last = fmt.Sprint(what, " ", done, "/", total) })
	for _, m := range []message{
		{Status: "The push refers to repository [x]"},
		{ID: "a", Status: "Preparing"},
		{ID: "a", Status: "Pushing", Progress: &progressDetail{Current: 5, Total: 10}},
		{ID: "b", Status: "Pushing", Progress: &progressDetail{Current: 9, Total: 8}},
		{ID: "a", Status: "Pushed"},
	} {
		p.add(m)
	}
	if last != "Pushed 18/18" {
		t.Errorf("reported %q", last)
	}
}

func TestAFailedPushHasItsKindAndHint(t *testing.T) {
	for text, want := range map[string]struct {
		kind fault.Kind
		hint string
	}{
		"denied: requested access to the resource is denied":                 {fault.Failed, "docker login reg.example:5000"},
		"no basic auth credentials":                                          {fault.Failed, "docker login reg.example:5000"},
		"dial tcp 10.0.0.1:5000: connect: connection refused":                {fault.Unreachable, ""},
		"Get https://x/v2/: http: server gave HTTP response to HTTPS client": {fault.Failed, "the registry speaks plain HTTP: add reg.example:5000 to insecure-registries in the engine's daemon.json"},
		"blob upload invalid":                                                {fault.Failed, ""},
	} {
		err := pushError(t.Context(), "reg.example:5000/app:1", errors.New(text))
		if fault.KindOf(err) != want.kind || hintOf(err) != want.hint {
			t.Errorf("%s: %v, hint %q", text, fault.KindOf(err), hintOf(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pushError(ctx, "x", errors.New("EOF")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, but: %v", err)
	}
}

func TestATestContainerIsSweptOnlyWhenItsOwnerIsGone(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	label := func(h fleet.Holder) string {
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dead := func(fleet.Holder) bool { return false }
	alive := func(fleet.Holder) bool { return true }
	rows := []struct {
		name  string
		label string
		age   time.Duration
		alive func(fleet.Holder) bool
		want  bool
	}{
		{"a dead owner", label(fleet.Holder{PID: 7}), time.Minute, dead, true},
		{"a live owner", label(fleet.Holder{PID: 7}), time.Minute, alive, false},
		{"a live owner for more than a day", label(fleet.Holder{PID: 7}), 25 * time.Hour, alive, true},
		{"no owner", "", time.Minute, dead, false},
		{"no owner for more than a day", "", 25 * time.Hour, dead, true},
		{"a label that is no owner", "{", time.Minute, dead, false},
		{"an owner without a pid", label(fleet.Holder{}), time.Minute, dead, false},
		{"a clock that was ahead", label(fleet.Holder{PID: 7}), -time.Hour, alive, false},
	}
	for _, row := range rows {
		if got := leftBehind(row.label, now.Add(-row.age), now, row.alive); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
