//go:build real

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/rollout"
)

const deliverySpec = `
app: %s
build: {image: %s}
services:
  web:
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 20s}
    stop: {timeout: 10s, drain: 200ms}
    config:
      env: [DATABASE_URL, REDIS]
      secrets: [SESSION_KEY, TLS_KEY]
      files: [{template: settings.tmpl, to: /etc/app/settings.json}]
`

func TestMissingKeysAreAllListedAndNothingStarts(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", deliverySpec)
	r.kv("shared/config/REDIS", "redis.service.consul")
	got := r.run("up", r.service())
	if got.code != int(fault.Invalid) {
		t.Fatalf("exit %d, want 11\n%s", got.code, got.stderr)
	}
	for _, want := range []string{"DATABASE_URL", "SESSION_KEY", "TLS_KEY", "settings.tmpl"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr does not name %s:\n%s", want, got.stderr)
		}
	}
	if strings.Contains(got.stderr, "REDIS") {
		t.Errorf("REDIS is there and is listed as missing:\n%s", got.stderr)
	}
	if containers, entries := r.state(); len(containers) != 0 || entries != 0 {
		t.Errorf("left %q and %d registrations", containers, entries)
	}
}

// nasty is a value with everything that breaks careless quoting, over 100 KB.
func nasty() string {
	return "line one\nline two\r\n\"double\" 'single' $HOME ${X} `x` \\n %s \t end\n" + strings.Repeat("0123456789abcdef", 6500)
}

func TestConfigReachesTheContainerUnchanged(t *testing.T) {
	r := newRig(t)
	r.releaseWith("r1", "good", deliverySpec, map[string]string{
		"settings.tmpl": `{"database": {{ config "DATABASE_URL" | json }}, "app": {{ .App | json }}, "release": "{{ .Release }}"}`,
	})
	r.kv("shared/config/REDIS", "from shared")
	r.kv("shared/config/DATABASE_URL", "from shared")
	r.kv("apps/"+r.app+"/config/DATABASE_URL", `app's "own" $1`)
	r.kv("apps/"+r.app+"/config/EXTRA", "two\nlines")
	r.kv("apps/"+r.app+"/web/config/REDIS", "service's own")
	r.kv("apps/"+r.app+"/secrets/SESSION_KEY", nasty())
	r.kv("apps/"+r.app+"/secrets/TLS_KEY", "second secret value")
	r.kv("apps/"+r.app+"/secrets/UNNAMED", "not for this service")
	got := r.must("up", r.service(), "--verbose")
	for name, want := range map[string]string{
		"/env?DATABASE_URL": `app's "own" $1`, "/env?REDIS": "service's own", "/env?EXTRA": "two\nlines",
		"/env?SESSION_KEY": "", "/env?SVC_RELEASE": "r1", "/env?SVC_APP": r.app,
		"/file?/run/secrets/SESSION_KEY": nasty(), "/file?/run/secrets/TLS_KEY": "second secret value",
		"/file?/etc/app/settings.json": fmt.Sprintf(`{"database": "app's \"own\" $1", "app": %q, "release": "r1"}`, r.app),
	} {
		if got := r.get(name); got != want {
			t.Errorf("GET %s: %d bytes %.80q, want %d bytes %.80q", name, len(got), got, len(want), want)
		}
	}
	for _, secret := range []string{"second secret value", "line two"} {
		if strings.Contains(got.stderr+got.stdout, secret) {
			t.Errorf("the output shows a secret %q", secret)
		}
	}
	r.noSecretInLabels("second secret value")

	// A changed value of a file replaces (master none); a changed variable is named.
	r.kv("apps/"+r.app+"/config/EXTRA", "three")
	plan := decode[here.Outcome](t, r.must("up", r.service(), "--dry-run", "--json").stdout)
	if !slices.ContainsFunc(plan.Steps, func(s rollout.Step) bool { return slices.Contains(s.Fields, "env.EXTRA") }) {
		t.Errorf("the plan does not name env.EXTRA: %+v", plan.Steps)
	}
	r.kv("apps/"+r.app+"/secrets/TLS_KEY", "third secret value")
	r.must("up", r.service())
	if got := r.get("/file?/run/secrets/TLS_KEY"); got != "third secret value" {
		t.Errorf("the new secret did not arrive: %q", got)
	}
}

