package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func ask(t *testing.T, address string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	res, err := client.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAFrontFollowsTheInstance(t *testing.T) {
	server := func(text string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
		t.Cleanup(s.Close)
		return s
	}
	a, b := server("a"), server("b")
	f, err := openFront(18000)
	if err != nil {
		t.Fatal(err)
	}
	f.To(strings.TrimPrefix(a.URL, "http://"))
	if got := ask(t, f.Address()); got != "a" {
		t.Errorf("got %q, want a", got)
	}
	a.Close()
	answer := make(chan string)
	go func() { answer <- ask(t, f.Address()) }() // waits while nothing is there
	f.To(strings.TrimPrefix(b.URL, "http://"))
	if got := <-answer; got != "b" {
		t.Errorf("got %q, want b", got)
	}
	f.Close()
	if _, err := http.Get("http://" + f.Address()); err == nil { //nolint:bodyclose // there is none
		t.Error("it still listens")
	}
}

func TestAFrontWhosePortIsTakenListensOnTheNext(t *testing.T) {
	a, err := openFront(18100)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var port int
	if _, err := fmt.Sscanf(a.Address(), "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	b, err := openFront(port)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Address() == a.Address() {
		t.Errorf("both listen on %s", a.Address())
	}
}
