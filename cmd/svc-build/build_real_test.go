//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/registry"
	"svckit/lib/tool"
)

// place is a developer's machine: an engine, a Consul agent, and a folder to work in.
type place struct {
	t     *testing.T
	agent *lab.Agent
	host  string // of the registry
	world world
	dir   string
}

// newPlace makes a place that pushes to the registry at host; "" starts one.
func newPlace(t *testing.T, host string) *place {
	t.Helper()
	if host == "" {
		host = lab.Registry(t)
	}
	p := &place{t: t, agent: lab.Consul(t), host: host, world: outside(), dir: t.TempDir()}
	t.Setenv("DOCKER_HOST", lab.DockerHost(t))
	t.Setenv("CONSUL_HTTP_ADDR", p.agent.URL())
	if cache, err := os.UserCacheDir(); err == nil { // of the Go tool, which would begin anew in another home
		t.Setenv("GOCACHE", filepath.Join(cache, "go-build"))
	}
	t.Setenv("HOME", t.TempDir())
	t.Chdir(p.dir)
	t.Cleanup(func() { forget(t, p.host+"/shop") })
	return p
}

// call runs svc-build in the folder and returns what it said and how long it took.
func (p *place) call(words ...string) (code int, stdout, stderr string, took time.Duration) {
	p.t.Helper()
	p.t.Setenv("SVC_CONFIG", p.write("../"+filepath.Base(p.dir)+".node.yaml", ""))
	var out, talk bytes.Buffer
	began := time.Now()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	code = tool.Run(ctx, program(p.world), append([]string{"svc-build"}, words...), strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String(), time.Since(began)
}

func (p *place) write(path, text string) string {
	p.t.Helper()
	full := filepath.Join(p.dir, path)
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
	return full
}

// project makes the project shop and goes into it.
func (p *place) project(runtime, base string) {
	p.t.Helper()
	code, _, stderr, _ := p.call("init", "--runtime", runtime, "--registry", p.host, "--base", base, "shop")
	if code != 0 {
		p.t.Fatalf("init: exit %d: %s", code, stderr)
	}
	p.dir = filepath.Join(p.dir, "shop")
	p.t.Chdir(p.dir)
}

// forget removes every local image of a repository.
func forget(t *testing.T, repo string) {
	ids, err := exec.Command("docker", "-H", lab.DockerHost(t), "image", "ls", "--all", "--quiet", "--no-trunc", repo).Output()
	if err != nil {
		t.Errorf("list images of %s: %v", repo, err)
	}
	for _, id := range strings.Fields(string(ids)) {
		if out, err := exec.Command("docker", "-H", lab.DockerHost(t), "image", "rm", "--force", id).CombinedOutput(); err != nil && !strings.Contains(string(out), "No such image") {
			t.Errorf("remove image %s: %v: %s", id, err, out)
		}
	}
}

func (p *place) releases(app string) []fleet.Release {
	p.t.Helper()
	c, err := consul.Open("svc", hclog.NewNullLogger())
	if err != nil {
		p.t.Fatal(err)
	}
	list, bad, err := c.Releases(p.t.Context(), app)
	if err != nil || len(bad) > 0 {
		p.t.Fatalf("releases: %v, %q", err, bad)
	}
	return list
}

func (p *place) journal(app string) []fleet.Audit {
	p.t.Helper()
	c, err := consul.Open("svc", hclog.NewNullLogger())
	if err != nil {
		p.t.Fatal(err)
	}
	list, err := c.Records(p.t.Context(), app, time.Time{})
	if err != nil {
		p.t.Fatal(err)
	}
	return list
}

var oneLine = regexp.MustCompile(`^\S+@sha256:[0-9a-f]{64}\n$`)

func TestANewProjectIsBuiltPushedAndRecorded(t *testing.T) {
	base := lab.GoImage(t)
	p := newPlace(t, "")
	p.project("go", base)
	// The image holds the program only, so its own tests run here.
	if out, err := exec.Command("go", "test", "./...").CombinedOutput(); err != nil {
		t.Errorf("the project's tests: %v\n%s", err, out)
	}
	code, stdout, stderr, cold := p.call("--push")
	if code != 0 || !oneLine.MatchString(stdout) {
		t.Fatalf("exit %d, stdout %q\n%s", code, stdout, stderr)
	}
	image := strings.TrimSpace(stdout)
	list := p.releases("shop")
	if len(list) != 1 || list[0].Image != image || !list[0].Test.Ran || list[0].Git.Dirty || list[0].Name != list[0].Git.Commit[:12] {
		t.Fatalf("releases: %+v", list)
	}
	got, err := registry.Digest(t.Context(), list[0].Tag, true)
	if err != nil || p.host+"/shop@"+got != image {
		t.Errorf("the registry has %q, %v, want %s", got, err, image)
	}
	code, stdout, _, warm := p.call("--push", "--json")
	var again outcome
	if err := json.Unmarshal([]byte(stdout), &again); err != nil || code != 0 || again.Changed || !again.Recorded || again.Image != image {
		t.Errorf("again: exit %d, %s, %v", code, stdout, err)
	}
	if got := p.releases("shop"); !got[0].BuiltAt.Equal(list[0].BuiltAt) {
		t.Error("the record was written again")
	}
	if got := p.journal("shop"); len(got) != 2 || got[0].Result != "ok" || got[1].Result != "ok" {
		t.Errorf("journal: %+v", got)
	}
	t.Logf("first %s, again %s", cold.Round(time.Millisecond), warm.Round(time.Millisecond))
}

// Its test runs in the image, as for every project; only the push is left out, because
// the base is large.
func TestANewProjectIsBuiltOnABaseThatBringsAll(t *testing.T) {
	for _, runtime := range []string{"python", "static"} {
		t.Run(runtime, func(t *testing.T) {
			p := newPlace(t, "")
			p.project(runtime, lab.BaseImage)
			code, stdout, stderr, _ := p.call("--json")
			var done outcome
			if err := json.Unmarshal([]byte(stdout), &done); err != nil || code != 0 || !done.Test.Ran || !done.Changed || done.Pushed {
				t.Errorf("exit %d, %s, %v\n%s", code, stdout, err, stderr)
			}
		})
	}
}

func TestWhatFailsLeavesNoRecordAndNoImageInTheRegistry(t *testing.T) {
	rows := []struct {
		name   string
		app    string // test of the spec
		docker string
		limit  string // --test-timeout
		code   int
		want   []string // parts of stderr
	}{
		{
			"a failing step", "test: [\"true\"]", "RUN [\"python3\", \"-c\", \"print('cannot compile'); raise SystemExit(2)\"]", "5m", 1,
			[]string{"svc-build: build image: step [2/2] RUN [\"python3\"", ": exit code: 2\n  cannot compile\n"},
		},
		{
			"a failing test", "test: [python3, -c, \"print('2 tests failed'); raise SystemExit(9)\"]", "", "5m", 1,
			[]string{"svc-build: run test python3 -c", "exit code 9\n  2 tests failed\n"},
		},
		{
			"a test without an end", "test: [sleep, \"600\"]", "", "1s", 15,
			[]string{"still running after 1s", "hint: --test-timeout"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t, "")
			p.source(row.app, "FROM "+lab.BaseImage+"\n"+row.docker)
			code, stdout, stderr, _ := p.call("--push", "--tag", "v1", "--test-timeout", row.limit)
			if code != row.code || stdout != "" {
				t.Errorf("exit %d, want %d, stdout %q", code, row.code, stdout)
			}
			for _, part := range row.want {
				if !strings.Contains(stderr, part) {
					t.Errorf("no %q in\n%s", part, stderr)
				}
			}
			p.nothingThere()
			if got := p.journal("shop"); len(got) != 1 || got[0].Changed || got[0].Result == "ok" {
				t.Errorf("journal: %+v", got)
			}
		})
	}
}

