//go:build real

package main

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"svckit/lib/fleet"
)

// checkEach asks as a health check does, so often, until the test ends.
func checkEach(t *testing.T, each time.Duration, agent, url string) {
	t.Helper()
	var all sync.WaitGroup
	all.Go(func() {
		for pause(t.Context(), each) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
			req.Header.Set("User-Agent", agent)
			if res, err := http.DefaultClient.Do(req); err == nil {
				res.Body.Close()
			}
		}
	})
	t.Cleanup(all.Wait)
}

// A check that answers at once does not make the requests of a service look short,
// and nobody can hide load by calling it a check.
func TestHealthChecksAreNoLoad(t *testing.T) {
	r := newNodeRig(t)
	dir := programs(t)
	r.release(serverSpec + "  slow: {master: gunicorn, port: 8000, scale: {strategy: busy_ratio, start_up: 2s}}\n")
	for _, name := range []string{"sync", "middle"} {
		_, at := r.start(name, dir, map[string]string{"PYTHONPATH": "/srv"}, servers()[name]...)
		checkEach(t, time.Second, "Consul Health Check", "http://"+at+"/")
		checkEach(t, time.Second, "svckit-check", "http://"+at+"/")
		load(t, at, 4, 0.1)
	}
	_, hidden := r.start("threads", dir, map[string]string{"PYTHONPATH": "/srv"}, servers()["threads"]...)
	checkEach(t, 50*time.Millisecond, "Consul Health Check", "http://"+hidden+"/")
	_, slow := r.start("slow", dir, map[string]string{"PYTHONPATH": "/srv"}, servers()["sync"]...)
	checkEach(t, 100*time.Millisecond, "svckit-check", "http://"+slow+"/?s=0.2")
	r.watch()
	// Two checks a second beside four requests of 0.1 s would look like six of 0.067 s.
	for _, name := range []string{"sync", "middle"} {
		s := r.until(5*time.Minute, name, "four requests a second of a tenth", func(s fleet.ServiceSample) bool {
			q := s.Requests
			return q != nil && q.Rate60 > 3 && q.Rate10 > 3 && q.Rate10 < 5 && q.Service > 0.095
		})
		t.Logf("%s: %+v", name, *s.Requests)
	}
	r.until(5*time.Minute, "threads", "most of many checks count", func(s fleet.ServiceSample) bool { return s.Requests != nil && s.Requests.Rate10 > 8 })
	r.until(5*time.Minute, "slow", "slow ones count", func(s fleet.ServiceSample) bool {
		return s.Requests != nil && s.Requests.Rate10 > 2 && s.Requests.Busy10 > 0.5
	})
}
