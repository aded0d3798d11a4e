package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const (
	imageID = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	digest  = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

func TestStdoutIsOneLine(t *testing.T) {
	rows := []struct {
		name string
		args []string
		want string
	}{
		{"a local build is named by its image", nil, "reg.example:5000/shop@" + imageID + "\n"},
		{"a push by the registry's manifest", []string{"--push"}, "reg.example:5000/shop@" + digest + "\n"},
		{"also without a record", []string{"--push", "--no-record"}, "reg.example:5000/shop@" + digest + "\n"},
		{"also quietly", []string{"--push", "--quiet"}, "reg.example:5000/shop@" + digest + "\n"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var f fakes
			code, stdout, stderr := run(t, f.world(nil), append([]string{"-f", folder(t, nil)}, row.args...)...)
			if code != 0 || stdout != row.want {
				t.Errorf("exit %d, stdout %q, stderr %s", code, stdout, stderr)
			}
			if slices.Contains(row.args, "--quiet") && stderr != "" {
				t.Errorf("talks: %q", stderr)
			}
		})
	}
}

func TestTheStepsComeInTheirOrder(t *testing.T) {
	rows := []struct {
		name string
		args []string
		want string
	}{
		{"local", nil, "engine image build test"},
		{"push", []string{"--push"}, "ledger self release engine image info digest build test push digest record"},
		{"push without a record", []string{"--push", "--no-record"}, "engine image info digest build test push digest"},
		{"push untested", []string{"--push", "--skip-test"}, "ledger self release engine image info digest build push digest record"},
		{"dry run", []string{"--push", "--dry-run"}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var f fakes
			code, _, stderr := run(t, f.world(nil), append([]string{"-f", folder(t, nil)}, row.args...)...)
			if got := strings.Join(f.calls, " "); code != 0 || got != row.want {
				t.Errorf("exit %d, calls %q, want %q\n%s", code, got, row.want, stderr)
			}
		})
	}
}

func TestAStepThatFailsEndsTheBuild(t *testing.T) {
	broken := &fault.Error{Kind: fault.Failed, Msg: "run test x", Err: errors.New("exit code 3"), Detail: []string{"the last line"}}
	gone := fault.New(fault.Unreachable, "nobody answers")
	rows := []struct {
		name string
		fail map[string]error
		code int
		last string // the last call
		text string // part of stderr
	}{
		{"the build", map[string]error{"build": broken}, 1, "build", "  the last line\n"},
		{"the test", map[string]error{"test": broken}, 1, "test", "  the last line\n"},
		{"the push", map[string]error{"push": broken}, 1, "push", "exit code 3"},
		{"the record", map[string]error{"record": broken}, 1, "record", "exit code 3"},
		{"no Consul, before anything is built", map[string]error{"self": gone}, 13, "self", "--no-record"},
		{"a release that may not be read", map[string]error{"release": errors.New("forbidden")}, 1, "release", "forbidden"},
		{"no engine", map[string]error{"engine": gone}, 13, "engine", "nobody answers"},
		{"no registry, before anything is built", map[string]error{"digest": gone}, 13, "digest", "nobody answers"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := fakes{fail: row.fail}
			if row.name == "a release that may not be read" {
				f.known = &fleet.Release{}
			}
			code, stdout, stderr := run(t, f.world(nil), "--push", "-f", folder(t, nil))
			if code != row.code || stdout != "" || f.calls[len(f.calls)-1] != row.last || !strings.Contains(stderr, row.text) || len(f.put) != 0 {
				t.Errorf("exit %d, calls %q, records %d, stdout %q, stderr %s", code, f.calls, len(f.put), stdout, stderr)
			}
		})
	}
}

func TestADigestThatTheRegistryDoesNotConfirmIsAnError(t *testing.T) {
	f := fakes{registry: "sha256:" + strings.Repeat("9", 64)}
	code, stdout, stderr := run(t, f.world(nil), "--push", "-f", folder(t, nil))
	if code != 14 || stdout != "" || len(f.put) != 0 || !strings.Contains(stderr, "hint: somebody pushed the same tag") {
		t.Errorf("exit %d, stdout %q, stderr %s", code, stdout, stderr)
	}
}

func TestTheRecordHoldsWhatANodeNeeds(t *testing.T) {
	var f fakes
	file := folder(t, nil)
	commit := commitAll(t, filepath.Dir(file))
	code, _, stderr := run(t, f.world(nil), "--push", "-f", file)
	if code != 0 || len(f.put) != 1 {
		t.Fatalf("exit %d, %d records\n%s", code, len(f.put), stderr)
	}
	got := f.put[0]
	by := got.BuiltBy
	got.BuiltBy = ""
	want := fleet.Release{
		App: "shop", Name: commit[:12], Image: "reg.example:5000/shop@" + digest, Tag: "reg.example:5000/shop:" + commit[:12],
		Spec: appYAML, Templates: map[string]string{"settings.tmpl": "{}\n"}, Git: fleet.Git{Commit: commit, Branch: "main"},
		BuiltAt: time.Date(2026, 5, 1, 12, 0, 2, 0, time.UTC),
		Test:    fleet.TestResult{Command: []string{"python3", "-m", "unittest"}, Seconds: 1.5, Ran: true},
	}
	if !strings.HasSuffix(by, "@node1") || asJSON(t, got) != asJSON(t, want) {
		t.Errorf("by %q, got\n%s\nwant\n%s", by, asJSON(t, got), asJSON(t, want))
	}
	if f.built.Labels["org.opencontainers.image.revision"] != commit || f.built.Labels["org.opencontainers.image.created"] != "2024-05-06T05:08:09Z" {
		t.Errorf("labels are %v", f.built.Labels)
	}
}