// source writes a folder with a Dockerfile of its own.
func (p *place) source(test, dockerfile string) {
	p.t.Helper()
	p.write("app.yaml", "app: shop\nbuild:\n  image: "+p.host+"/shop\n  "+test+"\nservices:\n  web: {command: [sleep, \"600\"], port: 8000, check: {tcp: true}}\n")
	p.write("Dockerfile", dockerfile+"\nLABEL test=\""+p.t.Name()+"\"\n")
}

// fromNothing is a Dockerfile of an image that is quickly pushed.
const fromNothing = "FROM scratch\nCOPY app.yaml /"

func (p *place) nothingThere() {
	p.t.Helper()
	if list := p.releases("shop"); len(list) != 0 {
		p.t.Errorf("recorded: %+v", list)
	}
	if there, err := registry.Exists(p.t.Context(), p.host+"/shop:v1", true); there || err != nil {
		p.t.Errorf("in the registry: %v, %v", there, err)
	}
}

func TestAPushThatIsDeniedLeavesNoRecord(t *testing.T) {
	guarded := lab.RegistryWithLogin(t)
	p := newPlace(t, guarded.Host)
	p.source("", fromNothing)
	lab.LogOut(t)
	code, stdout, stderr, _ := p.call("--push", "--tag", "v1")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "hint: docker login "+guarded.Host) {
		t.Errorf("exit %d, stdout %q\n%s", code, stdout, stderr)
	}
	guarded.LogIn(t)
	p.nothingThere()
	code, stdout, stderr, _ = p.call("--push", "--tag", "v1")
	if code != 0 || !oneLine.MatchString(stdout) || strings.Contains(stderr, guarded.Password) {
		t.Errorf("with a login: exit %d, stdout %q\n%s", code, stdout, stderr)
	}
}

// dying is an engine whose registry is gone when the test has passed.
type dying struct {
	engine
	kill func()
}

func (d dying) RunTest(ctx context.Context, r docker.TestRequest) (time.Duration, error) {
	defer d.kill()
	return d.engine.RunTest(ctx, r)
}

