package probe

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestHTTPPassesAsConsulSaysExceptForWarnings(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	mux := http.NewServeMux()
	answer := func(path string, status int, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	answer("/ok", 200, "fine\x1b[2J\nyes")
	answer("/none", 204, "")
	answer("/warn", 429, "busy")
	answer("/sick", 503, "no database")
	answer("/long", 200, strings.Repeat("ü", 100_000))
	mux.Handle("/moved", http.RedirectHandler("/ok", http.StatusFound))
	mux.Handle("/circle", http.RedirectHandler("/circle", http.StatusFound))
	mux.HandleFunc("/agent", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Method + " " + r.UserAgent())) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // must not be asked

	for _, row := range []struct {
		name, path, output, err string
		timeout                 time.Duration // 0: longer than it takes
	}{
		{"2xx", "/ok", "HTTP 200 OK fine [2J yes", "", 0},
		{"no body", "/none", "HTTP 204 No Content", "", 0},
		{"redirect", "/moved", "HTTP 200 OK fine [2J yes", "", 0},
		{"who asks", "/agent", "HTTP 200 OK GET svckit-check", "", 0},
		{"long body", "/long", "HTTP 200 OK " + strings.Repeat("ü", 120) + "…", "", 0},
		{"warning", "/warn", "HTTP 429 Too Many Requests busy", "HTTP 429 Too Many Requests", 0},
		{"5xx", "/sick", "HTTP 503 Service Unavailable no database", "HTTP 503 Service Unavailable", 0},
		{"not found", "/nowhere", "HTTP 404 Not Found 404 page not found", "HTTP 404 Not Found", 0},
		{"circle", "/circle", "stopped after 10 redirects", "stopped after 10 redirects", 0},
		{"hangs", "/hang", "no answer in 300ms", "no answer in 300ms", 300 * time.Millisecond},
		{"cut off", "/half", "HTTP 200 OK half", "unexpected EOF", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			output, err := Once(t.Context(), fleet.Check{Type: "http", Target: server.URL + row.path, Timeout: cmp.Or(row.timeout, patient)})
			want := ""
			if row.err != "" {
				want = "probe http " + server.URL + row.path + ": " + row.err
			}
			if got := text(err); output != row.output || got != want {
				t.Errorf("output %q, error %q\nwant   %q, error %q", output, got, row.output, want)
			}
		})
	}
}

// patient is a timeout that a busy machine keeps.
const patient = 30 * time.Second

func TestEachProbeHasAConnectionOfItsOwn(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	for range 3 {
		if _, err := Once(t.Context(), fleet.Check{Type: "http", Target: server.URL, Timeout: patient}); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 probes", n)
	}
}

func TestTCPPassesWhenSomebodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if output, err := Once(t.Context(), fleet.Check{Type: "tcp", Target: address, Timeout: patient}); output != "connected" || err != nil {
		t.Errorf("%q, %v", output, err)
	}
	l.Close()
	output, err := Once(t.Context(), fleet.Check{Type: "tcp", Target: address, Timeout: patient})
	if output != "connect: connection refused" || text(err) != "probe tcp "+address+": connect: connection refused" {
		t.Errorf("%q, %v", output, err)
	}
}

func TestAConnectionThatIsDroppedAtOnceIsNotWell(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	if output, err := Once(t.Context(), fleet.Check{Type: "tcp", Target: l.Addr().String(), Timeout: patient}); err == nil || !strings.Contains(output, "nothing listens behind the port") {
		t.Errorf("%q, %v", output, err)
	}
}

func TestGRPCAsksTheHealthService(t *testing.T) {
	listen := func(register bool) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		if register {
			state := health.NewServer()
			state.SetServingStatus("cart", healthpb.HealthCheckResponse_SERVING)
			state.SetServingStatus("sick", healthpb.HealthCheckResponse_NOT_SERVING)
			healthpb.RegisterHealthServer(server, state)
		}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(server.Stop)
		return l.Addr().String()
	}
	well, bare := listen(true), listen(false)
	for _, row := range []struct{ name, target, output, err string }{
		{"whole server", well, "SERVING", ""},
		{"one service", well + "/cart", "SERVING", ""},
		{"sick service", well + "/sick", "serving status NOT_SERVING", "serving status NOT_SERVING"},
		{"unknown service", well + "/nobody", `the server knows no service "nobody"`, `the server knows no service "nobody"`},
		{"no health service", bare, "the server has no grpc.health.v1.Health service", "the server has no grpc.health.v1.Health service"},
		{"nobody listens", "127.0.0.1:1", "", "connection refused"},
		{"no port", "127.0.0.1", "", "missing port"},
	} {
		t.Run(row.name, func(t *testing.T) {
			output, err := Once(t.Context(), fleet.Check{Type: "grpc", Target: row.target, Timeout: patient})
			if row.output != "" && output != row.output || (err == nil) != (row.err == "") || !strings.Contains(text(err), row.err) {
				t.Errorf("%q, %v; want %q, %q", output, err, row.output, row.err)
			}
		})
	}
}

func TestWhatCannotBeAskedPassesAndNonsenseDoesNot(t *testing.T) {
	for _, kind := range []string{"", "ttl"} {
		if output, err := Once(t.Context(), fleet.Check{Type: kind}); output != "" || err != nil {
			t.Errorf("type %q: %q, %v", kind, output, err)
		}
	}
	for _, c := range []fleet.Check{{Type: "script"}, {Type: "http", Target: "file:///etc/passwd"}} {
		if _, err := Once(t.Context(), c); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v, want invalid", c, err)
		}
	}
	for _, c := range []fleet.Check{{Type: "http", Target: "http://\x00"}, {Type: "http"}, {Type: "tcp", Target: "nobody"}} {
		if _, err := Once(t.Context(), c); err == nil || strings.ContainsRune(err.Error(), '\x00') {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAnInterruptedProbeSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	output, err := Once(ctx, fleet.Check{Type: "tcp", Target: "127.0.0.1:1"})
	if output != "interrupted" || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", output, err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
