package here

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/master"
	"svckit/lib/node"
	"svckit/lib/notify"
	"svckit/lib/spec"
	"svckit/lib/tool"
	"svckit/lib/wish"
)

// Tender is this node as package hand needs it: what is here, and how it is
// changed, by the plans and under the locks of svc-run. It is safe for concurrent use.
type Tender struct {
	node     *Node
	session  *tool.Session
	name     string // of the node
	settings node.Settings
	engine   *docker.Engine
	engineID string
	consul   *consul.Client
	masters  master.Masters
	tell     func(to []string, m notify.Message)

	mu      sync.Mutex
	specs   map[string]known        // app/service@release
	last    []fleet.Instance        // as the engine last listed them
	found   map[string]fleet.Master // container id → its master, as last seen
	raised  map[string]uint64       // container id → boot time in ticks at which workers were last added
	pending map[string]told         // container id → the last order to end a worker
	failed  map[string]string       // service → what its receivers were last told
}

// known is what is remembered of a release.
type known struct {
	service spec.Service
	notify  []spec.Notify
	ok      bool
	at      time.Time
}

// told is an order that may still be carried out.
type told struct {
	at      time.Time
	workers int // there were, before
}

// OpenTender opens this node. Without Consul it needs to have run before, or
// SVC_NODE, to know the node's name. tell takes messages to the receivers of an app.
func OpenTender(ctx context.Context, w *Node, s *tool.Session, tell func([]string, notify.Message)) (*Tender, error) {
	settings, err := w.Settings(s)
	if err != nil {
		return nil, err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return nil, err
	}
	info, err := engine.Info(ctx)
	if err != nil {
		return nil, err
	}
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	t := &Tender{
		node: w, session: s, name: settings.Name, settings: settings, engine: engine, engineID: info.ID, consul: client, masters: MastersOf(engine), tell: tell,
		specs: map[string]known{}, found: map[string]fleet.Master{}, raised: map[string]uint64{}, pending: map[string]told{}, failed: map[string]string{},
	}
	if t.name != "" {
		return t, nil
	}
	agent, err := client.Self(ctx)
	if err != nil {
		s.Log.Warn("Consul does not say how this node is called: its containers are asked", "error", err)
		if agent, err = LastAgent(ctx, engine); err != nil {
			return nil, err
		}
	}
	t.name = agent.Node
	return t, nil
}

// Name is the node's.
func (t *Tender) Name() string { return t.name }

// Look sees every container of ours and every registration. While Consul is
// away its agent is asked all the same, but need not answer.
func (t *Tender) Look(ctx context.Context, away bool) (wish.Sight, error) {
	out := wish.Sight{At: time.Now(), Services: map[string]wish.Service{}}
	// First the registrations: what is registered afterwards must not look like one without a container.
	regs, err := t.consul.Registrations(ctx)
	if err != nil && !away {
		return out, err
	}
	all, err := t.engine.InstancesSince(ctx, t.before())
	if err != nil {
		return out, err
	}
	entries := map[string]fleet.Registration{}
	for _, r := range regs {
		entries[r.Meta[fleet.MetaContainer]] = r
	}
	for _, i := range all {
		if i.Owner != nil || i.Run != "" || i.App == "" || i.Service == "" || i.Prefix != "" && i.Prefix != t.settings.Prefix {
			continue
		}
		name := i.App + "/" + i.Service
		s := out.Services[name]
		of, known := t.spec(ctx, i, away)
		if known {
			s.VIP, s.Pool = of.Scale.Priority == "vip", of.Scale.Pool
		}
		c := wish.Container{Name: i.Name, ID: i.ID, State: i.State}
		if r, ok := entries[i.ID]; ok {
			c.Entry, c.Weight, c.Health = r.ID, r.Weight, r.Health
		}
		if i.State == fleet.Running {
			t.count(ctx, i, of, known, &c)
		}
		s.Containers = append(s.Containers, c)
		out.Services[name] = s
	}
	t.keep(all)
	out.Books = wish.Books{Registrations: regs, Containers: all, Engine: t.engineID}
	return out, nil
}