func TestBuildingTheSameAgainChangesNothing(t *testing.T) {
	var first fakes
	file := folder(t, nil)
	if code, out, stderr := run(t, first.world(nil), "--push", "--json", "-f", file); code != 0 || !strings.Contains(out, `"changed":true`) {
		t.Fatalf("exit %d, %s%s", code, out, stderr)
	}
	same := fakes{registry: digest, image: imageID, known: &first.put[0]}
	code, out, _ := run(t, same.world(nil), "--push", "--json", "-f", file)
	if code != 0 || !strings.Contains(out, `"changed":false`) || !strings.Contains(out, `"recorded":true`) || len(same.put) != 0 {
		t.Errorf("exit %d, %d records, %s", code, len(same.put), out)
	}
	other := fakes{registry: digest, image: imageID, known: &first.put[0]}
	code, out, _ = run(t, other.world(nil), "--push", "--skip-test", "--json", "-f", file)
	if code != 0 || !strings.Contains(out, `"changed":true`) || len(other.put) != 1 || other.put[0].Test.Ran {
		t.Errorf("another test result: exit %d, records %+v, %s", code, other.put, out)
	}
	local := fakes{image: imageID}
	if _, out, _ = run(t, local.world(nil), "--json", "-f", file); !strings.Contains(out, `"changed":false`) {
		t.Errorf("a local build of the same image: %s", out)
	}
}

func TestThePlanIsPrintedWithReasons(t *testing.T) {
	var f fakes
	file := folder(t, nil)
	commit := commitAll(t, filepath.Dir(file))
	_, stdout, _ := run(t, f.world(nil), "--push", "--dry-run", "--build-arg", "TOKEN=hunter2hunter2", "-f", file)
	want := "1. build image reg.example:5000/shop:" + commit[:12] + " from 4 files, 306 B, build arguments BASE TOKEN (named after commit " + commit[:12] + ")\n" +
		"2. test python3 -m unittest (build.test must pass in the image within 10m0s)\n" +
		"3. push reg.example:5000/shop:" + commit[:12] + " (--push)\n" +
		"4. confirm reg.example:5000/shop:" + commit[:12] + " (the registry's own digest is what a release is pinned to)\n" +
		"5. record release " + commit[:12] + " of shop (svc-run finds it in Consul)\n"
	if stdout != want {
		t.Errorf("plan:\n%s\nwant:\n%s", stdout, want)
	}
}

