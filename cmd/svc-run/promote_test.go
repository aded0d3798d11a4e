package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

// fakeStore holds one release and remembers what was written.
type fakeStore struct {
	release fleet.Release
	readErr error
	current fleet.Current
	setErr  error
	markErr error
	records []fleet.Audit
	journal error
	wrote   []string
}

func (f *fakeStore) Release(context.Context, string, string) (fleet.Release, error) {
	return f.release, f.readErr
}

func (f *fakeStore) Current(context.Context, string) (fleet.Current, error) { return f.current, nil }

func (f *fakeStore) SetCurrent(_ context.Context, _ string, c fleet.Current) error {
	if f.setErr == nil {
		f.current = c
		f.wrote = append(f.wrote, "current")
	}
	return f.setErr
}

func (f *fakeStore) MarkStable(_ context.Context, _, _ string, m fleet.Mark) error {
	if f.markErr == nil {
		f.release.Stable, f.release.Failed = &m, nil
		f.wrote = append(f.wrote, "mark")
	}
	return f.markErr
}
func (f *fakeStore) Token(context.Context) (string, error) { return "deployer", nil }

func (f *fakeStore) Record(_ context.Context, a fleet.Audit) error {
	f.records = append(f.records, a)
	return f.journal
}

func store(change func(*fakeStore)) *fakeStore {
	f := &fakeStore{
		release: fleet.Release{App: "shop", Name: "r2", Image: "r/shop@sha256:2", Spec: shopSpec},
		current: fleet.Current{Index: 7, Services: map[string]fleet.Pointer{"web": {Release: "r1", Previous: "r0"}}},
	}
	change(f)
	return f
}

func promote(t *testing.T, f *fakeStore, p promotion, words ...string) (int, string, string) {
	t.Helper()
	p.app, p.release, p.by, p.now = "shop", "r2", "ann", now
	w := here.This()
	return call(t, func(ctx context.Context, s *tool.Session) error { return promoteApp(ctx, w, s, f, p) }, words...)
}

func TestPromoteMovesThePointersAndMarksTheRelease(t *testing.T) {
	f := store(func(*fakeStore) {})
	code, stdout, stderr := promote(t, f, promotion{})
	want := `- make r2 the current release of shop/web: it is r1 now, which becomes the previous one
- make r2 the current release of shop/worker: it has none yet
- mark r2 stable: it is promoted
`
	if code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, stderr %q, stdout\n%swant\n%s", code, stderr, stdout, want)
	}
	web, worker := f.current.Services["web"], f.current.Services["worker"]
	if web != (fleet.Pointer{Release: "r2", Previous: "r1", At: now, By: "ann"}) || worker != (fleet.Pointer{Release: "r2", At: now, By: "ann"}) || f.current.Index != 7 {
		t.Errorf("current is %+v", f.current)
	}
	if len(f.records) != 1 || f.records[0].Result != "ok" || !f.records[0].Changed || len(f.records[0].Plan) != 3 || !strings.HasSuffix(f.records[0].Who, "token deployer") {
		t.Errorf("journal %+v", f.records)
	}
	code, stdout, _ = promote(t, f, promotion{}, "--json")
	if want := `{"schema":1,"app":"shop","release":"r2","dry_run":false,"changed":false,"steps":[]}` + "\n"; code != 0 || stdout != want {
		t.Errorf("the second time: exit code %d, stdout %q, want %q", code, stdout, want)
	}
	if len(f.records) != 1 {
		t.Errorf("the second time is in the journal: %+v", f.records)
	}
}

