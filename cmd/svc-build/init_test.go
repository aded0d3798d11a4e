package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"svckit/lib/dockerfile"
	"svckit/lib/spec"
)

func inFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	return dir
}

func TestANewProjectOfEachRuntimeIsWhole(t *testing.T) {
	for _, runtime := range []spec.Runtime{spec.Python, spec.Go, spec.Node, spec.Ruby, spec.Static} {
		t.Run(string(runtime), func(t *testing.T) {
			dir := inFolder(t)
			var f fakes
			code, stdout, stderr := run(t, f.world(nil), "init", "--runtime", string(runtime), "my-shop")
			if code != 0 || stdout != "my-shop\n" || !strings.Contains(stderr, "next: cd my-shop && svc-run dev") || len(f.calls) != 0 {
				t.Fatalf("exit %d, stdout %q, calls %q\n%s", code, stdout, f.calls, stderr)
			}
			project := filepath.Join(dir, "my-shop")
			text, err := os.ReadFile(filepath.Join(project, "app.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			app, problems := spec.Decode("app.yaml", text)
			if len(problems) > 0 || app.Name != "my-shop" || app.Build.Runtime != runtime || len(app.Build.Test) == 0 ||
				app.Services[0].Check.Path != "/healthz" || app.Build.Image != "registry.service.consul:5000/my-shop" {
				t.Errorf("spec %+v, problems %v", app, problems)
			}
			if made, err := dockerfile.Generate(runtime, dockerfile.Look(os.DirFS(project), "my-shop")); err != nil || !strings.Contains(made, "ARG BASE="+app.Build.Args["BASE"]+"\n") {
				t.Errorf("the base in app.yaml is not the usual one: %v\n%s", err, made)
			}
			everyFile(t, project, func(path, text string) {
				if strings.Contains(text, "{{") || strings.HasSuffix(path, ".tmpl") || strings.Contains(path, "dot-") || text == "" {
					t.Errorf("not rendered: %s: %q", path, text)
				}
			})
			if out, err := exec.Command("git", "-C", project, "status", "--porcelain").CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("git status: %v: %s", err, out)
			}
			if code, stdout, _ := run(t, f.world(nil), "-f", "my-shop/app.yaml", "--dry-run"); code != 0 || !strings.HasPrefix(stdout, "1. build image registry.service.consul:5000/my-shop:") {
				t.Errorf("it does not build: exit %d, %s", code, stdout)
			}
		})
	}
}

func everyFile(t *testing.T, dir string, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f(path, string(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestABaseOfOnesOwnNeedsNoNetwork(t *testing.T) {
	inFolder(t)
	var f fakes
	run(t, f.world(nil), "init", "--runtime", "python", "--base", "own/base:1", "--registry", "reg.example", "shop")
	_, text, _ := run(t, f.world(nil), "dockerfile", "-f", "shop/app.yaml")
	if strings.Contains(text, "pip") {
		t.Errorf("asks pip:\n%s", text)
	}
	app, _ := os.ReadFile("shop/app.yaml")
	if !strings.Contains(string(app), `args: {BASE: "own/base:1"}`) || !strings.Contains(string(app), "image: reg.example/shop\n") {
		t.Errorf("app.yaml:\n%s", app)
	}
}

func TestNothingIsOverwrittenOrLeftHalfMade(t *testing.T) {
	dir := inFolder(t)
	if err := os.Mkdir("shop", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", "link"); err != nil {
		t.Fatal(err)
	}
	var f fakes
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--runtime", "python", "shop"}, 17, "make project shop: there is something of that name"},
		{[]string{"--runtime", "python", "link"}, 17, "there is something of that name"},
		{[]string{"--runtime", "perl", "other"}, 10, `unknown runtime "perl"`},
		{[]string{"other"}, 10, "expected --runtime"},
		{[]string{"--runtime", "go", "Other"}, 10, "cannot be the name of an app"},
		{[]string{"--runtime", "go", "../other"}, 10, "cannot be the name of an app"},
		{[]string{"--runtime", "go", "--base", "x\"y", "other"}, 10, "cannot be part of an image's name"},
		{[]string{"--runtime", "go", "--dry-run", "other"}, 0, ""},
	} {
		code, _, stderr := run(t, f.world(nil), append([]string{"init"}, row.args...)...)
		if code != row.code || !strings.Contains(stderr, row.want) {
			t.Errorf("%q: exit %d, %s", row.args, code, stderr)
		}
	}
	if got := listing(t, dir); !slices.Equal(got, []string{"link", "shop"}) {
		t.Errorf("the folder holds %q", got)
	}
}

func TestAProjectInsideARepositoryIsPartOfIt(t *testing.T) {
	dir := inFolder(t)
	if out, err := exec.Command("git", "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var f fakes
	code, stdout, stderr := run(t, f.world(nil), "init", "--runtime", "go", "--json", "shop")
	if code != 0 || !strings.Contains(stdout, `"git":false`) || !strings.Contains(stderr, "is in one already") {
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
	if got := listing(t, dir); !slices.Equal(got, []string{".git", "shop"}) {
		t.Errorf("the folder holds %q", got)
	}
	if slices.Contains(listing(t, filepath.Join(dir, "shop")), ".git") {
		t.Error("a repository was made in a repository")
	}
}

func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