// before is what the look before saw of the engine.
func (t *Tender) before() []fleet.Instance {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// keep remembers what was seen, and drops what is gone.
func (t *Tender) keep(all []fleet.Instance) {
	here := map[string]bool{}
	for _, i := range all {
		here[i.ID] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = all
	for id := range t.found {
		if !here[id] {
			delete(t.found, id)
			delete(t.raised, id)
			delete(t.pending, id)
		}
	}
}

// specAgain is how long a release that could not be read is not asked for again.
const specAgain = time.Minute

// spec is the service as its release has it; false where that is not known.
func (t *Tender) spec(ctx context.Context, i fleet.Instance, away bool) (spec.Service, bool) {
	key := i.App + "/" + i.Service + "@" + i.Release
	t.mu.Lock()
	k, asked := t.specs[key]
	t.mu.Unlock()
	if k.ok || away || asked && time.Since(k.at) < specAgain {
		return k.service, k.ok
	}
	release, err := t.consul.Release(ctx, i.App, i.Release)
	var app spec.App
	if err == nil {
		app, err = apply.SpecOf(release)
	}
	k = known{at: time.Now()}
	if err == nil {
		k.service, k.ok = app.Service(i.Service)
		k.notify = app.Notify
	} else {
		t.session.Log.Debug("release not read", "app", i.App, "release", i.Release, "error", err)
	}
	t.mu.Lock()
	t.specs[key] = k
	t.mu.Unlock()
	return k.service, k.ok
}

// Do carries out one step of a service.
func (t *Tender) Do(ctx context.Context, service string, s wish.Step, away bool) error {
	app, key, _ := strings.Cut(service, "/")
	of := Target{App: app, Service: key}
	session := *t.session
	session.Command, session.Args = string(s.Action)+" "+service, []string{service}
	switch s.Action {
	case wish.Deploy, wish.Leave:
		d, err := OpenService(ctx, t.node, &session, of)
		if err != nil {
			return err
		}
		return t.walk(ctx, d, s)
	case wish.Wake:
		_, err := Wake(ctx, t.node, &session, of, 0)
		return err
	case wish.Raise, wish.Lower, wish.Weigh, wish.Spare:
		d, err := OpenEngine(ctx, t.node, &session, of)
		if err != nil {
			return err
		}
		if d.Site.Name = t.name; !away {
			d.Consul = t.consul
		}
		return d.Locked(ctx, 0, func(ctx context.Context) error { return t.change(ctx, d, s) })
	}
	return fault.New(fault.Failed, "no such action: %s", s.Action)
}

// walk changes containers as svc-run does. Receivers are told of a failure once,
// until it is another one.
func (t *Tender) walk(ctx context.Context, d *Deploy, s wish.Step) error {
	name := d.App + "/" + d.Service
	d.Tell = func(_ context.Context, to []string, m notify.Message) {
		t.mu.Lock()
		again := t.failed[name] == m.Message
		t.failed[name] = m.Message
		t.mu.Unlock()
		if !again {
			t.tell(to, m)
		}
	}
	job := func(ctx context.Context) (apply.Job, error) { return placed(ctx, d, s.To) }
	if s.Action == wish.Leave {
		d.Plan = apply.PlanDown
		job = func(ctx context.Context) (apply.Job, error) { return Leaving(ctx, d) }
	}
	_, err := d.Work(ctx, job)
	if err == nil {
		t.mu.Lock()
		delete(t.failed, name)
		t.mu.Unlock()
	}
	return err
}

// placed is the job of n containers of a service: of the release that this node
// has, else, as a first placement, of the app's current one.
func placed(ctx context.Context, d *Deploy, n int) (apply.Job, error) {
	job, err := AsItWas(ctx, d)
	if errors.Is(err, errNone) {
		return apply.Resolve(ctx, d.Consul, d.Site, apply.Request{App: d.App, Service: d.Service, Count: n})
	}
	job.Wanted.Count = n
	return job, err
}

// Keep does one chore.
func (t *Tender) Keep(ctx context.Context, c wish.Care) error {
	switch c.Do {
	case wish.Renew:
		return t.consul.UpdateTTL(ctx, c.ID, fleet.Passing, c.Reason)
	case wish.Sweep:
		return t.consul.Deregister(ctx, c.ID)
	case wish.Return:
		app, key, _ := strings.Cut(c.Name, "/")
		session := *t.session
		session.Command = "return " + c.Name
		d := &Deploy{Node: t.node, Session: &session, App: app, Service: key, Consul: t.consul}
		d.Site.Name = t.name
		return d.Locked(ctx, 0, func(ctx context.Context) error { return t.consul.Return(ctx, c.ID) })
	}
	return fault.New(fault.Failed, "no such chore: %s", c.Do)
}
