package docker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/system"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestAnEngineThatCannotBeUsedSaysWhyInOneLine(t *testing.T) {
	dir, err := os.MkdirTemp("", "dk") // a socket's path is at most 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	answer := func(version string, code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", version)
			w.WriteHeader(code)
		}))
		t.Cleanup(s.Close)
		return "tcp://" + strings.TrimPrefix(s.URL, "http://")
	}
	rows := []struct{ name, host, api, want, hint string }{
		{"no socket", "unix://" + dir + "/none.sock", "", "open docker: socket " + dir + "/none.sock is missing", "systemctl start docker"},
		{"no daemon", "unix://" + dead, "", "open docker: the daemon behind socket " + dead + " is not running", "systemctl start docker"},
		{"no address", "nonsense", "", "open docker: unable to parse docker host", "check DOCKER_HOST"},
		{"another node", "ssh://root@node2", "", "DOCKER_HOST is an ssh address", "run svckit on that node itself"},
		{"too old", answer("1.40", 200), "", `speaks API "1.40": too old, 1.41 or later is needed`, "upgrade Docker"},
		{"not Docker", answer("", 404), "", "ping docker at tcp://", "check DOCKER_HOST"},
		{"version forced too high", answer("1.41", 200), "1.45", "DOCKER_API_VERSION 1.45 cannot be used", "unset DOCKER_API_VERSION"},
		{"version forced too low", answer("1.41", 200), "1.24", "DOCKER_API_VERSION 1.24 cannot be used", "unset DOCKER_API_VERSION"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", row.host)
			t.Setenv("DOCKER_API_VERSION", row.api)
			_, err := Open(t.Context(), hclog.NewNullLogger())
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q, want %q in one line", err, row.want)
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Unreachable || !strings.Contains(f.Hint, row.hint) {
				t.Errorf("kind %s, hint %q; want unreachable, %q", fault.KindOf(err), f.Hint, row.hint)
			}
		})
	}
}

func TestTheHighestVersionThatBothSidesKnowIsSpoken(t *testing.T) {
	for daemon, want := range map[string]string{"1.41": "1.41", "1.44": "1.44", "1.99": "1.51"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Api-Version", daemon) }))
		t.Setenv("DOCKER_HOST", "tcp://"+strings.TrimPrefix(s.URL, "http://"))
		e, err := Open(t.Context(), hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		if got := e.api.ClientVersion(); got != want {
			t.Errorf("daemon %s: spoke %s, want %s", daemon, got, want)
		}
		_ = e.Close()
		s.Close()
	}
}

func TestASocketsErrorIsNamedByItsCause(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.EACCES:       "permission denied on socket /s",
		syscall.ENOENT:       "socket /s is missing",
		syscall.ECONNREFUSED: "the daemon behind socket /s is not running",
		syscall.EMFILE:       "too many open files",
	} {
		if err := socketError("/s", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", cause)}); !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q, want %q", cause, err, want)
		}
	}
}

func TestAnErrorOfTheEngineKeepsItsKind(t *testing.T) {
	rows := []struct {
		name string
		err  error
		kind fault.Kind
		is   error
		text string
	}{
		{"not found", errors.Join(cerrdefs.ErrNotFound), fault.NotFound, fleet.ErrNotFound, "inspect x: not found: not found"},
		{"deadline", context.DeadlineExceeded, fault.Timeout, context.DeadlineExceeded, "inspect x: context deadline exceeded"},
		{"cancelled", context.Canceled, fault.Failed, context.Canceled, "inspect x: context canceled"},
		{"other", errors.New("Error response from daemon: it\n\x1b[31mburns"), fault.Failed, nil, "inspect x: it [31mburns"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := mapError(row.err, "inspect x", "unix:///s")
			if fault.KindOf(err) != row.kind || err.Error() != row.text || row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("%s %q, want %s %q", fault.KindOf(err), err, row.kind, row.text)
			}
		})
	}
}

func TestTheEnginesInfoIsReducedToFacts(t *testing.T) {
	got := engineOf(system.Info{
		ServerVersion: "20.10.24", NCPU: 4, MemTotal: 8 << 30, DockerRootDir: "/var/lib/docker/165536.165536",
		CgroupVersion: "2", LiveRestoreEnabled: true, SecurityOptions: []string{"name=seccomp,profile=default", "name=userns"},
		RegistryConfig: &registry.ServiceConfig{IndexConfigs: map[string]*registry.IndexInfo{
			"docker.io": {Secure: true}, "registry.service.consul:5000": {Secure: false}, "broken": nil,
		}},
	}, "1.41")
	want := fleet.Engine{
		Version: "20.10.24", API: "1.41", CPUs: 4, Memory: 8 << 30, Root: "/var/lib/docker/165536.165536",
		Insecure: []string{"registry.service.consul:5000"}, UserNS: true, CgroupV2: true, LiveStore: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
