//go:build real

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"svckit/lib/fleet"
)

// servers are the ways in which four requests are served at a time.
func servers() map[string][]string {
	uwsgi := []string{"uwsgi", "--plugin", "python3", "--http-socket", "0.0.0.0:8000", "--master", "--processes", "4", "--listen", "64", "--chdir", "/srv", "--need-app", "--die-on-term", "--disable-logging"}
	gunicorn := []string{"gunicorn", "-c", "/srv/gunicorn.conf.py", "--chdir", "/srv"}
	return map[string][]string{
		"sync":    append(gunicorn[:len(gunicorn):len(gunicorn)], "--workers", "4", "app:application"),
		"threads": append(gunicorn[:len(gunicorn):len(gunicorn)], "--workers", "2", "--threads", "2", "app:application"),
		"stats":   append(uwsgi[:len(uwsgi):len(uwsgi)], "--stats", "127.0.0.1:1717", "--wsgi-file", "app.py"),
		"middle":  append(uwsgi[:len(uwsgi):len(uwsgi)], "--wsgi-file", "marked.py"),
	}
}

const serverSpec = `  sync: {master: gunicorn, port: 8000, scale: {strategy: busy_ratio, start_up: 2s}}
  threads: {master: gunicorn, port: 8000, scale: {strategy: busy_ratio, start_up: 2s}}
  stats: {master: uwsgi, port: 8000, scale: {strategy: busy_ratio, start_up: 2s}}
  middle: {master: uwsgi, port: 8000, scale: {strategy: busy_ratio, start_up: 2s}}
`

// load sends requests at a steady pace, whether they are answered or not, until it is ended.
func load(t *testing.T, address string, perSecond int, seconds float64) (end func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	all.Go(func() {
		for next := time.Now(); pause(ctx, time.Until(next)); next = next.Add(time.Second / time.Duration(perSecond)) {
			all.Go(func() { ask(ctx, client, address, seconds) })
		}
	})
	end = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(end)
	return end
}

func ask(ctx context.Context, client *http.Client, address string, seconds float64) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/?s=%g", address, seconds), http.NoBody)
	if err != nil {
		return
	}
	if res, err := client.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

