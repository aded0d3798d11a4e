//go:build real

package hand_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lab/load"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/master"
	"svckit/lib/rollout"
	"svckit/lib/scale"
)

// index is that of a key of ours; 0 when there is none.
func (r *rig) index(key string) uint64 {
	r.t.Helper()
	res, err := http.Get(r.agent.URL() + "/v1/kv/" + prefix + "/" + key)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var found []struct{ ModifyIndex uint64 }
	if err := json.NewDecoder(res.Body).Decode(&found); err != nil || len(found) == 0 {
		return 0
	}
	return found[0].ModifyIndex
}

// workers counts those of the only container of a service, by its engine.
func (r *rig) workers(service string) int {
	list := r.instances(service)
	if len(list) != 1 || list[0].State != fleet.Running {
		return -1
	}
	m, err := here.MastersOf(r.engine).Look(r.t.Context(), list[0], master.KindOf(list[0]))
	if err != nil {
		return -1
	}
	return len(m.Workers)
}

// reached is what the node reports of a service.
func (r *rig) reached(service string) fleet.Reached {
	all, _, err := r.consul.Haves(r.t.Context())
	if err != nil || len(all) != 1 {
		return fleet.Reached{}
	}
	for _, s := range all[0].Services {
		if s.Name == r.app+"/"+service {
			return s
		}
	}
	return fleet.Reached{}
}

// expect waits until a service has n workers, that is its weight, and the node says so.
func (r *rig) expect(service string, n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%s has %d workers", service, n), func() bool { return r.workers(service) == n })
	r.eventually(fmt.Sprintf("%s weighs %d", service, n), func() bool { return slices.Equal(r.seen(service), []int{n}) })
	r.eventually(fmt.Sprintf("%s is reported with %d", service, n), func() bool {
		got := r.reached(service)
		return got.Want == n && got.Ready == n && got.Starting == 0 && got.Error == ""
	})
}

// loaded puts a modest load on a container of a service.
func (r *rig) loaded(service string) *load.Load {
	i := r.instances(service)[0]
	var clients []*http.Client
	for range 3 {
		clients = append(clients, &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}})
	}
	return load.StartAt(load.Steady, fmt.Sprintf("http://%s:%d/work", i.Address, i.Port), clients...)
}

// watched looks at a service in Consul until the returned function is called,
// which tells how often it was not there or did not pass.
func (r *rig) watched(service string) (gone func() int) {
	ctx, cancel := context.WithCancel(r.t.Context())
	count := make(chan int)
	go func() {
		n := 0
		for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			list, err := r.consul.Service(ctx, r.app+"-"+service)
			if err == nil && (len(list) != 1 || list[0].Health != fleet.Passing) {
				n++
			}
		}
		count <- n
	}()
	return func() int { cancel(); return <-count }
}

func TestWorkersFollowTheWishAndNoRequestIsLost(t *testing.T) {
	for _, service := range []string{"web", "cheap"} {
		t.Run(service, func(t *testing.T) {
			r := newRig(t)
			r.start()
			r.wishes(r.ask(service, "workers", 2))
			r.expect(service, 2)
			container := r.instances(service)[0]
			l, gone := r.loaded(service), r.watched(service)
			r.wishes(r.ask(service, "workers", 6))
			r.expect(service, 6)
			r.wishes(r.ask(service, "workers", 3))
			r.expect(service, 3)
			r.eventually("enough requests are answered", func() bool { return l.Done.Load() >= 100 })
			l.Stop()
			if n := gone(); n > 0 {
				t.Errorf("Consul showed it not passing %d times", n)
			}
			if l.Failed.Load() > 0 || l.Done.Load() < 100 {
				t.Errorf("%d requests done, %d lost: %v", l.Done.Load(), l.Failed.Load(), l.Errors())
			}
			if now := r.instances(service)[0]; now.ID != container.ID || !now.StartedAt.Equal(container.StartedAt) {
				t.Error("the container is another one, or was restarted")
			}
			if service == "web" {
				r.resist(service)
			}
		})
	}
}

