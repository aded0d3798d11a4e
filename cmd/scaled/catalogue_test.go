package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
)

// shelf is releases and which of them are current.
type shelf struct {
	current map[string]fleet.Current
	specs   map[string]string // app and release → spec
	reads   int
	away    bool
}

func (s *shelf) Apps(context.Context) ([]string, error) {
	if s.away {
		return nil, errors.New("consul is away")
	}
	return []string{"blog", "shop", "torn"}, nil
}

func (s *shelf) Current(_ context.Context, app string) (fleet.Current, error) {
	if app == "torn" {
		return fleet.Current{}, errors.New("no document of svckit")
	}
	return s.current[app], nil
}

func (s *shelf) Release(_ context.Context, app, name string) (fleet.Release, error) {
	s.reads++
	text, ok := s.specs[app+" "+name]
	if !ok {
		return fleet.Release{}, fleet.ErrNotFound
	}
	return fleet.Release{App: app, Name: name, Image: "r.test/x@sha256:" + strings.Repeat("0", 64), Spec: text}, nil
}

func TestOnlyWhatCurrentReleasesScaleIsPlanned(t *testing.T) {
	const body = "build: {image: r.test/x}\nnotify: [{webhook: \"https://hooks.test/x\"}]\nservices:\n  web: {command: [x], port: 80, scale: {min: 2}}\n  api: {command: [x], port: 80}\n  nightly: {kind: cron, schedule: \"0 3 * * *\", command: [x]}\n"
	s := &shelf{
		current: map[string]fleet.Current{
			"shop": {Services: map[string]fleet.Pointer{"web": {Release: "r1"}, "api": {Release: "r1"}, "nightly": {Release: "r1"}}},
			"blog": {Services: map[string]fleet.Pointer{"web": {Release: "gone"}}},
		},
		specs: map[string]string{"shop r1": "app: shop\n" + body},
	}
	now := time.Unix(1_790_000_000, 0)
	c := &catalogue{records: s, now: func() time.Time { return now }}
	look := func() string {
		list, broken, err := c.list(t.Context())
		out := ""
		for _, v := range list {
			out += fmt.Sprintf("%s %s %d %d, ", v.Name, v.Release, v.Spec.Scale.Min, len(v.Notify))
		}
		return fmt.Sprint(out, broken, err)
	}
	want := "shop/web r1 2 1, map[blog/web:not found torn:no document of svckit] <nil>"
	if got := look(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	reads := s.reads
	now = now.Add(readEach - time.Second)
	s.away = true
	if got := look(); got != want {
		t.Errorf("a moment later: %s", got)
	}
	now = now.Add(time.Second)
	if got := look(); !strings.HasSuffix(got, "consul is away") {
		t.Errorf("with Consul away: %s", got)
	}
	s.away = false
	if got := look(); got != want || s.reads != reads+1 { // the one that is not there is asked for again
		t.Errorf("again: %s after %d reads, before %d", got, s.reads, reads)
	}
}
