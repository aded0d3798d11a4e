package nodeagent

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/monitor"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// world is a node whose parts can be away.
type world struct {
	mu        sync.Mutex
	instances []fleet.Instance
	engine    error // why it does not answer
	consul    error
	looks     int // for masters
	specs     int
	targets   []monitor.Target // of the last reading
	lost      []string         // what the next reading finds gone
	began     time.Time

	known map[string]fleet.Registration
	ttl   map[string]fleet.Health
	calls []string
}

func newWorld() *world {
	return &world{
		began: time.Now(), known: map[string]fleet.Registration{}, ttl: map[string]fleet.Health{},
		instances: []fleet.Instance{{ID: "c1", Name: "shop-web-1", App: "shop", Service: "web", Release: "r1", Prefix: "svc", State: fleet.Running, PID: 7}},
	}
}

func (w *world) Instances(context.Context, []fleet.Instance) ([]fleet.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]fleet.Instance(nil), w.instances...), w.engine
}

func (w *world) Spec(_ context.Context, app, _ string) (spec.App, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.specs++
	if w.consul != nil {
		return spec.App{}, w.consul
	}
	text := "app: " + app + "\nservices:\n  web: {port: 8000, master: gunicorn}\n  jobs: {kind: daemon, scale: {strategy: queue, queue: {from: URL, list: jobs}}}\n"
	out, bad := spec.Decode("app.yaml", []byte(text))
	return out, spec.Invalid("spec", bad)
}

func (w *world) Look(context.Context, fleet.Instance, spec.Master) (fleet.Master, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	return fleet.Master{PID: 8, Started: 1}, nil
}

func (w *world) StatsAt(fleet.Instance, spec.Master, int) (string, error) { return "", nil }

// Read tells of ten requests a second.
func (w *world) Read(_ context.Context, at time.Time, targets []monitor.Target) (sample.Reading, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.targets = targets
	mono := time.Since(w.began)
	r := sample.Reading{At: at, Mono: mono, Node: sample.Node{Known: true, CPUs: 4}}
	for _, t := range targets {
		r.Services = append(r.Services, sample.Service{Name: t.Instance.App + "/" + t.Instance.Service, Release: t.Instance.Release, Instances: []sample.Instance{{
			ID: t.Instance.ID, Ready: 2, Source: sample.Marks, Workers: []sample.Work{{Key: "1", Slots: 1, Begun: 10 * mono.Seconds(), Done: 10 * mono.Seconds()}},
		}}})
	}
	lost := w.lost
	w.lost = nil
	return r, lost
}

var errAway = errors.New("connection refused")

func (w *world) Register(_ context.Context, r fleet.Registration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "register")
	if w.consul != nil {
		return w.consul
	}
	w.known[r.ID] = r
	return nil
}

func (w *world) UpdateTTL(_ context.Context, id string, health fleet.Health, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.consul != nil {
		return w.consul
	}
	if _, ok := w.known[id]; !ok {
		return fleet.ErrNotFound
	}
	w.ttl[id] = health
	return nil
}

// with changes the world.
func (w *world) with(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// manager remembers what it was told.
type manager struct {
	mu   sync.Mutex
	told []string
}

func (m *manager) note(what string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, what)
	return nil
}

func (m *manager) Ready(string) error  { return m.note("ready") }
func (m *manager) Status(string) error { return nil }
func (m *manager) Alive() error        { return m.note("alive") }
func (m *manager) Stopping() error     { return m.note("stopping") }

// count is how often it was told something.
func (m *manager) count(what string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.told {
		if s == what {
			n++
		}
	}
	return n
}

// silent is a listener that nobody connects to: sockets have no place in a bubble of fake time.
type silent struct{ closed chan struct{} }

func (s silent) Accept() (net.Conn, error) {
	<-s.closed
	return nil, net.ErrClosed
}

func (s silent) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func (s silent) Addr() net.Addr { return &net.TCPAddr{} }

func (w *world) agent(t *testing.T, l net.Listener) (*Agent, *manager) {
	t.Helper()
	m := &manager{}
	return &Agent{
		Node: "n1", Prefix: "svc", Log: hclog.NewNullLogger(), Manager: m, Pulse: time.Second, Serve: Serving{Listener: l},
		World: World{Instances: w.Instances, Spec: w.Spec, Masters: w, Read: w.Read, Now: time.Now},
		Book:  &Registration{Registrar: w, As: fleet.Registration{ID: fleet.MonitorService + "-n1", Name: fleet.MonitorService}},
	}, m
}