func TestTheJournalKeepsEveryPushAndNoValues(t *testing.T) {
	f := fakes{fail: map[string]error{"push": errors.New("broken")}}
	run(t, f.world(nil), "--push", "--build-arg", "TOKEN=hunter2hunter2", "-f", folder(t, nil))
	if len(f.journal) != 1 || f.journal[0].Result != "failed" || f.journal[0].Changed || f.journal[0].App != "shop" || len(f.journal[0].Plan) != 5 {
		t.Fatalf("journal is %+v", f.journal)
	}
	if text := asJSON(t, f.journal); strings.Contains(text, "hunter2") {
		t.Errorf("journal shows a value: %s", text)
	}
	quiet := fakes{fail: map[string]error{"journal": errors.New("no")}}
	if code, _, stderr := run(t, quiet.world(nil), "--push", "-f", folder(t, nil)); code != 0 || !strings.Contains(stderr, "journal not written") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestWrongCallsAreRefusedBeforeAnythingIsAsked(t *testing.T) {
	secretSpec := strings.Replace(appYAML, "  test:", "  secrets: [pip]\n  test:", 1)
	rows := []struct {
		name  string
		files map[string]string
		args  []string
		code  int
		want  string
	}{
		{"no spec", map[string]string{"app.yaml": ""}, nil, 12, "there is no "},
		{"a broken spec", map[string]string{"app.yaml": "app: shop\nservices: {web: {port: 8000}}\nbuildd: 1\n"}, nil, 11, "buildd"},
		{"a spec that is too long", map[string]string{"app.yaml": "#" + strings.Repeat("x", 64<<10)}, nil, 11, "more than the allowed 65536 bytes"},
		{"no Dockerfile", map[string]string{"Dockerfile": ""}, nil, 11, "there is no Dockerfile"},
		{"no template", map[string]string{"settings.tmpl": ""}, nil, 11, "template settings.tmpl"},
		{"a template that is too long", map[string]string{"settings.tmpl": strings.Repeat("x", 256<<10+1)}, nil, 11, "more than the allowed"},
		{"a push to nowhere", map[string]string{"app.yaml": strings.Replace(appYAML, "image:", "#", 1)}, []string{"--push"}, 11, "build.image: missing"},
		{"no record without push", nil, []string{"--no-record"}, 10, "nothing would be recorded"},
		{"no time for the test", nil, []string{"--test-timeout", "0s"}, 10, "--test-timeout"},
		{"a bad tag", nil, []string{"--tag", "x/y"}, 10, "cannot be a tag"},
		{"an empty tag", nil, []string{"--tag", ""}, 10, "cannot be a tag"},
		{"a build argument without a value", nil, []string{"--build-arg", "BASE"}, 10, "expected NAME=VALUE"},
		{"a secret without a source", map[string]string{"app.yaml": secretSpec}, []string{"--secret", "id=pip"}, 10, "needs an id, and either src or env"},
		{"a secret that is missing", map[string]string{"app.yaml": secretSpec}, nil, 10, "build secrets are missing: pip"},
		{"a secret that nobody asked for", nil, []string{"--secret", "id=x,env=HOME"}, 10, "add it to build.secrets"},
		{"a secret in an empty variable", map[string]string{"app.yaml": secretSpec}, []string{"--secret", "id=pip,env=NOTHING"}, 10, "NOTHING is empty"},
		{"a secret in no file", map[string]string{"app.yaml": secretSpec}, []string{"--secret", "id=pip,src=/no/file"}, 10, "no such file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var f fakes
			code, stdout, stderr := run(t, f.world(nil), append([]string{"-f", folder(t, row.files)}, row.args...)...)
			if code != row.code || stdout != "" || !strings.Contains(stderr, row.want) || len(f.calls) != 0 {
				t.Errorf("exit %d, calls %q, stdout %q, stderr %s", code, f.calls, stdout, stderr)
			}
		})
	}
}

func TestSecretsReachTheBuildAndNothingElse(t *testing.T) {
	file := folder(t, map[string]string{"app.yaml": strings.Replace(appYAML, "  test:", "  secrets: [npm, pip]\n  test:", 1)})
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("file-secret-value\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := fakes{fail: map[string]error{"build": errors.New("it printed file-secret-value and env-secret-value")}}
	_, stdout, stderr := run(t, f.world(map[string]string{"NPM": "env-secret-value"}), "-f", file, "--verbose",
		"--secret", "id=pip,src="+path, "--secret", "id=npm,env=NPM")
	if string(f.built.Secrets["pip"]) != "file-secret-value\n" || string(f.built.Secrets["npm"]) != "env-secret-value" {
		t.Errorf("the build got %q", f.built.Secrets)
	}
	if strings.Contains(stdout+stderr, "secret-value") {
		t.Errorf("shown: %s%s", stdout, stderr)
	}
}

func TestAGeneratedDockerfileIsSentWithTheContext(t *testing.T) {
	file := folder(t, map[string]string{
		"app.yaml": strings.Replace(appYAML, "build:\n", "build:\n  runtime: python\n", 1), "Dockerfile": "", "requirements.txt": "flask\n",
	})
	var f fakes
	if code, _, stderr := run(t, f.world(nil), "-f", file); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if f.built.Dockerfile != ".svckit.Dockerfile" || !bytes.Contains(f.context, []byte(`RUN ["pip", "install"`)) {
		t.Errorf("dockerfile %q, context %q", f.built.Dockerfile, f.context)
	}
	_, printed, _ := run(t, f.world(nil), "dockerfile", "-f", file)
	if !bytes.Contains(f.context, []byte(printed)) || printed == "" {
		t.Errorf("what is printed is not what is sent: %q", printed)
	}
	noCommand := strings.Replace(appYAML, `    command: [gunicorn, "app:application"]`+"\n", "", 1)
	file = folder(t, map[string]string{"app.yaml": strings.Replace(noCommand, "build:\n", "build:\n  runtime: python\n", 1)})
	if code, _, stderr := run(t, f.world(nil), "-f", file); code != 11 || !strings.Contains(stderr, "services.web.command: missing") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestTheDockerfileOfAFolderWithOneIsNotGenerated(t *testing.T) {
	var f fakes
	code, stdout, stderr := run(t, f.world(nil), "dockerfile", "-f", folder(t, nil))
	if code != 11 || stdout != "" || !strings.Contains(stderr, "hint: svc-build dockerfile --runtime python") {
		t.Errorf("exit %d, %q, %s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, f.world(nil), "dockerfile", "-f", folder(t, nil), "--runtime", "python")
	if code != 0 || !strings.Contains(stdout, "ARG BASE=python") {
		t.Errorf("exit %d, %q", code, stdout)
	}
}
