package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

const configSpec = `app: shop
build: {dockerfile: Dockerfile, image: registry.example/shop}
services:
  web:
    port: 8000
    config:
      env: [DATABASE_URL, REDIS]
      secrets: [SESSION_KEY, SMTP_PASSWORD]
`

type fakeLayers spec.Layers

func (f fakeLayers) Layers(context.Context, string, string) (spec.Layers, error) {
	return spec.Layers(f), nil
}

func showing(t *testing.T, l spec.Layers, env bool, words ...string) (int, string, string) {
	t.Helper()
	app, problems := spec.Decode(here.SpecFile, []byte(configSpec))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	web, _ := app.Service("web")
	return call(t, func(ctx context.Context, s *tool.Session) error {
		return showConfig(ctx, s, fakeLayers(l), here.Target{App: "shop", Service: "web"}, web, here.SpecFile, env)
	}, words...)
}

func layers() spec.Layers {
	return spec.Layers{
		Prefix:  "svc",
		Shared:  map[string]string{"REDIS": "redis://shared", "LANG": "C"},
		App:     map[string]string{"REDIS": "redis://app", "DATABASE_URL": "postgres://x"},
		Service: map[string]string{"DEBUG": "it's\n$HOME"},
		Secrets: map[string]string{"SESSION_KEY": "very-secret-value", "SMTP_PASSWORD": "hunter2hunter2", "OTHER": "of-another-service"},
	}
}

func TestConfigNamesTheOriginOfEachKey(t *testing.T) {
	code, stdout, stderr := showing(t, layers(), false)
	want := `KEY            FROM     VALUE
DATABASE_URL   app      postgres://x
DEBUG          service  it's\x0a$HOME
LANG           shared   C
REDIS          app      redis://app
SESSION_KEY    secret   (17 bytes)
SMTP_PASSWORD  secret   (14 bytes)
`
	if code != 0 || stderr != "" || stdout != want {
		t.Errorf("exit code %d, stderr %q, stdout\n%swant\n%s", code, stderr, stdout, want)
	}
}

func TestConfigNeverShowsASecret(t *testing.T) {
	l := layers()
	l.Shared["LEAK"] = "prefix-very-secret-value"
	l.Skipped = []string{"svc/x: hunter2hunter2"}
	for _, words := range [][]string{nil, {"--json"}, {"--verbose"}} {
		for _, env := range []bool{false, true} {
			_, stdout, stderr := showing(t, l, env, words...)
			for _, secret := range l.Secrets {
				if strings.Contains(stdout+stderr, secret) {
					t.Errorf("%v env=%v shows %q:\n%s%s", words, env, secret, stdout, stderr)
				}
			}
		}
	}
}

func TestConfigListsAllThatIsMissing(t *testing.T) {
	l := layers()
	delete(l.App, "DATABASE_URL")
	delete(l.Secrets, "SESSION_KEY")
	l.Skipped = []string{"svc/shared/config/a/b: nested path, expected one name"}
	code, stdout, stderr := showing(t, l, false)
	if code != 11 || !strings.Contains(stdout, "SESSION_KEY    secret   missing") {
		t.Errorf("exit code %d, stdout\n%s", code, stdout)
	}
	for _, want := range []string{"DATABASE_URL", "SESSION_KEY", "skipped: svc/shared/config/a/b: nested path", "read config of shop/web: 2 problems"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr has no %q:\n%s", want, stderr)
		}
	}
	_, stdout, _ = showing(t, l, false, "--json")
	if !strings.Contains(stdout, `"secrets":{"SESSION_KEY":-1,"SMTP_PASSWORD":14}`) || !strings.Contains(stdout, `"REDIS":{"value":"redis://app","origin":"app","required":true}`) {
		t.Errorf("JSON %s", stdout)
	}
}

func TestAShellReadsBackWhatEnvPrints(t *testing.T) {
	_, stdout, _ := showing(t, layers(), true)
	want := "DATABASE_URL='postgres://x'\nDEBUG='it'\\''s\n$HOME'\nLANG='C'\nREDIS='redis://app'\n"
	if stdout != want {
		t.Errorf("printed\n%swant\n%s", stdout, want)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", stdout+`printf %s "$DEBUG"`).Output()
	if err != nil || string(out) != "it's\n$HOME" {
		t.Errorf("sh read %q, %v", out, err)
	}
}

// fakeReleases has releases, newest first, and a pointer.
type fakeReleases struct {
	list    []string
	current map[string]fleet.Pointer
}

func (f fakeReleases) Release(_ context.Context, _, name string) (fleet.Release, error) {
	return fleet.Release{Name: name}, nil
}

func (f fakeReleases) Releases(context.Context, string) ([]fleet.Release, []string, error) {
	var out []fleet.Release
	for _, n := range f.list {
		out = append(out, fleet.Release{Name: n})
	}
	return out, []string{"svc/apps/shop/releases/x: no JSON"}, nil
}

func (f fakeReleases) Layers(context.Context, string, string) (spec.Layers, error) {
	return spec.Layers{}, nil
}

func (f fakeReleases) Current(context.Context, string) (fleet.Current, error) {
	return fleet.Current{Services: f.current}, nil
}

func TestTheSpecIsThatOfTheCurrentReleaseElseTheNewest(t *testing.T) {
	two := []string{"r2", "r1"}
	tests := []struct {
		name string
		have fakeReleases
		t    here.Target
		arg  string
		want string
		kind fault.Kind
	}{
		{"named", fakeReleases{list: two}, here.Target{App: "shop", Service: "web"}, "r0", "r0", fault.OK},
		{"current of the service", fakeReleases{two, map[string]fleet.Pointer{"web": {Release: "r1"}, "api": {Release: "r2"}}}, here.Target{App: "shop", Service: "web"}, "", "r1", fault.OK},
		{"current of all services", fakeReleases{two, map[string]fleet.Pointer{"web": {Release: "r1"}, "api": {Release: "r1"}}}, here.Target{App: "shop", Service: ""}, "", "r1", fault.OK},
		{"services that differ: the newest", fakeReleases{two, map[string]fleet.Pointer{"web": {Release: "r1"}, "api": {Release: "r0"}}}, here.Target{App: "shop", Service: ""}, "", "r2", fault.OK},
		{"no pointer: the newest", fakeReleases{list: two}, here.Target{App: "shop", Service: "web"}, "", "r2", fault.OK},
		{"none", fakeReleases{}, here.Target{App: "shop", Service: "web"}, "", "", fault.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := pickRelease(t.Context(), tt.have, tt.t, tt.arg)
			if r.Name != tt.want || fault.KindOf(err) != tt.kind {
				t.Errorf("release %q, %v; want %q, %s", r.Name, err, tt.want, tt.kind)
			}
		})
	}
}
