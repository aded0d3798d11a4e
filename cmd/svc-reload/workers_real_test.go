//go:build real

package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// master is what is found of the master of an instance.
func (r *rig) master(i fleet.Instance, kind spec.Master) fleet.Master {
	r.t.Helper()
	m, err := here.MastersOf(r.engine).Look(r.t.Context(), i, kind)
	if err != nil || m.PID == 0 {
		r.t.Fatalf("look at %s: %+v, %v", i.Name, m, err)
	}
	return m
}

// order writes to the fifo of a uwsgi, as somebody in the container would.
func (r *rig) order(m fleet.Master, text string) {
	r.t.Helper()
	r.soon("the fifo is read", func() bool {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/root/tmp/fifo", m.PID), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(text))
		return err == nil
	})
}

// soon polls until f holds.
func (r *rig) soon(what string, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(3 * time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not in 3 minutes", what)
		}
	}
}

const (
	cheaper = `--processes, "6", --cheaper, "1", --master-fifo, /tmp/fifo, `
	byHand  = cheaper + `--cheaper-algo, manual, `
)

func uwsgiKeepsItsNumberOfWorkers(env environment) (rows []row) {
	for _, k := range []struct {
		name, more, order string
		want              int
	}{
		{"more than it begins with, HUP", byHand + `--cheaper-initial, "2", `, "++", 4},
		{"fewer than it begins with, HUP", byHand + `--cheaper-initial, "4", `, "--", 2},
		{"more than it begins with, chain by fifo", byHand + `--cheaper-initial, "2", --lazy-apps, `, "++", 4},
		{"more than it begins with, chain by touch", byHand + `--cheaper-initial, "2", --lazy-apps, --touch-chain-reload, /etc/issue, `, "++", 4},
		{"the fifo is told, and it is not cheaper: HUP", `--master-fifo, /tmp/fifo, `, "++", 2},
		{"the fifo is told, and it is not cheaper: chain", chained, "--", 2},
	} {
		rows = append(rows, row{"uwsgi keeps its number of workers: " + k.name, func(t *testing.T) {
			r := stage(t, env, uwsgiSpec, k.more, 1)
			i := r.instances()[0]
			m := r.master(i, spec.UWSGI)
			r.order(m, k.order)
			r.soon(fmt.Sprintf("%d workers", k.want), func() bool { m = r.master(i, spec.UWSGI); return len(m.Workers) == k.want })
			r.code(appCode("two"))
			r.must(r.service(), "--source", r.source, "--floor", "0")
			after := r.master(i, spec.UWSGI)
			if len(after.Workers) != k.want || after.PID != m.PID {
				t.Errorf("%d workers of master %d, before %d of %d", len(after.Workers), after.PID, k.want, m.PID)
			}
			for _, w := range after.Workers {
				if slices.Contains(m.Workers, w) {
					t.Errorf("worker %d is one from before", w.PID)
				}
			}
			if said := r.get("/"); said[0] != "two" {
				t.Errorf("it says %q", said)
			}
		}})
	}
	for _, k := range []struct{ name, more string }{
		{"HUP", cheaper}, {"chain", cheaper + `--lazy-apps, `},
	} {
		rows = append(rows, row{"uwsgi keeps workers that its load brought: " + k.name, func(t *testing.T) {
			r := stage(t, env, uwsgiSpec, k.more+`--cheaper-overload, "1", --worker-reload-mercy, "30", `, 1)
			i := r.instances()[0]
			url, stop := r.url(), make(chan struct{})
			t.Cleanup(func() { close(stop) })
			for range 3 { // busy workers, all the time
				go func() {
					for {
						select {
						case <-stop:
							return
						default:
							if res, err := http.Get(url + "/slow"); err == nil {
								_ = res.Body.Close()
							}
						}
					}
				}()
			}
			r.soon("the load brings workers", func() bool { return len(r.master(i, spec.UWSGI).Workers) >= 3 })
			r.code(appCode("two"))
			r.must(r.service(), "--source", r.source, "--floor", "0")
			if n := len(r.master(i, spec.UWSGI).Workers); n < 3 {
				t.Errorf("%d workers under the same load, 3 before; it begins with 1", n)
			}
		}})
	}
	return rows
}

// heavyCode is an app whose workers are large.
func heavyCode(generation string, mebibytes int) map[string]string {
	code := appCode(generation)
	code["app.py"] += fmt.Sprintf("BALLAST = b'x' * (%d << 20)\n", mebibytes)
	return code
}

