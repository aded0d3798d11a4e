package registry

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// serve starts a registry in memory that holds app:1, and returns its host and the digest.
func serve(t *testing.T, around func(http.Handler) http.Handler) (host, digest string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	var handler http.Handler = fake.New(fake.Logger(log.New(io.Discard, "", 0)))
	open := httptest.NewServer(handler)
	t.Cleanup(open.Close)
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(open.URL, "http://") + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if around != nil {
		handler = around(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), hash.String()
}

func TestTheRegistrysOwnDigestIsReturned(t *testing.T) {
	host, digest := serve(t, nil)
	for _, ref := range []string{host + "/app:1", host + "/app@" + digest} {
		got, err := Digest(t.Context(), ref, true)
		if err != nil || got != digest {
			t.Errorf("%s: %q, %v, want %q", ref, got, err, digest)
		}
	}
	if ok, err := Exists(t.Context(), host+"/app:1", true); !ok || err != nil {
		t.Errorf("exists: %v, %v", ok, err)
	}
	if ok, err := Exists(t.Context(), host+"/app:2", true); ok || err != nil {
		t.Errorf("what is not there exists: %v, %v", ok, err)
	}
}

func TestARegistryWithoutHeadIsAskedByGet(t *testing.T) {
	host, digest := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	if got, err := Digest(t.Context(), host+"/app:1", true); err != nil || got != digest {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCredentialsComeFromTheDockerSettings(t *testing.T) {
	host, digest := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "bob" || password != "hunter2" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	_, err := Digest(t.Context(), host+"/app:1", true)
	var f *fault.Error
	if !errors.Is(err, ErrDenied) || !errors.As(err, &f) || f.Hint != "docker login "+host || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without a login: %v", err)
	}
	settings := `{"auths":{"` + host + `":{"auth":"Ym9iOmh1bnRlcjI="}}}`
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Digest(t.Context(), host+"/app:1", true); err != nil || got != digest {
		t.Errorf("with a login: %q, %v", got, err)
	}
}

func TestEachFailureHasItsKind(t *testing.T) {
	status := func(code int) func(http.Handler) http.Handler {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				w.WriteHeader(code)
			})
		}
	}
	for name, row := range map[string]struct {
		code int
		want fault.Kind
	}{
		"not there":       {http.StatusNotFound, fault.NotFound},
		"forbidden":       {http.StatusForbidden, fault.Failed},
		"a broken server": {http.StatusNotImplemented, fault.Unreachable},
		"a strange one":   {http.StatusTeapot, fault.Failed},
	} {
		host, _ := serve(t, status(row.code))
		_, err := Digest(t.Context(), host+"/app:1", true)
		if fault.KindOf(err) != row.want || err == nil {
			t.Errorf("%s: %v (%v), want %v", name, err, fault.KindOf(err), row.want)
		}
		if row.code == http.StatusNotFound && !errors.Is(err, fleet.ErrNotFound) {
			t.Errorf("%s: %v is no ErrNotFound", name, err)
		}
	}
	server := httptest.NewServer(nil)
	gone := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	if _, err := Digest(t.Context(), gone+"/app:1", true); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("nobody listens: %v (%v)", err, fault.KindOf(err))
	}
	if _, err := Digest(t.Context(), "Not A Name", true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a bad name: %v (%v)", err, fault.KindOf(err))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := Digest(ctx, gone+"/app:1", true); err == nil {
		t.Error("no error after the caller's deadline")
	}
}

func TestPlainHTTPIsRefusedUnlessTheEngineListsIt(t *testing.T) {
	host, _ := serve(t, nil)
	_, err := Digest(t.Context(), host+"/app:1", false)
	if fault.KindOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("error is %v", err)
	}
	listed := []string{"127.0.0.0/8", "::1/128", "10.9.0.0/16", "plain.example:5000", "all.example"}
	for ref, want := range map[string]bool{
		"127.0.0.1:5000/a:1":     true,
		"[::1]:5000/a:1":         true,
		"localhost:5000/a:1":     true,
		"10.9.3.4:5000/a:1":      true,
		"10.8.3.4:5000/a:1":      false,
		"plain.example:5000/a:1": true,
		"plain.example:5001/a:1": false,
		"all.example:77/a@sha256:" + strings.Repeat("0", 64): true,
		"registry.service.consul/a:1":                        false,
		"a:1":                                                false,
		"Not A Name":                                         false,
	} {
		if got := Insecure(ref, listed); got != want {
			t.Errorf("%s: %v, want %v", ref, got, want)
		}
	}
}
