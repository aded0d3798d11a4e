// Command hello-go answers HTTP on $SVC_PORT (8080).
//
//	GET /         a greeting and the release that runs
//	GET /healthz  200 while it is well
//
// hello-go selftest starts the server, asks it whether it is well, and ends:
// a test for an image that holds nothing else.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	action := run
	if len(os.Args) > 1 && os.Args[1] == "selftest" {
		action = selftest
	}
	if err := action(ctx); err != nil {
		slog.Error("hello-go ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	l, err := net.Listen("tcp", ":"+cmp.Or(os.Getenv("SVC_PORT"), "8080"))
	if err != nil {
		return err
	}
	s := newServer(cmp.Or(os.Getenv("GREETING"), "hello"), cmp.Or(os.Getenv("SVC_RELEASE"), "development"))
	slog.Info("serving", "address", l.Addr().String(), "release", s.release)
	return s.serve(ctx, l)
}

// server is the web server and how it leaves.
type server struct {
	greeting, release string
	drain             time.Duration // keep-alive clients are asked to leave for so long
	grace             time.Duration // requests that still run after that have so long
	leaving           atomic.Bool
}

func newServer(greeting, release string) *server {
	return &server{greeting: greeting, release: release, drain: 2 * time.Second, grace: 20 * time.Second}
}

// serve answers until ctx ends, and then leaves without failing a request:
// each answer first tells its client to close the connection, so that it comes
// back elsewhere; only then does the listener close.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	web := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.leaving.Store(true)
	slog.Info("leaving", "drain", s.drain)
	select {
	case err := <-ended:
		return err
	case <-time.After(s.drain):
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	return web.Shutdown(patience)
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s, release %s\n", s.greeting, s.release)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		fmt.Fprintln(w, "ok")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

func selftest(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	s := newServer("hello", "selftest")
	s.drain = 0
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, l) }()
	answer, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err == nil {
		err = answer.Body.Close()
	}
	if err == nil && !strings.HasPrefix(answer.Status, "200") {
		err = errors.New("healthz answers " + answer.Status)
	}
	stop()
	return errors.Join(err, <-ended)
}