func workersThatFindNoRoomAreRefused(env environment) (rows []row) {
	for _, k := range []struct {
		name, limit string
		room        bool
	}{
		{"no room for old and new ones", "200MiB", false}, {"room for both", "500MiB", true},
	} {
		rows = append(rows, row{"memory: " + k.name, func(t *testing.T) {
			r := newRig(t, env)
			r.release("r1", fmt.Sprintf(gunicornSpec, "")+"    resources: {memory: "+k.limit+"}\n")
			r.code(heavyCode("one", 50))
			r.must(r.service(), "--source", r.source)
			r.run("up", r.service())
			i := r.instances()[0]
			before := r.master(i, spec.Gunicorn)
			r.code(heavyCode("two", 50))
			got := r.reload(r.service(), "--source", r.source, "--json")
			after, said := r.master(i, spec.Gunicorn), r.get("/")[0]
			if k.room {
				if got.code != 0 || said != "two" {
					t.Errorf("exit %d, it says %q\n%s", got.code, said, got.stderr)
				}
				return
			}
			if got.code != 17 || !strings.Contains(got.stderr, "its memory limit of 200 MiB has no room for 1") || !strings.Contains(got.stderr, "MiB of old workers and as much of new ones") {
				t.Errorf("exit %d\n%s", got.code, got.stderr)
			}
			if said != "one" || after.PID != before.PID || !slices.Equal(after.Workers, before.Workers) {
				t.Errorf("it says %q; before %+v, after %+v", said, before, after)
			}
			if now := r.instances()[0]; now.ID != i.ID || now.Restarts != 0 || !now.StartedAt.Equal(i.StartedAt) {
				t.Errorf("the container was started again: %+v", now)
			}
		}})
	}
	return rows
}

// someAreReloadedAndSomeAreNot: the first of two is reloaded, the second one's old
// worker is still at a request when the time is over. Exit 3, and each state is shown.
func someAreReloadedAndSomeAreNot(env environment) (rows []row) {
	long := strings.NewReplacer("deadline: 90s", "deadline: 30s", "timeout: 10s, min_healthy", "timeout: 5s, min_healthy").Replace(gunicornSpec)
	for _, asJSON := range []bool{true, false} {
		rows = append(rows, row{fmt.Sprintf("one of two is reloaded, JSON %t", asJSON), func(t *testing.T) {
			r := stage(t, env, long, `--timeout, "300", --graceful-timeout, "300", `, 2)
			second := r.lastReloaded()
			working := make(chan struct{})
			go func() {
				defer close(working)
				if res, err := http.Get(fmt.Sprintf("http://%s:%d/long", second.Address, second.Port)); err == nil {
					_ = res.Body.Close()
				}
			}()
			r.soon("a worker is at the long request", func() bool { return r.busy(second) })
			r.code(appCode("two"))
			args := []string{r.service(), "--source", r.source}
			if asJSON {
				args = append(args, "--json")
			}
			got := r.reload(args...)
			if got.code != 3 {
				t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			for _, i := range r.instances() {
				want := rollout.AfterReloaded
				if i.ID == second.ID {
					want = rollout.AfterMixed
				}
				if !asJSON {
					if text := fmt.Sprintf("%s (%s) runs release r1", i.Name, want); !strings.Contains(got.stdout, text) {
						t.Errorf("no %q in\n%s", text, got.stdout)
					}
					continue
				}
				o := decode[here.Outcome](t, got.stdout)
				if at := slices.IndexFunc(o.Instances, func(l here.Live) bool { return l.Name == i.Name }); at < 0 || o.Instances[at].After != want || !o.Changed {
					t.Errorf("%s must be %s: %+v", i.Name, want, o.Instances)
				}
			}
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/tmp/end", second.PID), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			<-working
			r.must(r.service(), "--source", r.source)
			if said := r.get("/"); !slices.Equal(said, []string{"two", "two"}) {
				t.Errorf("after the next reload they say %q", said)
			}
		}})
	}
	return append(rows, row{"one of two is sick with the new code: both have the old one again", func(t *testing.T) {
		r := stage(t, env, strings.Replace(gunicornSpec, "deadline: 90s", "deadline: 30s", 1), "", 2)
		second := r.lastReloaded()
		code := appCode("two")
		code["app.py"] = "import socket\n" + strings.Replace(code["app.py"], `"200 OK"`, fmt.Sprintf(`"500 Sick" if socket.gethostname() == %q else "200 OK"`, second.ID[:12]), 1)
		r.code(code)
		got := r.reload(r.service(), "--source", r.source, "--json")
		o := decode[here.Outcome](t, got.stdout)
		if got.code != 16 || len(o.Instances) != 2 || o.Instances[0].After != rollout.AfterReverted || o.Instances[1].After != rollout.AfterReverted {
			t.Errorf("exit %d, %+v\n%s", got.code, o.Instances, got.stderr)
		}
		if said := r.get("/"); !slices.Equal(said, []string{"one", "one"}) {
			t.Errorf("they say %q", said)
		}
	}})
}

// lastReloaded is the instance that a reload takes last.
func (r *rig) lastReloaded() fleet.Instance {
	r.t.Helper()
	r.code(appCode("planned"))
	o := decode[here.Outcome](r.t, r.must(r.service(), "--source", r.source, "--dry-run", "--json").stdout)
	name := ""
	for _, s := range o.Steps {
		if s.Action == rollout.ActReload {
			name = s.Target
		}
	}
	all := r.instances()
	at := slices.IndexFunc(all, func(i fleet.Instance) bool { return i.Name == name })
	if at < 0 {
		r.t.Fatalf("no reload in %+v", o.Steps)
	}
	return all[at]
}

// busy reports whether a worker of an instance says that it is at a long request.
func (r *rig) busy(i fleet.Instance) bool {
	r.t.Helper()
	lines, err := r.engine.Tail(r.t.Context(), i.ID, 50)
	return err == nil && slices.Contains(lines, "long request")
}
