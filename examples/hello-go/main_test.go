package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestFrontPageShowsGreetingAndRelease(t *testing.T) {
	w := httptest.NewRecorder()
	newServer("good morning", "r42").routes().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got, want := w.Body.String(), "good morning, release r42\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

func TestUnknownPageIsNotFound(t *testing.T) {
	w := httptest.NewRecorder()
	newServer("hello", "r42").routes().ServeHTTP(w, httptest.NewRequest("GET", "/nothing-here", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", w.Code)
	}
}

func TestLeavingServerAnswersAndAsksItsClientsToLeave(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer("hello", "r42")
	s.drain = 3 * time.Second
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, l) }()

	if get(t, l).Close {
		t.Error("a serving server closes the connection")
	}
	stop()
	for !s.leaving.Load() {
		time.Sleep(time.Millisecond)
	}
	if !get(t, l).Close {
		t.Error("a leaving server keeps the connection")
	}
	if err := <-ended; err != nil {
		t.Errorf("serve ends with %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens after it has left")
	}
}

func TestSelftestPasses(t *testing.T) {
	if err := selftest(t.Context()); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, l net.Listener) *http.Response {
	t.Helper()
	answer, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("answer %s, error %v", answer.Status, err)
	}
	return answer
}
