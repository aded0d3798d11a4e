// Package examples holds small apps; its tests keep them working.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"svckit/lib/spec"
)

func TestEverySpecIsValid(t *testing.T) {
	files, err := filepath.Glob("*/app.yaml")
	if err != nil || len(files) != 10 {
		t.Fatalf("%d specs, want 10 (error %v)", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			app, problems := spec.Decode(file, text)
			for _, p := range problems {
				t.Errorf("%s:%d:%d: %s: %s", p.File, p.Line, p.Col, p.Path, p.Msg)
			}
			if want := filepath.Dir(file); app.Name != want {
				t.Errorf("app %q, want the folder's name %q", app.Name, want)
			}
			if len(app.Build.Test) == 0 {
				t.Error("no build.test")
			}
		})
	}
}

func TestHelloGoPassesItsOwnTests(t *testing.T) {
	cmd := exec.Command("go", "test", "./...")
	cmd.Dir = "hello-go" // a module of its own, as a user's would be
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go test: %v\n%s", err, out)
	}
}
