package apply_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// manner is how the masters of a fake node behave.
type manner struct {
	facts   fleet.Master // what they can do
	grace   time.Duration
	broken  map[string]bool // code or file contents that do not load
	sick    map[string]bool // those that load, and whose probe fails
	deaf    bool            // signals have no effect
	fragile bool            // what does not load ends the master, as with gunicorn
	workers int             // that the configuration starts
	drops   int             // orders that are not heard
}

// graceful is a worker that ends when its request is answered.
type graceful struct {
	worker fleet.Worker
	at     time.Time
}

func (f *fakeNode) worker() fleet.Worker {
	f.pid++
	return fleet.Worker{PID: f.pid, Started: uint64(f.pid)}
}

// content is what a container would load now.
func (f *fakeNode) content(c *fakeContainer) string {
	text := f.code.Generation
	for _, at := range slices.Sorted(maps.Keys(f.files[c.Dir])) {
		text += " " + at + "=" + f.files[c.Dir][at]
	}
	return text
}

// boot is what the start of a container does: its master comes up with its workers.
func (f *fakeNode) boot(c *fakeContainer) {
	w := f.worker()
	c.master = fleet.Master{PID: w.PID, Started: w.Started}
	for range max(f.manner.workers, 1) {
		c.master.Workers = append(c.master.Workers, f.worker())
	}
	c.grace = nil
	f.loaded[c.ID] = f.content(c)
	delete(f.noted, c.ID)
}

// settle lets the workers go whose time has come.
func (f *fakeNode) settle(c *fakeContainer) {
	for _, g := range c.grace {
		if !time.Now().Before(g.at) {
			c.master.Workers = slices.DeleteFunc(c.master.Workers, func(w fleet.Worker) bool { return w == g.worker })
		}
	}
}

type fakeMasters struct{ *fakeNode }

func (f fakeMasters) Look(_ context.Context, i fleet.Instance, _ spec.Master) (fleet.Master, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.containers[i.ID]
	if !ok || c.State != fleet.Running {
		return fleet.Master{}, fmt.Errorf("list processes: %w", fleet.ErrNotFound)
	}
	f.settle(c)
	m := c.master
	m.Workers = slices.Clone(m.Workers)
	return m, nil
}

func (f fakeMasters) Examine(ctx context.Context, i fleet.Instance, s spec.Service, code fleet.CodeAt) (fleet.Master, error) {
	m, err := f.Look(ctx, i, s.Master)
	if err != nil {
		return m, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	facts := f.manner.facts
	facts.PID, facts.Started, facts.Workers, facts.Tried = m.PID, m.Started, m.Workers, true
	facts.Sizing.Told = s.Master == spec.Gunicorn
	if f.manner.broken[f.meant(i, code)] {
		facts.Broken = []string{"ModuleNotFoundError: No module named 'nothere'"}
	}
	return facts, nil
}

// meant is what a container would load of the code that is meant.
func (f fakeMasters) meant(i fleet.Instance, code fleet.CodeAt) string {
	now := f.code
	defer func() { f.code = now }()
	if code.At != "" {
		f.code.Generation = code.At[len(code.Versions)+1:]
	}
	return f.content(f.containers[i.ID])
}

func (f fakeMasters) Tell(_ context.Context, i fleet.Instance, _ fleet.Master, way rollout.Way) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[i.ID]
	f.did("tell %s %s", c.Name, way)
	if f.manner.deaf {
		return nil
	}
	if f.manner.drops > 0 {
		f.manner.drops--
		return nil
	}
	if f.manner.broken[f.content(c)] && f.manner.fragile {
		c.Restarts++
		c.StartedAt = time.Now()
		f.boot(c)
		return nil
	}
	for _, w := range c.master.Workers {
		c.grace = append(c.grace, graceful{w, time.Now().Add(f.manner.grace)})
	}
	for range max(f.manner.workers, 1) {
		c.master.Workers = append(c.master.Workers, f.worker())
	}
	f.loaded[c.ID] = f.content(c)
	return nil
}

func (f fakeMasters) Resize(_ context.Context, i fleet.Instance, _ fleet.Master, by int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[i.ID]
	f.did("resize %s %+d", c.Name, by)
	if by > 0 {
		c.master.Workers = append(c.master.Workers, f.worker())
	} else {
		c.master.Workers = c.master.Workers[1:]
	}
	return nil
}

type fakeVolume struct{ *fakeNode }

func (f fakeVolume) State(string, string) (fleet.Code, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.codeErr != nil:
		return fleet.Code{}, f.codeErr
	case f.code.Changed.IsZero():
		return fleet.Code{}, fleet.ErrNotFound
	}
	return f.code, nil
}

func (f fakeVolume) Switch(_ context.Context, _, _, generation string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("switch %s", generation)
	f.code = fleet.Code{Generation: generation, Previous: f.code.Generation, Changed: time.Now()}
	return nil
}

func (f fakeVolume) Restore(_ context.Context, _, _ string, was fleet.Code) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("restore code %s", was.Generation)
	f.code = was
	return nil
}

type fakeLoads struct{ *fakeNode }

func (f fakeLoads) Stale(i fleet.Instance, _ fleet.Code) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[i.ID]
	was, known := f.noted[i.ID]
	if !known {
		was = f.loaded[i.ID] // what was there at its start
	}
	if now := f.content(c); was != now {
		return []string{"content " + was + " → " + now}, nil
	}
	return nil, nil
}

func (f fakeLoads) Loaded(i fleet.Instance, _ fleet.Code, _ time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted[i.ID] = f.content(f.containers[i.ID])
	return nil
}

func (f fakeLoads) Forget(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.noted, id)
	return nil
}

func (f fakeFiles) Keep(dir string) (func() error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := maps.Clone(f.files[dir])
	return func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.did("put back %s", dir)
		f.files[dir] = was
		return nil
	}, nil
}

func (f *fakeNode) Aside(_ context.Context, id, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("aside %s", id)
	r := f.entries[id]
	r.Health, r.Reason = fleet.Maintenance, reason
	f.entries[id] = r
	return nil
}

func (f *fakeNode) Return(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("return %s", id)
	r := f.entries[id]
	r.Health, r.Reason = fleet.Passing, ""
	f.entries[id] = r
	return nil
}

func (f *fakeNode) Service(_ context.Context, name string) ([]fleet.Registration, error) {
	all, err := f.Registrations(context.Background())
	return slices.DeleteFunc(all, func(r fleet.Registration) bool { return r.Name != name }), err
}

func (f *fakeNode) shown(context.Context, fleet.Check) (string, error) { return "", nil }
