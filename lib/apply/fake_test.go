package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/apply"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// fakeNode is a node in memory: an engine, a Consul agent, DNS and the folders
// of delivered files. What a container does depends on its image:
//
//	…/good     is well from the start
//	…/bad      runs, its check fails
//	…/crash    ends at once with exit code 3
//	…/flap     passes every other second
//	…/slow     is well 8 s after it was started
//
// It passes the same conformance suite as the real parts.
type fakeNode struct {
	mu         sync.Mutex
	containers map[string]*fakeContainer
	order      []string
	entries    map[string]fleet.Registration
	local      map[string]bool // images
	files      map[string]map[string]string
	taken      map[int]bool // ports held by something else
	made       int
	dnsDown    bool
	ttl        time.Duration
	codeErr    error // of the question for code on the node
	mutations  []string
	code       fleet.Code        // on the node's volume; the zero value: none
	loaded     map[string]string // container id → code and files that its workers have loaded
	noted      map[string]string // container id → what was noted of that
	pid        int
	manner     manner // of its masters
}

type fakeContainer struct {
	fleet.Instance
	want   fleet.Container
	master fleet.Master
	grace  []graceful // workers that end soon
}

func newFakeNode() *fakeNode {
	return &fakeNode{
		containers: map[string]*fakeContainer{}, entries: map[string]fleet.Registration{},
		local: map[string]bool{}, files: map[string]map[string]string{}, taken: map[int]bool{},
		loaded: map[string]string{}, noted: map[string]string{}, pid: 100,
	}
}

func (f *fakeNode) world() apply.World {
	digits := uint32(0)
	return apply.World{
		Containers: f, Views: f, Tuner: f, Images: f, Registrar: f, Files: fakeFiles{f}, Probe: f.probe, Resolve: f.resolve,
		Keeper: fakeFiles{f}, Masters: fakeMasters{f}, Volume: fakeVolume{f}, Loads: fakeLoads{f}, Asides: f, Shown: f.shown,
		Log:      hclog.NewNullLogger(),
		Guard:    func(context.Context) (func(), error) { return func() {}, nil },
		PortFree: func(string, int) bool { return true },
		Random:   func() uint32 { digits++; return digits },
	}
}

func (f *fakeNode) did(format string, args ...any) {
	f.mutations = append(f.mutations, fmt.Sprintf(format, args...))
}

func (f *fakeNode) Create(_ context.Context, c fleet.Container) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("create %s", c.Name)
	if !f.local[c.Image] {
		return "", fmt.Errorf("create container %s: image: %w", c.Name, fleet.ErrNotFound)
	}
	for _, o := range f.containers {
		if o.Name == c.Name {
			return "", fmt.Errorf("create container %s: name is in use", c.Name)
		}
	}
	f.made++
	id := fmt.Sprintf("%08x%056x", f.made, 0)
	i := fleet.Instance{
		ID: id, Name: c.Name, App: c.Labels[fleet.LabelApp], Service: c.Labels[fleet.LabelService],
		Release: c.Labels[fleet.LabelRelease], Image: c.Labels[fleet.LabelImage], Shape: c.Labels[fleet.LabelShape],
		Env: c.Env, State: fleet.Created, CreatedAt: time.Now(), Address: c.Labels[fleet.LabelAddress], Dir: c.Labels[fleet.LabelDir],
	}
	for _, p := range c.Ports {
		i.Port = p.HostPort
	}
	f.containers[id] = &fakeContainer{Instance: i, want: c}
	f.order = append(f.order, id)
	return id, nil
}

func (f *fakeNode) Start(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.containers[id]
	if !ok {
		return fleet.ErrNotFound
	}
	f.did("start %s", c.Name)
	for _, o := range f.containers {
		if o.State == fleet.Running && o.Port == c.Port && c.Port > 0 && o.ID != id {
			return fleet.ErrPortTaken
		}
	}
	if f.taken[c.Port] {
		return fleet.ErrPortTaken
	}
	c.State, c.StartedAt, c.Restarts = fleet.Running, time.Now(), 0
	f.boot(c)
	if strings.Contains(c.want.Image, "crash") {
		c.State, c.ExitCode, c.Restarts = fleet.Restarting, 3, 1
	}
	return nil
}

func (f *fakeNode) Stop(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.containers[id]; ok {
		f.did("stop %s", c.Name)
		c.State = fleet.Exited
	}
	return nil
}

func (f *fakeNode) Remove(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.containers[id]; ok {
		f.did("remove %s", c.Name)
		delete(f.containers, id)
		f.order = slices.DeleteFunc(f.order, func(o string) bool { return o == id })
	}
	return nil
}

func (f *fakeNode) Instances(_ context.Context, app, service string) ([]fleet.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []fleet.Instance
	for _, id := range f.order {
		c := f.containers[id]
		if (app == "" || c.App == app) && (service == "" || c.Service == service) {
			out = append(out, c.Instance)
		}
	}
	return out, nil
}

