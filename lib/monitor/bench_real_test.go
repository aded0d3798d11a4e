//go:build real

package monitor

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// BenchmarkAHundredServices is what one second of a node with 100 services of 8
// workers costs: real processes, each service in namespaces of its own with its
// own /dev/shm, /proc and network, as containers have. The marks are real files
// that nobody rewrites meanwhile; there is no engine and no uwsgi in it. Every
// fifth reading a sample is packed, as a planner asks for it.
func BenchmarkAHundredServices(b *testing.B) {
	const services, workers = 100, 8
	runtime.LockOSThread() // what is started ends with the thread that started it
	defer runtime.UnlockOSThread()
	var targets []Target
	for k := range services {
		targets = append(targets, tree(b, k, workers))
	}
	m, err := Open(nil)
	if err != nil {
		b.Fatal(err)
	}
	book := sample.New("n1")
	at, mono := time.Now(), time.Second
	first, lost := m.Read(b.Context(), at, targets)
	if lost != nil {
		b.Fatalf("%+v", first.Services[0])
	}
	before := used(b)
	size, n := 0, 0
	for b.Loop() {
		r, lost := m.Read(b.Context(), at, targets)
		if lost != nil {
			b.Fatal("a service is gone")
		}
		r.Mono = mono // a second later, whenever that is
		mono += time.Second
		book.Add(r)
		if n++; n%5 == 0 {
			size = packedSize(b, book.Sample(sample.Applied{}))
		}
	}
	b.ReportMetric((used(b)-before).Seconds()*1000/float64(n), "cpu-ms/reading")
	b.ReportMetric(float64(size), "sample-bytes")
	s := book.Sample(sample.Applied{}).Services[0]
	if s.Ready != workers || s.Requests == nil || s.Requests.Busy != workers || len(s.Errors) > 0 {
		b.Errorf("%+v, %+v", s, s.Requests)
	}
}

// used is the processor time of this process.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func packedSize(b *testing.B, s fleet.Sample) int {
	b.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		z := gzip.NewWriter(w)
		_, _ = z.Write(text)
		_ = z.Close()
		_ = w.Close()
	}()
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		b.Fatal(err)
	}
	return int(n)
}

// tree starts a master and its workers, and gives each worker a mark.
func tree(b *testing.B, k, workers int) Target {
	b.Helper()
	script := "mount -t tmpfs tmpfs /dev/shm && mount -t proc proc /proc && mkdir /dev/shm/svckit || exit; " + strings.Repeat("sleep 3600 & ", workers) + "echo up; wait"
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		b.Fatal(err)
	}
	master := offspring(b, cmd.Process.Pid)[0]
	start, err := proc.Start(master)
	if err != nil {
		b.Fatal(err)
	}
	for _, pid := range offspring(b, master) {
		inner, err1 := proc.Inner(pid)
		began, err2 := proc.Start(pid)
		text := mark{Start: began, Active: 1, Slots: 1, Begun: 1001, Done: 1000, Oldest: 1, Begins: 1, Seconds: 200, Squares: 60}.encode()
		err3 := os.WriteFile(fmt.Sprintf("/proc/%d/root/dev/shm/svckit/%d", master, inner), text, 0o600)
		if err1 != nil || err2 != nil || err3 != nil {
			b.Fatal(err1, err2, err3)
		}
	}
	name := fmt.Sprintf("s%02d", k)
	return Target{
		Known: true, Instance: fleet.Instance{ID: name, Name: name, App: "a", Service: name, Release: "r1", PID: master},
		Service: spec.Service{Master: spec.Gunicorn, Port: 8000, Scale: spec.Scale{Unit: "workers", StartUp: time.Hour}},
		Master:  fleet.Master{PID: master, Started: start},
	}
}

func offspring(b *testing.B, pid int) (out []int) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		b.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}