// resist is what must not move a service of 3 workers, and what must bring it back.
func (r *rig) resist(service string) {
	t := r.t
	t.Helper()
	r.wishes(r.ask(service, "workers", 6))
	r.eventually("the hand is at it", func() bool { return r.workers(service) > 3 })
	r.kill()
	r.start()
	r.expect(service, 6)

	before := r.instances(service)[0]
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.eventually("the engine started it again", func() bool {
		now := r.instances(service)[0]
		return now.State == fleet.Running && now.PID != 0 && now.PID != before.PID
	})
	r.expect(service, 6)

	doc := `{"schema":1,"epoch":0,"gen":99999,"at":"2026-01-01T00:00:00Z","services":[{"name":"` + r.app + "/" + service + `","unit":"workers","count":1}]}`
	for what, value := range map[string]string{"not newer than": doc, "in force": `{"schema":1,"epoch":`} {
		r.put("scale/want/"+r.node(), value)
		r.eventually("a bad wish is told", func() bool { return strings.Contains(r.reached(service).Error, what) })
		if n := r.workers(service); n != 6 {
			t.Errorf("%d workers after the wish %s", n, value)
		}
	}
	r.lead()
	if err := r.consul.Freeze(t.Context(), r.app+"/"+service, scale.Freeze{Mode: scale.NoDown, Why: "a sale"}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the hand knows of the freeze", func() bool { return strings.Contains(r.said.String(), "freezes=1") })
	r.wishes(r.ask(service, "workers", 4))
	r.eventually("the freeze is told", func() bool { return strings.Contains(r.reached(service).Error, "(no-down): a sale") })
	if n := r.workers(service); n != 6 {
		t.Errorf("%d workers in a freeze", n)
	}
	if _, err := r.consul.Thaw(t.Context(), r.app+"/"+service); err != nil {
		t.Fatal(err)
	}
	r.expect(service, 4)
}

func TestContainersFollowTheWish(t *testing.T) {
	r := newRig(t)
	r.start()
	r.wishes(r.ask("box", "instances", 1))
	r.eventually("one is there", func() bool { return len(r.seen("box")) == 1 })
	first := r.instances("box")[0].ID
	r.wishes(r.ask("box", "instances", 3))
	r.eventually("three are there", func() bool { return len(r.seen("box")) == 3 })

	// svc-run finds the number in the wish.
	svcRun := filepath.Join(t.TempDir(), "svc-run")
	command(t, "go", "build", "-o", svcRun, "svckit/cmd/svc-run")
	out := ""
	r.eventually("svc-run up has its turn", func() bool {
		text, err := exec.Command(svcRun, "up", "--json", r.app+"/box").CombinedOutput()
		out = string(text)
		return err == nil
	})
	if !strings.Contains(out, `"changed":false`) && !strings.Contains(out, `"changed": false`) {
		t.Errorf("up did something: %s", out)
	}

	if err := r.engine.Remove(t.Context(), r.instances("box")[2].ID); err != nil {
		t.Fatal(err)
	}
	r.eventually("what was removed is replaced", func() bool { return len(r.instances("box")) == 3 && len(r.seen("box")) == 3 })
	r.chores()
	r.wishes(r.ask("box", "instances", 1))
	r.eventually("one is left", func() bool { return len(r.instances("box")) == 1 && len(r.seen("box")) == 1 })
	if r.instances("box")[0].ID != first {
		t.Error("the oldest was not the one that stays")
	}
	r.wishes(r.ask("box", "instances", 0))
	r.eventually("it has left", func() bool { return len(r.instances("box")) == 0 && len(r.seen("box")) == 0 })
}

// chores are what is done whatever is wished; they take longer than the TTL of box.
func (r *rig) chores() {
	t := r.t
	t.Helper()
	regs, err := r.consul.Registrations(t.Context())
	if err != nil || len(regs) == 0 {
		t.Fatalf("%v, %v", regs, err)
	}
	ghost := regs[0]
	ghost.ID, ghost.Meta[fleet.MetaContainer] = ghost.ID+"-ghost", strings.Repeat("f", 64)
	if err := r.consul.Register(t.Context(), ghost); err != nil {
		t.Fatal(err)
	}
	if err := r.consul.Aside(t.Context(), regs[1].ID, rollout.AsideReason(time.Now().Add(2*time.Second), "a test")); err != nil {
		t.Fatal(err)
	}
	if err := r.consul.Aside(t.Context(), regs[2].ID, "by hand"); err != nil {
		t.Fatal(err)
	}
	r.eventually("one is aside by hand, nothing else", func() bool {
		list, err := r.consul.Service(t.Context(), r.app+"-box")
		return err == nil && len(list) == 3 && len(r.seen("box")) == 2
	})
	time.Sleep(16 * time.Second)
	if n := len(r.seen("box")); n != 2 {
		t.Errorf("%d of 2 pass when their TTL is over", n)
	}
	if err := r.consul.Return(t.Context(), regs[2].ID); err != nil {
		t.Fatal(err)
	}
	r.eventually("all pass once no one is aside", func() bool { return len(r.seen("box")) == 3 })
}

func TestWithoutConsulTheWishStaysInForce(t *testing.T) {
	r := newRig(t)
	r.start()
	r.wishes(r.ask("web", "workers", 4))
	r.expect("web", 4)
	r.agent.Kill()
	i := r.instances("web")[0]
	m, err := here.MastersOf(r.engine).Look(t.Context(), i, "gunicorn")
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("the hand knows", func() bool { return strings.Contains(r.said.String(), "Consul is away") })
	for range 2 { // two more than wanted: they stay
		if err := here.MastersOf(r.engine).Resize(t.Context(), i, m, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	r.eventually("all six run", func() bool { return r.workers("web") == 6 })
	time.Sleep(6 * time.Second)
	if n := r.workers("web"); n != 6 {
		t.Errorf("%d workers, want 6: nothing is lowered without Consul", n)
	}
	if err := r.engine.Stop(t.Context(), i.ID); err != nil { // the engine does not start it again
		t.Fatal(err)
	}
	r.kill() // a start without Consul
	r.start()
	r.eventually("what ended is back, with its workers", func() bool { return r.workers("web") == 4 })
	res, err := http.Get(fmt.Sprintf("http://%s:%d/", i.Address, i.Port))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	r.agent.Start(t)
	r.lead()
	r.wishes(r.ask("web", "workers", 3))
	r.expect("web", 3)
}

// The whole daemon, with its monitor: what it sees drives the fast lane.
func TestTheFastLaneRaisesWithoutPlannerAndConsul(t *testing.T) {
	r := newRig(t)
	scaled := filepath.Join(t.TempDir(), "scaled")
	command(t, "go", "build", "-o", scaled, "svckit/cmd/scaled")
	at := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	r.run(scaled, "node", "--listen", at)
	a := r.ask("cheap", "workers", 2)
	a.Room = 3
	r.wishes(a)
	r.expect("cheap", 2)
	shown := ""
	t.Cleanup(func() { t.Logf("last sample: %s", shown) })
	r.eventually("the monitor knows it", func() bool {
		res, err := http.Get("http://" + at + "/v1/sample")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var now fleet.Sample
		text, _ := io.ReadAll(res.Body)
		shown = string(text)
		return json.Unmarshal(text, &now) == nil && len(now.Services) == 1 && now.Services[0].Requests != nil && now.Services[0].Ready == 2 && now.Gen > 0
	})
	r.agent.Kill()
	r.eventually("the hand knows", func() bool { return strings.Contains(r.said.String(), "Consul is away") })
	var all []*load.Load
	for range 6 {
		all = append(all, r.loaded("cheap"))
	}
	r.eventually("the fast lane has used its room", func() bool { return r.workers("cheap") == 5 })
	for _, l := range all {
		l.Stop()
		if l.Failed.Load() > 0 {
			t.Errorf("%d requests lost: %v", l.Failed.Load(), l.Errors())
		}
	}
}
