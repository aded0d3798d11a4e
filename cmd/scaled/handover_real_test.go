//go:build real

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/scale"
)

const followedWeb = "    command: [gunicorn]\n    master: gunicorn\n    port: 8000\n    scale: {strategy: busy_ratio, target: 0.5, min: 4}\n"

// seenDays is the file of a planner that has seen four days of a service.
func seenDays(t *testing.T, state string) {
	t.Helper()
	var of struct {
		History scale.History `json:"history"`
		Learner scale.Learner `json:"learner"`
	}
	for at := time.Now().Unix() - 4*86400; at <= time.Now().Unix(); at += 300 {
		of.Learner.See(at, 2)
	}
	of.Learner.Settle(&of.History)
	text, err := json.Marshal(map[string]any{"shop/web": of})
	if err == nil {
		err = os.MkdirAll(filepath.Join(state, "scaled"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(state, "scaled", "demand.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What one leader learned of demand is known to the next one on another node; a
// document that nobody of ours can have written is named, left alone, and changes nothing.
func TestDemandIsHandedToTheNextLeader(t *testing.T) {
	t.Parallel()
	a, c, n, env := fleetOfOne(t)
	busy := func(s *fleet.Sample) {
		for i := range s.Services {
			s.Services[i].Requests = &fleet.Requests{Rate1: 10, Rate10: 10, Rate60: 10, Done10: 10, Done60: 10, Marks: true, Busy: 2, Busy10: 2, Busy60: 2, Service: 0.2, CV2: 1}
		}
	}
	n.lie.Store(&busy)
	seenDays(t, strings.TrimPrefix(env[1], "SVC_STATE_DIR="))
	appOf(t, c, "shop", "web", followedWeb)
	first := start(t, env, "run", "--listen", "")
	soon(t, 60*time.Second, "it is handed over", func() error {
		list, bad, err := c.Learned(t.Context())
		if err == nil && (len(list) != 1 || list[0].Name != "shop/web" || len(list[0].Days) < 5 || len(bad) > 0) {
			err = fmt.Errorf("%+v, bad %v", list, bad)
		}
		return err
	})
	first.signal(t, syscall.SIGTERM)
	<-first.done
	before, err := c.Want(t.Context(), a.Node)
	if err != nil {
		t.Fatal(err)
	}
	const key, poison = "svc/scale/demand/blog/web", `{"schema":1,"days":[{"day":5,"most":1e300,"of":"AAAA"}]}`
	appOf(t, c, "blog", "web", followedWeb)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL()+"/v1/kv/"+key, strings.NewReader(poison))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()

	state := t.TempDir()
	second := start(t, append(env[:len(env):len(env)], "SVC_STATE_DIR="+state), "run", "--listen", "")
	soon(t, 60*time.Second, "the second leader plans", toldOf(t.Context(), c, a.Node, "blog/web", 4))
	soon(t, 30*time.Second, "it names what cannot be read", func() error {
		if !strings.Contains(second.says(), key) {
			return fmt.Errorf("it says %s", second.says())
		}
		return nil
	})
	second.signal(t, syscall.SIGTERM)
	<-second.done
	text, err := os.ReadFile(filepath.Join(state, "scaled", "demand.json"))
	if err != nil {
		t.Fatal(err)
	}
	var learned map[string]struct {
		History scale.History `json:"history"`
	}
	if err := json.Unmarshal(text, &learned); err != nil || len(learned["shop/web"].History.Days) < 4 {
		t.Errorf("the second leader knows %d days, %v", len(learned["shop/web"].History.Days), err)
	}
	for _, x := range before.Services {
		if err := toldOf(t.Context(), c, a.Node, x.Name, x.Count)(); err != nil {
			t.Errorf("with the next leader: %v", err)
		}
	}
	list, bad, err := c.Learned(t.Context())
	if err != nil || len(list) != 1 || len(bad) != 1 || bad[key] == "" {
		t.Errorf("after the second leader: %d documents, bad %v, %v", len(list), bad, err)
	}
}
