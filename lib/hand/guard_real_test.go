//go:build real

package hand_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"svckit/lib/fleet"
)

// told is a monitor that says what a file says; nil without one.
func told(path string) func() (fleet.Sample, bool) {
	if path == "" {
		return nil
	}
	return func() (s fleet.Sample, ok bool) {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		s.At = time.Now().Unix()
		return s, err == nil
	}
}

// Of two containers of hog the older one takes much more memory. star takes more than
// both, and is a vip.
const hogSpec = `
app: %s
notify: [{webhook: "%s"}]
build: {image: registry.example/hand}
services:
  hog:
    kind: daemon
    command: [python3, -c, "import os, time\ntry:\n    os.mkdir('/data/first')\n    n = 150\nexcept FileExistsError:\n    n = 20\nx = b'x' * (n << 20)\ntime.sleep(1e6)"]
    volumes: ["%s:/data"]
    check: {min_healthy: 1s, deadline: 30s}
    stop: {timeout: 2s, drain: 0s}
    scale: {unit: instances}
  star:
    kind: daemon
    command: [python3, -c, "import time\nx = b'x' * (250 << 20)\ntime.sleep(1e6)"]
    check: {min_healthy: 1s, deadline: 30s}
    stop: {timeout: 2s, drain: 0s}
    scale: {unit: instances, priority: vip}
`

func TestWhenMemoryIsShortTheGreediestContainerIsStoppedAndNoVIP(t *testing.T) {
	r := newRig(t)
	var said atomic.Value
	said.Store("")
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		var m struct{ Event, Message string }
		_ = json.NewDecoder(q.Body).Decode(&m)
		said.Store(m.Event + ": " + m.Message)
	}))
	t.Cleanup(receiver.Close)
	err := r.consul.PutRelease(t.Context(), fleet.Release{
		App: r.app, Name: "r2", Image: appImage(t), Spec: fmt.Sprintf(hogSpec, r.app, receiver.URL, r.app+"-data"), BuiltBy: "test", BuiltAt: time.Now().UTC().Add(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	sample := filepath.Join(t.TempDir(), "sample.json")
	say := func(free int64) {
		t.Helper()
		const mib = int64(1) << 20
		s := fleet.Sample{Memory: 4096 * mib, MemoryIn: (4096 - free) * mib, Services: []fleet.ServiceSample{
			{Name: r.app + "/hog", Instances: 2, MemoryIn: 170 * mib}, {Name: r.app + "/star", Instances: 1, MemoryIn: 250 * mib},
		}}
		text, err := json.Marshal(s)
		if err == nil {
			err = os.WriteFile(sample+".new", text, 0o600)
		}
		if err == nil {
			err = os.Rename(sample+".new", sample)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	say(2000)
	t.Setenv("SVCKIT_TEST_SAMPLE", sample)
	r.start()
	r.wishes(r.ask("hog", "instances", 1), r.ask("star", "instances", 1))
	r.eventually("each runs", func() bool { return len(r.seen("hog")) == 1 && len(r.seen("star")) == 1 })
	first := r.instances("hog")[0].ID
	r.wishes(r.ask("hog", "instances", 2), r.ask("star", "instances", 1))
	r.eventually("both of hog run", func() bool { return len(r.seen("hog")) == 2 })
	r.eventually("they have their memory", func() bool {
		used, err := r.engine.Memory(t.Context(), first)
		return err == nil && used > 100<<20
	})

	say(50)
	r.eventually("one of hog is stopped", func() bool {
		for _, i := range r.instances("hog") {
			if i.State == fleet.Exited {
				return true
			}
		}
		return false
	})
	say(2000)
	for _, i := range r.instances("hog") {
		if (i.State == fleet.Exited) != (i.ID == first) {
			t.Errorf("%s is %s; the greediest is %s", i.ID, i.State, first)
		}
	}
	if star := r.instances("star"); len(star) != 1 || star[0].State != fleet.Running {
		t.Errorf("star is %+v", star)
	}
	r.eventually("the receiver is told", func() bool { return strings.Contains(said.Load().(string), "memory short: stopped") })
}
