//go:build real

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/source"
)

// bench is an engine with one image name of the test's own.
type bench struct {
	*Engine
	t   *testing.T
	tag string
	ids []string // of all that was built
	out bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	e, name := testEngine(t)
	b := &bench{Engine: e, t: t, tag: name + ":1"}
	t.Cleanup(func() {
		slices.Sort(b.ids)
		for _, id := range slices.Compact(b.ids) {
			b.removeTag(id)
		}
	})
	return b
}

func (b *bench) removeTag(ref string) {
	_, err := b.api.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true, PruneChildren: true})
	if err != nil && !strings.Contains(err.Error(), "No such image") {
		b.t.Errorf("remove what the test built: %v", err)
	}
}

// build builds a folder of files; change is called on the request before.
func (b *bench) build(files map[string]string, change func(dir string, r *BuildRequest)) (string, error) {
	b.t.Helper()
	dir := b.t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	r := BuildRequest{Tags: []string{b.tag}, Out: &b.out, Every: true}
	if change != nil {
		change(dir, &r)
	}
	tree, err := source.Scan(b.t.Context(), dir, "Dockerfile", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Context, r.Dockerfile = tree.Files(), tree.Dockerfile()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	id, err := b.Build(ctx, r)
	if id != "" {
		b.ids = append(b.ids, id)
	}
	return id, err
}

// layers returns every file of every layer of an image as "mode path[ → link] = content".
func (b *bench) layers(id string) []string {
	b.t.Helper()
	saved, err := b.api.ImageSave(b.t.Context(), []string{id})
	if err != nil {
		b.t.Fatal(err)
	}
	defer saved.Close()
	var out []string
	outer := tar.NewReader(saved)
	for {
		h, err := outer.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/layer.tar") && !strings.HasPrefix(h.Name, "blobs/") {
			text, err := io.ReadAll(outer)
			if err != nil {
				b.t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("meta %s = %s", h.Name, text))
			continue
		}
		out = append(out, readLayer(b.t, outer)...)
	}
}

func readLayer(t *testing.T, r io.Reader) (out []string) {
	t.Helper()
	inner := tar.NewReader(r)
	for {
		h, err := inner.Next()
		if err != nil { // the end, or a blob that is no layer
			return out
		}
		text, err := io.ReadAll(inner)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%04o %d:%d %s → %s = %s", h.Mode&0o7777, h.Uid, h.Gid, h.Name, h.Linkname, text))
	}
}

func TestAnImageIsBuiltFromNothingWithLinksAndModes(t *testing.T) {
	b := newBench(t)
	id, err := b.build(map[string]string{
		"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": "*.secret\nDockerfile\n.dockerignore\n",
		"bin/run": "#!", "x.secret": "hidden", "plain": "text",
	}, func(dir string, r *BuildRequest) {
		if err := errors.Join(os.Chmod(filepath.Join(dir, "bin/run"), os.ModeSetuid|0o750), os.Symlink("bin/run", filepath.Join(dir, "link")),
			os.Symlink("/nowhere", filepath.Join(dir, "dangling"))); err != nil {
			t.Fatal(err)
		}
		r.Labels = map[string]string{"org.opencontainers.image.title": "shop"}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.out.String())
	}
	all := b.layers(id)
	for _, want := range []string{
		"4750 0:0 bin/run →  = #!", "0777 0:0 link → bin/run = ", "0777 0:0 dangling → /nowhere = ", "0644 0:0 plain →  = text",
	} {
		if !slices.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(all, "\n"))
		}
	}
	for _, line := range all {
		if strings.Contains(line, "secret") && !strings.HasPrefix(line, "meta") || strings.Contains(line, " .dockerignore") {
			t.Errorf("ignored, but there: %q", line)
		}
	}
	got, err := b.Image(t.Context(), b.tag)
	if err != nil || got.ID != id || got.Labels["org.opencontainers.image.title"] != "shop" {
		t.Errorf("image %+v, %v, want id %s", got, err, id)
	}
}

func TestBuildingAgainIsCachedAndGivesTheSameImage(t *testing.T) {
	b := newBench(t)
	files := map[string]string{"Dockerfile": "FROM " + lab.BaseImage + "\nCOPY data /data\nRUN [\"sha256sum\", \"/data\"]\n", "data": t.Name()}
	first, err := b.build(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.out.Reset()
	second, err := b.build(files, nil)
	if err != nil || second != first {
		t.Errorf("second build is %s, %v, want %s", second, err, first)
	}
	if text := b.out.String(); !strings.Contains(text, `[3/3] RUN ["sha256sum", "/data"] cached`) {
		t.Errorf("not cached:\n%s", text)
	}
	b.out.Reset()
	if _, err := b.build(files, func(_ string, r *BuildRequest) { r.NoCache = true }); err != nil || strings.Contains(b.out.String(), "RUN [\"sha256sum\", \"/data\"] cached") {
		t.Errorf("without the cache: %v\n%s", err, b.out.String())
	}
}

func TestAFailingStepIsNamedWithItsLastLines(t *testing.T) {
	b := newBench(t)
	_, err := b.build(map[string]string{
		"Dockerfile": "FROM " + lab.BaseImage + "\nRUN [\"python3\", \"-c\", \"for i in range(100): print('line', i)\\nraise SystemExit(7)\"]\n",
	}, nil)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Failed || !strings.HasPrefix(err.Error(), "build image: step [2/2] RUN [\"python3\"") || !strings.HasSuffix(err.Error(), ": exit code: 7") {
		t.Fatalf("error is %v", err)
	}
	if len(f.Detail) != 30 || f.Detail[29] != "line 99" || f.Detail[0] != "line 70" {
		t.Errorf("%d lines: %q", len(f.Detail), f.Detail)
	}
	if _, err := b.Image(t.Context(), b.tag); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("a failed build left an image: %v", err)
	}
}

