//go:build real

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"svckit/lib/code"
	"svckit/lib/fault"
)

func TestAServiceWithoutItsCodeIsRefusedAndWithItRuns(t *testing.T) {
	r := newRig(t)
	dir := filepath.Join(t.TempDir(), "code")
	r.set("SVC_CODE_DIR", dir)
	r.release("r1", "", strings.Replace(plainSpec, "    port: 8000\n", "    port: 8000\n    code: {mount: /srv/app}\n", 1))

	for _, flag := range []string{"--dry-run", "--quiet"} {
		got := r.run("up", r.service(), flag)
		if got.code != int(fault.Refused) || !strings.Contains(got.stderr, "has no code for /srv/app") || !strings.Contains(got.stderr, "svc-reload "+r.service()+" --source DIR") {
			t.Errorf("up %s without code: exit %d\n%s", flag, got.code, got.stderr)
		}
	}
	if list, err := r.engine.Instances(t.Context(), r.app, ""); err != nil || len(list) > 0 {
		t.Errorf("made %v, %v", list, err)
	}

	source := t.TempDir()
	if err := os.WriteFile(source+"/app.txt", []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := code.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	name, err := store.Put(t.Context(), r.app, "web", source, nil)
	if err == nil {
		err = store.Switch(t.Context(), r.app, "web", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.must("up", r.service())
	list, err := r.engine.Instances(t.Context(), r.app, "web")
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if text, err := r.engine.ReadFile(t.Context(), list[0].ID, "/srv/app/app.txt", 100); err != nil || string(text) != "one" {
		t.Errorf("the container has %q, %v", text, err)
	}
	if got := r.run("doctor", "--json"); !strings.Contains(got.stdout, r.app+"/web: /srv/app is generation "+name) {
		t.Errorf("the doctor does not tell the generation:\n%s", got.stdout)
	}
	if again := r.must("up", r.service(), "--json"); !strings.Contains(again.stdout, `"changed":false`) && !strings.Contains(again.stdout, `"changed": false`) {
		t.Errorf("a second up changed something: %s", again.stdout)
	}
	r.must("down", r.service())
	if state, err := store.State(r.app, "web"); err != nil || state.Generation != name {
		t.Errorf("after down: %+v, %v", state, err)
	}
}