func TestPromoteEndsWellOrNotAtAll(t *testing.T) {
	failed := func(f *fakeStore) { f.release.Failed = &fleet.Mark{Image: f.release.Image, By: "bob", At: now} }
	tests := []struct {
		name  string
		store *fakeStore
		p     promotion
		words []string
		code  int
		wrote string
		says  string // part of stdout and stderr
	}{
		{"dry run", store(func(*fakeStore) {}), promotion{}, []string{"--dry-run"}, 0, "", "would:\n- make r2 the current release of shop/web"},
		{"one service", store(func(*fakeStore) {}), promotion{service: "worker"}, nil, 0, "current mark", "of shop/worker: it has none yet"},
		{"a service that it has not", store(func(*fakeStore) {}), promotion{service: "api"}, nil, 12, "", "it has no service api"},
		{"an unknown release", store(func(f *fakeStore) { f.readErr = fault.New(fault.NotFound, "read: %w", fleet.ErrNotFound) }), promotion{}, nil, 12, "", "not found"},
		{"Consul is away", store(func(f *fakeStore) { f.readErr = fault.New(fault.Unreachable, "read: refused") }), promotion{}, nil, 13, "", "refused"},
		{"an unreadable release", store(func(f *fakeStore) { f.readErr = fault.New(fault.Invalid, "read: no JSON") }), promotion{}, nil, 17, "", "its record cannot be read"},
		{"an unreadable release, forced", store(func(f *fakeStore) { f.readErr = fault.New(fault.Invalid, "read: no JSON") }), promotion{force: true}, nil, 17, "", "its record cannot be read"},
		{"a release with a broken spec", store(func(f *fakeStore) { f.release.Spec = "app: [" }), promotion{}, nil, 17, "", "the spec in its record"},
		{"a failed release", store(failed), promotion{}, nil, 17, "", "marked failed by bob"},
		{"a failed release, forced", store(failed), promotion{force: true}, nil, 0, "current mark", "mark r2 stable: it was marked failed, and --force is given"},
		{"failed with another image", store(func(f *fakeStore) { f.release.Failed = &fleet.Mark{Image: "r/shop@sha256:1"} }), promotion{}, nil, 0, "current mark", "mark r2 stable"},
		{"stable with another image", store(func(f *fakeStore) { f.release.Stable = &fleet.Mark{Image: "r/shop@sha256:1"} }), promotion{}, nil, 0, "current mark", "its image changed since it was marked"},
		{"already stable", store(func(f *fakeStore) { f.release.Stable = &fleet.Mark{Image: f.release.Image} }), promotion{}, nil, 0, "current", "of shop/worker"},
		{"an older image of it is current", store(func(f *fakeStore) {
			f.current.Services = map[string]fleet.Pointer{"web": {Release: "r2", Previous: "r1", Image: "r/shop@sha256:1"}, "worker": {Release: "r2"}}
			f.release.Stable = &fleet.Mark{Image: f.release.Image}
		}), promotion{}, nil, 0, "current", "of shop/web: another image of it is current now"},
		{"somebody else was faster", store(func(f *fakeStore) { f.setErr = fault.New(fault.Conflict, "write: changed") }), promotion{}, nil, 14, "", "changed"},
		{"moved and not marked", store(func(f *fakeStore) { f.markErr = fault.New(fault.Unreachable, "write: refused") }), promotion{}, nil, 3, "current", "call again"},
		{"no journal", store(func(f *fakeStore) { f.journal = errors.New("denied") }), promotion{}, nil, 0, "current mark", "no audit record"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := promote(t, tt.store, tt.p, tt.words...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
				t.Errorf("exit code %d, want %d; said %q, want %q", code, tt.code, stdout+stderr, tt.says)
			}
			if got := strings.Join(tt.store.wrote, " "); got != tt.wrote {
				t.Errorf("wrote %q, want %q", got, tt.wrote)
			}
			acted := tt.wrote != "" || tt.code == 14
			if acted != (len(tt.store.records) == 1) || acted && tt.store.records[0].Result != fault.Kind(tt.code).String() {
				t.Errorf("journal %+v", tt.store.records)
			}
		})
	}
}

const shopSpec = `app: shop
build: {dockerfile: Dockerfile, image: registry.example/shop}
services:
  web: {port: 8000}
  worker: {kind: daemon}
`