func TestADockerfileThatIsNoneFailsWithItsReason(t *testing.T) {
	b := newBench(t)
	_, err := b.build(map[string]string{"Dockerfile": "FORM scratch\n"}, nil)
	if fault.KindOf(err) != fault.Failed || err == nil || !strings.Contains(err.Error(), "FORM") {
		t.Errorf("error is %v", err)
	}
}

func TestABuildSecretIsSeenByItsStepAndLandsInNoLayer(t *testing.T) {
	b := newBench(t)
	const secret = "s3cr3t-0123456789"
	files := map[string]string{
		"Dockerfile": "FROM " + lab.BaseImage + "\nRUN --mount=type=secret,id=pip,required=true [\"python3\", \"-c\", \"import hashlib; print(hashlib.sha256(open('/run/secrets/pip','rb').read()).hexdigest(), file=open('/seen','w'))\"]\n" +
			"FROM scratch\nCOPY --from=0 /seen /seen\nCOPY --from=0 /run /run\n",
	}
	id, err := b.build(files, func(_ string, r *BuildRequest) {
		r.Secrets, r.NoCache = map[string][]byte{"pip": []byte(secret)}, true
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.out.String())
	}
	all := b.layers(id)
	if !slices.Contains(all, "0644 0:0 seen →  = 15edbb16ae7326a332716402df2fb28e78f7eae0f4c60f75ddc794bd9711c80d\n") {
		t.Errorf("the step saw no secret:\n%s", strings.Join(all, "\n"))
	}
	for _, line := range all {
		if strings.Contains(line, secret) {
			t.Errorf("the secret is in the image: %.200s", line)
		}
	}
	history, err := b.api.ImageHistory(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(history); strings.Contains(text, secret) {
		t.Errorf("the secret is in the history: %s", text)
	}
	if _, err := b.build(files, func(_ string, r *BuildRequest) { r.NoCache = true }); err == nil || !strings.Contains(err.Error(), "pip") {
		t.Errorf("without the secret: %v", err)
	}
}

func TestAPrivateBaseNeedsTheLoginOfACredentialHelper(t *testing.T) {
	registry := lab.RegistryWithLogin(t)
	b := newBench(t)
	base := registry.Host + "/private/base:1"
	if _, err := b.build(map[string]string{"Dockerfile": "FROM scratch\nCOPY data /data\n", "data": t.Name()},
		func(_ string, r *BuildRequest) { r.Tags = []string{base} }); err != nil {
		t.Fatal(err)
	}
	lab.LogOut(t)
	if _, err := b.Push(t.Context(), base, nil); fault.KindOf(err) != fault.Failed || err == nil || !strings.Contains(hintOf(err), "docker login "+registry.Host) {
		t.Errorf("push without a login: %v (%v), hint %q", err, fault.KindOf(err), hintOf(err))
	}
	registry.LogIn(t)
	digest, err := b.Push(t.Context(), base, nil)
	if err != nil || !wholeDigest.MatchString(digest) {
		t.Fatalf("push with a login: %q, %v", digest, err)
	}
	b.removeTag(base)
	fromPrivate := map[string]string{"Dockerfile": "FROM " + base + "\nCOPY mine /mine\n", "mine": "m"}
	lab.LogOut(t)
	if _, err := b.build(fromPrivate, nil); err == nil || !strings.Contains(hintOf(err), "docker login") {
		t.Errorf("build without a login: %v, hint %q", err, hintOf(err))
	}
	registry.LogIn(t)
	id, err := b.build(fromPrivate, nil)
	if err != nil {
		t.Fatalf("build with a login: %v\n%s", err, b.out.String())
	}
	if all := strings.Join(b.layers(id), "\n"); !strings.Contains(all, "data →  = "+t.Name()) || strings.Contains(all+b.out.String(), registry.Password) {
		t.Errorf("layers:\n%s", all)
	}
	registry.Kill()
	if _, err := b.Push(t.Context(), base, nil); err == nil {
		t.Error("push to a registry that is gone succeeds")
	}
}

func TestACancelledBuildEndsOnTheEngineToo(t *testing.T) {
	b := newBench(t)
	marker := filepath.Base(t.TempDir()) + fmt.Sprint(os.Getpid())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		tree := t.TempDir()
		_ = os.WriteFile(filepath.Join(tree, "Dockerfile"), []byte("FROM "+lab.BaseImage+"\nRUN [\"python3\", \"-c\", \"import time; print('begun', flush=True); time.sleep(300)\", \""+marker+"\"]\n"), 0o600)
		scanned, err := source.Scan(ctx, tree, "Dockerfile", nil)
		if err == nil {
			_, err = b.Build(ctx, BuildRequest{Context: scanned.Files(), Dockerfile: "Dockerfile", Tags: []string{b.tag}, Every: true, Out: writerFunc(func(p []byte) {
				if bytes.Contains(p, []byte("| begun")) {
					cancel()
				}
			})})
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the build goes on")
	}
	eventually(t, 20*time.Second, "the step's process to end", func() bool { return !running(marker) })
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// running reports whether a process of this machine, where the test engine runs, has word among its arguments.
func running(word string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(all, func(file string) bool {
		text, _ := os.ReadFile(file)
		return bytes.Contains(text, []byte("\x00"+word+"\x00"))
	})
}