func TestARegistryThatDiesBeforeThePushLeavesNoRecord(t *testing.T) {
	guarded := lab.RegistryWithLogin(t)
	p := newPlace(t, guarded.Host)
	guarded.LogIn(t)
	p.source("test: [\"true\"]", "FROM "+lab.BaseImage)
	open := p.world.engine
	p.world.engine = func(ctx context.Context, log hclog.Logger) (engine, error) {
		e, err := open(ctx, log)
		return dying{e, guarded.Kill}, err
	}
	code, stdout, stderr, took := p.call("--push", "--tag", "v1")
	if code != 13 || stdout != "" || !strings.Contains(stderr, "connection refused") {
		t.Errorf("exit %d, stdout %q\n%s", code, stdout, stderr)
	}
	if list := p.releases("shop"); len(list) != 0 {
		t.Errorf("recorded: %+v", list)
	}
	t.Logf("the push gave up after %s", took.Round(time.Millisecond))
	code, _, stderr, _ = p.call("--push", "--tag", "v1")
	if code != 13 || strings.Contains("\n"+stderr, "\nbuild: ") {
		t.Errorf("a registry that is gone from the start: exit %d\n%s", code, stderr)
	}
}

func TestConsulIsAskedForBeforeTheBuild(t *testing.T) {
	p := newPlace(t, "")
	p.source("", fromNothing)
	p.agent.Kill()
	code, stdout, stderr, _ := p.call("--push", "--tag", "v1")
	if code != 13 || stdout != "" || strings.Contains("\n"+stderr, "\nbuild: ") || !strings.Contains(stderr, "--no-record") {
		t.Errorf("exit %d, stdout %q\n%s", code, stdout, stderr)
	}
	code, stdout, stderr, _ = p.call("--push", "--tag", "v1", "--no-record")
	if code != 0 || !oneLine.MatchString(stdout) {
		t.Errorf("without a record: exit %d, stdout %q\n%s", code, stdout, stderr)
	}
}

func TestASecretOfTheCommandLineReachesAStepAndNoLayer(t *testing.T) {
	p := newPlace(t, "")
	p.source("secrets: [pip]\n  test: [test, \"!\", -e, /run/secrets/pip]",
		"FROM "+lab.BaseImage+`
RUN --mount=type=secret,id=pip,required=true ["python3", "-c", "print('got', open('/run/secrets/pip').read())"]`)
	t.Setenv("PIP_TOKEN", "hunter2-hunter2")
	code, stdout, stderr, _ := p.call("--no-cache", "--secret", "id=pip,env=PIP_TOKEN")
	if code != 0 || !strings.Contains(stderr, "| got ***") || strings.Contains(stderr, "hunter2") {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	id := strings.TrimSpace(stdout[strings.Index(stdout, "sha256:"):])
	saved, err := exec.Command("docker", "-H", lab.DockerHost(t), "history", "--no-trunc", id).CombinedOutput()
	if err != nil || bytes.Contains(saved, []byte("hunter2")) {
		t.Errorf("history: %v\n%s", err, saved)
	}
}

func TestAnInterruptedBuildExits130AndPushesNothing(t *testing.T) {
	p := newPlace(t, "")
	p.source("test: [sleep, \"600\"]", "FROM "+lab.BaseImage)
	ctx, interrupt := context.WithCancelCause(t.Context())
	open := p.world.engine
	p.world.engine = func(c context.Context, log hclog.Logger) (engine, error) {
		e, err := open(c, log)
		return interrupted{e, lab.DockerHost(t), func() { interrupt(tool.Interrupt()) }}, err
	}
	var out, talk bytes.Buffer
	code := tool.Run(ctx, program(p.world), []string{"svc-build", "--push", "--tag", "v1"}, strings.NewReader(""), &out, &talk)
	if code != 130 || out.Len() != 0 {
		t.Errorf("exit %d, stdout %q\n%s", code, out.String(), talk.String())
	}
	p.nothingThere()
	if left := testsOf(lab.DockerHost(t)); left != "" {
		t.Errorf("left behind: %q", left)
	}
}

// interrupted is an engine during whose test the user presses Ctrl-C.
type interrupted struct {
	engine
	host  string // of the real engine
	press func()
}

func (i interrupted) RunTest(ctx context.Context, r docker.TestRequest) (time.Duration, error) {
	go func() {
		for ctx.Err() == nil && testsOf(i.host, "status=running") == "" {
			time.Sleep(50 * time.Millisecond)
		}
		i.press()
	}()
	return i.engine.RunTest(ctx, r)
}

// testsOf lists the containers of tests of the app; a failure is part of what it returns.
func testsOf(host string, filter ...string) string {
	args := []string{"-H", host, "ps", "--all", "--quiet", "--filter", "label=" + fleet.LabelKind + "=test", "--filter", "label=" + fleet.LabelApp + "=shop"}
	for _, f := range filter {
		args = append(args, "--filter", f)
	}
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		return err.Error() + " " + string(out)
	}
	return string(out)
}