func TestRollbackGoesToTheLastStableRelease(t *testing.T) {
	r := newRig(t)
	first := r.release("r1", "good", plainSpec)
	r.must("up", r.service(), "--promote")
	r.release("r2", "good", plainSpec)
	r.must("up", r.service(), "--release", "r2")
	if got := r.get("/"); got != "r2\n" {
		t.Fatalf("answers %q", got)
	}
	// r1 is built and pushed again under its name: what was stable is the first image.
	second := r.release("r1", "bad", plainSpec)
	if first == second {
		t.Fatal("the second build of r1 is the same image")
	}
	got := decode[here.Outcome](t, r.must("rollback", r.service(), "--json").stdout)
	if got.Image != first || got.Release != "r1" {
		t.Errorf("went back to %s %s, want r1 %s", got.Release, got.Image, first)
	}
	if got := r.get("/"); got != "r1\n" {
		t.Errorf("answers %q", got)
	}
	// up of the tag that was pushed again shows the other digest.
	plan := decode[here.Outcome](t, r.must("up", r.service(), "--release", "r1", "--dry-run", "--json").stdout)
	i := slices.IndexFunc(plan.Steps, func(s rollout.Step) bool { return s.Action == "create" })
	if i < 0 || len(plan.Steps[i].Fields) == 0 || !strings.HasPrefix(plan.Steps[i].Fields[0], "image (") {
		t.Errorf("the plan does not show the change of the image: %+v", plan.Steps)
	}
}

func TestUnreadableRecordsAreNamedAndNeverActedOn(t *testing.T) {
	r := newRig(t)
	r.release("r1", "good", plainSpec)
	r.must("up", r.service(), "--promote")
	r.kv("apps/"+r.app+"/releases/r9", `{"schema": 99, "image": "x"}`)
	r.kv("apps/"+r.app+"/current", `not json`)
	got := r.run("up", r.service())
	if got.code == 0 || !strings.Contains(got.stderr, "apps/"+r.app+"/current") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
	if got := r.get("/"); got != "r1\n" {
		t.Errorf("answers %q", got)
	}
	if got := r.run("up", r.service(), "--release", "r9"); got.code == 0 {
		t.Errorf("an unreadable release was run\n%s", got.stdout)
	}
}

func TestLocalModeNeedsNothingOfKV(t *testing.T) {
	r := newRig(t)
	image := r.release("r1", "good", plainSpec)
	file := t.TempDir() + "/app.yaml"
	writeFile(t, file, fmt.Sprintf(plainSpec, r.app, "ignored/repo"))
	env := t.TempDir() + "/env"
	writeFile(t, env, "GREETING=\"hello there\"\n")
	args := []string{"up", "--local", "-f", file, "--image", image, "--env-file", env, "web", "--json"}
	if got := decode[here.Outcome](t, r.must(args...).stdout); !got.Changed {
		t.Errorf("%+v", got)
	}
	if got := r.get("/env?GREETING"); got != "hello there" {
		t.Errorf("GREETING is %q", got)
	}
	if got := decode[here.Outcome](t, r.must(args...).stdout); got.Changed {
		t.Errorf("a second up: %+v", got)
	}
	// Without any agent the service still runs.
	r.set("CONSUL_HTTP_ADDR", "http://127.0.0.1:1")
	if got := decode[here.Outcome](t, r.must(args...).stdout); got.Changed || len(got.Instances) != 1 {
		t.Errorf("without an agent: %+v", got)
	}
}
