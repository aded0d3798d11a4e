package lab

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"svckit/lab/ground"
	"svckit/lab/setup"
)

// Engine is a Docker engine of one test's own, in a network of its own: a second node.
type Engine struct {
	Host   string   // unix:// address of the engine; it works from every network
	Prefix []string // runs a program in the engine's network: append the program and its arguments
	engine *ground.Engine
}

// NewEngine starts an engine beside the shared one, for tests that restart or
// kill the engine or need a second node. It holds BaseImage and is gone after the test. It takes a second.
func NewEngine(t testing.TB) *Engine {
	t.Helper()
	lab := os.Getenv(ground.NameVar)
	if lab == "" {
		t.Fatal("no lab: run `make test`, or bin/lab run -- go test -tags real …")
	}
	place, err := ground.NewPlace(lab + "." + strings.ToLower(rand.Text()[:8]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := ground.Sweep(ctx, place.String()); err != nil {
			t.Error(err)
		}
	})
	parts, err := setup.Find()
	if err != nil {
		t.Fatal(err)
	}
	engine, err := ground.Start(t.Context(), place, parts.BaseImage())
	if err != nil {
		t.Fatal(err)
	}
	return &Engine{Host: place.Host(), Prefix: place.Inside(), engine: engine}
}

// Restart stops the engine's daemon in order and starts it again; Restart after Kill brings it back.
func (e *Engine) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.engine.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the engine's daemon as a crash would. Its containers run on.
func (e *Engine) Kill(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.engine.Kill(ctx); err != nil {
		t.Fatal(err)
	}
}

// Client speaks HTTP to addresses in the engine's network, such as 127.0.0.1 there.
func (e *Engine) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: e.Dial}}
}

// Dial connects to an IP address and port in the engine's network.
func (e *Engine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return e.engine.Dial(ctx, network, address)
}