func (f *fakeNode) Instance(_ context.Context, id string) (fleet.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.containers[id]
	if !ok {
		return fleet.Instance{}, fmt.Errorf("inspect %s: %w", id, fleet.ErrNotFound)
	}
	return c.Instance, nil
}

func (f *fakeNode) Processes(_ context.Context, _ string) ([]fleet.Process, error) {
	return []fleet.Process{{PID: 10, Parent: 1, Command: "serve"}}, nil
}

func (f *fakeNode) Tail(_ context.Context, _ string, _ int) ([]string, error) {
	return []string{"hello from the container"}, nil
}

func (f *fakeNode) Signal(_ context.Context, id, signal string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("signal %s %s", f.containers[id].Name, signal)
	return nil
}

func (f *fakeNode) UpdateCores(_ context.Context, id string, cores []int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("cores %s %v", f.containers[id].Name, cores)
	return nil
}

func (f *fakeNode) Pull(_ context.Context, ref string, _ fleet.Progress) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("pull %s", ref)
	if strings.Contains(ref, "absent") {
		return fmt.Errorf("pull %s: %w", ref, fleet.ErrNotFound)
	}
	f.local[ref] = true
	return nil
}

func (f *fakeNode) Image(_ context.Context, ref string) (fleet.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.local[ref] {
		return fleet.Image{}, fmt.Errorf("inspect image %s: %w", ref, fleet.ErrNotFound)
	}
	return fleet.Image{ID: ref}, nil
}

func (f *fakeNode) User(_ context.Context, _ string) (uid, gid int, err error) {
	return 0, 0, nil
}

func (f *fakeNode) Register(_ context.Context, r fleet.Registration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("register %s", r.ID)
	if was, known := f.entries[r.ID]; known && was.Health == fleet.Maintenance {
		r.Health, r.Reason = was.Health, was.Reason
	}
	if r.Health != fleet.Maintenance {
		r.Health = fleet.Passing
	}
	f.entries[r.ID] = r
	return nil
}

func (f *fakeNode) Deregister(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("deregister %s", id)
	delete(f.entries, id)
	return nil
}

func (f *fakeNode) Registrations(_ context.Context) ([]fleet.Registration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []fleet.Registration
	for _, r := range f.entries {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b fleet.Registration) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (f *fakeNode) Await(ctx context.Context, id, _ string, want fleet.Health) error {
	for {
		f.mu.Lock()
		r, ok := f.entries[id]
		f.mu.Unlock()
		if ok && r.Health == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (f *fakeNode) probe(_ context.Context, c fleet.Check) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.containers {
		if !strings.Contains(c.Target, fmt.Sprintf(":%d/", i.Port)) || i.State != fleet.Running {
			continue
		}
		switch {
		case strings.Contains(i.want.Image, "bad"):
			return "500 Internal Server Error", errors.New("answered 500")
		case f.manner.sick[f.loaded[i.ID]]:
			return "500 Internal Server Error", errors.New("answered 500")
		case strings.Contains(i.want.Image, "slow") && time.Since(i.StartedAt) < 8*time.Second:
			return "", errors.New("connection refused")
		case strings.Contains(i.want.Image, "flap") && time.Since(i.StartedAt)/time.Second%2 == 1:
			return "", errors.New("connection refused")
		}
		return "200 OK", nil
	}
	return "", errors.New("connection refused")
}

func (f *fakeNode) resolve(_ context.Context, name string) ([]fleet.Endpoint, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dnsDown {
		return nil, 0, errors.New("read: connection refused")
	}
	var out []fleet.Endpoint
	for _, r := range f.entries {
		if r.Name+".service.consul" == name && r.Health == fleet.Passing {
			out = append(out, fleet.Endpoint{Address: r.Address, Port: r.Port, Weight: r.Weight})
		}
	}
	if len(out) == 0 {
		return nil, 0, nil // as Consul: an answer without records has no TTL of theirs
	}
	return out, f.ttl, nil
}

type fakeFiles struct{ *fakeNode }

func (f fakeFiles) Prepare(dir string, v spec.Values) (map[string]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[dir] = map[string]string{}
	links := map[string]string{}
	for _, r := range v.Files {
		links[r.To] = "/run/svckit/files" + r.To
	}
	return links, nil
}

func (f fakeFiles) Deliver(dir string, v spec.Values, _, _ int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("deliver %s", dir)
	f.files[dir] = map[string]string{}
	for k, s := range v.Secrets {
		f.files[dir]["/run/secrets/"+k] = s
	}
	for _, r := range v.Files {
		f.files[dir][r.To] = string(r.Content)
	}
	return nil
}

func (f fakeFiles) Differ(dir string, v spec.Values) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for k, s := range v.Secrets {
		if f.files[dir]["/run/secrets/"+k] != s {
			out = append(out, "/run/secrets/"+k)
		}
	}
	for _, r := range v.Files {
		if f.files[dir][r.To] != string(r.Content) {
			out = append(out, r.To)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (f fakeFiles) Remove(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, dir)
	return nil
}