func TestWhatANodeTellsAgreesWithTheLoad(t *testing.T) {
	r := newNodeRig(t)
	dir := programs(t)
	r.release(serverSpec)
	at := map[string]string{}
	for name, command := range servers() {
		_, at[name] = r.start(name, dir, map[string]string{"PYTHONPATH": "/srv"}, command...)
	}
	stop := r.watch()
	for name := range at {
		want := map[bool]int{true: 2, false: 4}[name == "threads"]
		r.until(3*time.Minute, name, "its workers serve", func(s fleet.ServiceSample) bool { return s.Ready == want && s.Starting == 0 })
	}
	// 10 requests a second of 0.2 s: two at a time.
	for _, address := range at {
		load(t, address, 10, 0.2)
	}
	begun := time.Now()
	for name := range at {
		r.until(3*time.Minute, name, "ten seconds of load are seen", func(s fleet.ServiceSample) bool {
			return s.Requests != nil && time.Since(begun) > 14*time.Second
		})
		s := r.until(5*time.Minute, name, "rate 10 ± 1, service 0.2 to 0.24 s, busy = rate × service ± 10 %, nobody waits", func(s fleet.ServiceSample) bool {
			q := s.Requests
			return q != nil && q.Rate10 > 9 && q.Rate10 < 11 && q.Done10 > 9 && q.Done10 < 11 && q.Service > 0.199 && q.Service < 0.24 &&
				q.Busy10 > 0.9*q.Done10*q.Service && q.Busy10 < 1.1*q.Done10*q.Service && q.Waiting <= 1
		})
		t.Logf("%s: %+v, cpu %.3f, %d MiB", name, *s.Requests, s.CPU, s.MemoryIn>>20)
		if s.MemoryIn < 1<<20 || s.CPU <= 0 || s.CPU > 2 || len(s.Errors) > 0 || (name != "stats" && s.Requests.CV2 > 0.1) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	res, err := http.Get(r.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !strings.Contains(string(text), `scaled_service_arrivals_per_second{service="`+r.app+`/sync"}`) {
		t.Errorf("metrics: %.300s, %v", text, err)
	}
	if code := stop(); code != 0 {
		t.Errorf("after TERM it ended with %d", code)
	}
}

func TestAnOverloadedServiceShowsWhoWaits(t *testing.T) {
	r := newNodeRig(t)
	dir := programs(t)
	r.release(serverSpec)
	at, ids := map[string]string{}, map[string]string{}
	for name, command := range servers() {
		ids[name], at[name] = r.start(name, dir, map[string]string{"PYTHONPATH": "/srv"}, command...)
	}
	r.watch()
	for name := range at {
		r.until(3*time.Minute, name, "it serves", func(s fleet.ServiceSample) bool { return s.Ready >= 2 && s.Starting == 0 })
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, address := range at {
		for range 12 {
			all.Go(func() { ask(ctx, client, address, 1200) })
		}
	}
	for name, address := range at {
		sent, last := 12, time.Now()
		s := r.until(5*time.Minute, name, "4 requests are worked on and the others wait", func(s fleet.ServiceSample) bool {
			// A gunicorn with threads accepts more than it works on, so one of two workers may have nearly all of them.
			if q := s.Requests; name == "threads" && q != nil && q.Busy < 4 && time.Since(last) > 3*time.Second {
				all.Go(func() { ask(ctx, client, address, 1200) })
				sent, last = sent+1, time.Now()
			}
			return s.Requests != nil && s.Requests.Busy == 4 && s.Requests.Waiting == float64(sent-4)
		})
		t.Logf("%s: %+v", name, *s.Requests)
	}
	// A worker that is killed in the middle of its request leaves a mark, which is swept.
	list, err := r.engine.Processes(t.Context(), ids["sync"])
	if err != nil {
		t.Fatal(err)
	}
	master := list[0].PID
	for _, p := range list {
		for _, c := range list {
			if c.Parent == p.PID && strings.Contains(c.Command, "gunicorn") && strings.Contains(p.Command, "gunicorn") {
				master = p.PID
			}
		}
	}
	for _, p := range list {
		if p.Parent == master {
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	// Gunicorn starts another one, which takes one of those that wait.
	r.until(3*time.Minute, "sync", "4 requests are worked on and 7 wait", func(s fleet.ServiceSample) bool {
		return s.Ready == 4 && s.Requests != nil && s.Requests.Busy == 4 && s.Requests.Waiting == 7
	})
	ran, err := r.engine.Exec(t.Context(), ids["sync"], fleet.Program{Command: []string{"ls", "/dev/shm/svckit"}})
	if err != nil || len(strings.Fields(string(ran.Stdout))) != 4 {
		t.Errorf("marks that are left: %s, %v", ran.Stdout, err)
	}
}

func TestTheAgentIsFoundInConsulAndComesBack(t *testing.T) {
	r := newNodeRig(t)
	stop := r.watch()
	known := func() string {
		res, err := http.Get(r.agent.URL() + "/v1/health/service/" + fleet.MonitorService + "?passing")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	wait := func(what string, ok func(text string) bool) {
		t.Helper()
		text := ""
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if text = known(); ok(text) {
				return
			}
		}
		t.Fatalf("%s: not within 2 minutes: %s", what, text)
	}
	passing := func(text string) bool {
		return strings.Contains(text, `"ID": "svckit-scaled-node-node1"`) || strings.Contains(text, `"ID":"svckit-scaled-node-node1"`)
	}
	wait("it is found, with its schema", func(text string) bool {
		return passing(text) && (strings.Contains(text, `"schema":"1"`) || strings.Contains(text, `"schema": "1"`))
	})
	r.agent.Kill()
	r.agent.Start(t) // in development mode it has forgotten everything
	wait("consul was told again", passing)
	if code := stop(); code != 0 {
		t.Errorf("after TERM it ended with %d", code)
	}
	wait("it is gone", func(text string) bool { return strings.TrimSpace(text) == "[]" })
}
