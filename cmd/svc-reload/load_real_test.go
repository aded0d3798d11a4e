//go:build real

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is asked of each row: so many reloads in a row, so many requests meanwhile.
const (
	leastReloads  = 20
	leastRequests = 100_000
	mostReloads   = 400 // where the machine has little time for requests between them
)

// noRequestIsLostInManyReloads reloads under load, again and again, new code each time.
func noRequestIsLostInManyReloads(env environment) (rows []row) {
	for _, k := range []struct {
		name, text, more string
		instances        int
		args             []string
		load             func(r *rig) loader
	}{
		{"gunicorn sync", gunicornSpec, "", 1, nil, newWrk},
		{"gunicorn with threads, clients that do not keep connections", gunicornSpec, `--worker-class, gthread, --threads, "4", `, 1, []string{"--floor", "0"}, newWrk},
		{"uwsgi, chain", uwsgiSpec, chained, 1, nil, newWrk},
		{"uwsgi, plain, out of DNS", uwsgiSpec, plain, 2, nil, newNamed},
	} {
		rows = append(rows, row{"no request is lost in many reloads of " + k.name, func(t *testing.T) {
			r := stage(t, env, k.text, k.more, k.instances)
			reloads, done, failed := 0, 0, 0
			for reloads < leastReloads || done < leastRequests {
				if reloads >= mostReloads {
					t.Fatalf("only %d requests in %d reloads", done, reloads)
				}
				l := k.load(r)
				for range leastReloads / 2 {
					reloads++
					r.code(appCode(fmt.Sprintf("generation %d", reloads)))
					r.must(append([]string{r.service(), "--source", r.source}, k.args...)...)
				}
				d, f, said := l.stop()
				done, failed = done+d, failed+f
				if f > 0 {
					t.Errorf("after %d reloads: %s", reloads, said)
				}
			}
			if got, want := r.get("/")[0], fmt.Sprintf("generation %d", reloads); got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
			t.Logf("%d reloads, %d requests, %d failed", reloads, done, failed)
		}})
	}
	return rows
}

// loader is load that goes on until it is stopped.
type loader interface {
	stop() (done, failed int, said string)
}

// named is load from clients that find the service by DNS, by a program of its
// own: within this one the race detector would slow it down.
type named struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bytes.Buffer
}

func newNamed(r *rig) loader {
	n := named{t: r.t, cmd: exec.Command(r.env.load, "-dns", r.env.agent.DNS, "-for", "10m", "http://"+r.dns()+"/"), out: &bytes.Buffer{}}
	n.cmd.Stdout, n.cmd.Stderr, n.cmd.SysProcAttr = n.out, n.out, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		r.t.Fatalf("start load: %v", err)
	}
	r.t.Cleanup(func() { _ = n.cmd.Process.Kill() }) // where the test ends before it is stopped
	return n
}

var namedSaid = regexp.MustCompile(`(\d+) requests answered, (\d+) failed`)

func (n named) stop() (done, failed int, said string) {
	n.t.Helper()
	interrupt(n.t, n.cmd)
	found := namedSaid.FindStringSubmatch(n.out.String())
	if found == nil {
		n.t.Fatalf("load said\n%s", n.out)
	}
	done, _ = strconv.Atoi(found[1])
	failed, _ = strconv.Atoi(found[2])
	return done, failed, n.out.String()
}

// interrupt ends a program as Ctrl-C does, and waits for it.
func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("stop %s: %v", cmd.Path, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended: // by the signal
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatalf("%s does not end", cmd.Path)
	}
}

// wrk is load on the address of one instance.
type wrk struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bytes.Buffer
}

func newWrk(r *rig) loader { return startWrk(r, "Connection: close") }

func startWrk(r *rig, header string) *wrk {
	args := []string{"--threads", "1", "--connections", "8", "--duration", "10m", "--timeout", "20s"}
	if header != "" {
		args = append(args, "--header", header)
	}
	w := &wrk{t: r.t, cmd: exec.Command("wrk", append(args, r.url()+"/")...), out: &bytes.Buffer{}}
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.SysProcAttr = w.out, w.out, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		r.t.Fatalf("start wrk: %v", err)
	}
	r.t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	return w
}

var (
	wrkDone   = regexp.MustCompile(`(\d+) requests in`)
	wrkErrors = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkBad    = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

func (w *wrk) stop() (done, failed int, said string) {
	w.t.Helper()
	interrupt(w.t, w.cmd)
	text := w.out.String()
	found := wrkDone.FindStringSubmatch(text)
	if found == nil {
		w.t.Fatalf("wrk said\n%s", text)
	}
	done, _ = strconv.Atoi(found[1])
	for _, pattern := range []*regexp.Regexp{wrkErrors, wrkBad} {
		if found := pattern.FindStringSubmatch(text); found != nil {
			for _, n := range found[1:] {
				k, _ := strconv.Atoi(n)
				failed += k
			}
		}
	}
	return done, failed, strings.TrimSpace(text)
}
