package here

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"svckit/lib/apply"
	"svckit/lib/consul"
	"svckit/lib/cron"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/notify"
	"svckit/lib/planner"
	"svckit/lib/rollout"
	"svckit/lib/scale"
	"svckit/lib/spec"
	"svckit/lib/timetable"
	"svckit/lib/tool"
	"svckit/lib/wish"
)

// Crons is this node as package timetable needs it. It is safe for concurrent use.
type Crons struct {
	node     *Node
	session  *tool.Session
	settings node.Settings
	engine   *docker.Engine
	consul   *consul.Client
	name     string // of the node
	pool     string // that its agent says
	tell     func(to []string, m notify.Message)
	// Progress reports long steps of a run; nil is allowed.
	Progress func(s rollout.Step) (fleet.Progress, func())

	mu      sync.Mutex
	specs   map[string]spec.App // app/release
	freezes []planner.Freeze
}

// OpenCrons opens this node. tell takes messages to the receivers of an app.
func OpenCrons(ctx context.Context, w *Node, s *tool.Session, tell func([]string, notify.Message)) (*Crons, error) {
	settings, err := w.Settings(s)
	if err != nil {
		return nil, err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return nil, err
	}
	client, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	return &Crons{node: w, session: s, settings: settings, engine: engine, consul: client, name: settings.Name, tell: tell, specs: map[string]spec.App{}}, nil
}

// Know learns this node's name and pool, which its agent says; it asks once.
func (c *Crons) Know(ctx context.Context) error {
	c.mu.Lock()
	known := c.pool != ""
	c.mu.Unlock()
	if known {
		return nil
	}
	agent, err := c.consul.Self(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.pool = first(c.name, agent.Node), first(agent.Meta["pool"], "default")
	return nil
}

// Site is what runs on this node need.
func (c *Crons) Site() timetable.Site {
	return timetable.Site{Node: c.name, States: c, Locks: c, Containers: c, Views: c, Now: c.node.Now, Tell: c.Tell, Log: c.session.Log.Named("cron")}
}

// CronState reads the state of a service, and whether its lock is held.
func (c *Crons) CronState(ctx context.Context, name string) (cron.State, bool, error) {
	return c.consul.CronState(ctx, name)
}

// SetCron changes the state of a service by check-and-set.
func (c *Crons) SetCron(ctx context.Context, s cron.State, l timetable.Lock) (cron.State, error) {
	lock, _ := l.(*consul.Lock)
	return c.consul.SetCron(ctx, s, lock)
}

// RecordRun keeps a run that ended.
func (c *Crons) RecordRun(ctx context.Context, name string, r cron.Run) error {
	for i, l := range r.Lines {
		r.Lines[i] = c.session.Veil(l)
	}
	r.Error = c.session.Veil(r.Error)
	return c.consul.RecordRun(ctx, name, r)
}

// ClaimCron takes the lock of a service with a change of its state.
func (c *Crons) ClaimCron(ctx context.Context, s cron.State) (timetable.Lock, cron.State, error) {
	h, err := c.holder(s.Name)
	if err != nil {
		return nil, s, err
	}
	lock, s, err := c.consul.ClaimCron(ctx, s, h)
	if err != nil {
		return nil, s, err
	}
	return lock, s, nil
}

// LockCron takes the lock of a service for a run that goes on.
func (c *Crons) LockCron(ctx context.Context, name string) (timetable.Lock, error) {
	h, err := c.holder(name)
	if err != nil {
		return nil, err
	}
	lock, err := c.consul.LockCron(ctx, name, h)
	if err != nil {
		return nil, err
	}
	return lock, nil
}

func (c *Crons) holder(name string) (fleet.Holder, error) {
	return node.Holder(node.Who(c.node.Getenv), c.name, c.session.Program+" run of "+name, time.Now())
}

// Make makes the container of a run of the app's current release, with the config of now.
func (c *Crons) Make(ctx context.Context, s timetable.Service, run string) (timetable.Made, error) {
	once, err := c.once(ctx, s.Name, run)
	if err != nil {
		return timetable.Made{}, err
	}
	once.Progress = c.Progress
	id, err := once.Make(ctx)
	return timetable.Made{ID: id, Release: once.Job.Wanted.Release}, err
}

// once is the job of one run.
func (c *Crons) once(ctx context.Context, name, run string) (apply.Once, error) {
	of := targetOf(name)
	d, err := OpenService(ctx, c.node, c.session, of)
	if err != nil {
		return apply.Once{}, err
	}
	job, err := apply.Resolve(ctx, d.Consul, d.Site, apply.Request{App: of.App, Service: of.Service, Run: run})
	if err != nil {
		return apply.Once{}, err
	}
	d.Hide(job.Values)
	return apply.Once{World: d.World, Job: job}, nil
}

func targetOf(name string) Target {
	app, service, _ := strings.Cut(name, "/")
	return Target{App: app, Service: service}
}

// Start starts the container of a run.
func (c *Crons) Start(ctx context.Context, id string) error { return c.engine.Start(ctx, id) }

// Stop ends it, by its own stop signal and timeout or at once.
func (c *Crons) Stop(ctx context.Context, id string, atOnce bool) error {
	if atOnce {
		return c.engine.Signal(ctx, id, "KILL")
	}
	return c.engine.Stop(ctx, id)
}

// Remove removes it, with its files and its cores. Consul is not asked.
func (c *Crons) Remove(ctx context.Context, id string) error {
	d, err := OpenEngine(ctx, c.node, c.session, Target{})
	if err != nil {
		return err
	}
	info, err := c.engine.Info(ctx)
	if err != nil {
		return err
	}
	return apply.Once{World: d.World, Job: apply.Job{Site: apply.Site{Cores: info.CPUs}}}.Remove(ctx, id)
}

// Ended waits for the end of a run's container.
func (c *Crons) Ended(ctx context.Context, id string) (timetable.End, error) {
	i, err := c.engine.Ended(ctx, id)
	e := timetable.End{Code: i.ExitCode}
	if i.OOMKilled {
		e.Why = "out of memory"
	}
	return e, err
}

// runLines is how many lines of its output are kept of a run.
const runLines = 20

// Lines are the last lines of a run's output.
func (c *Crons) Lines(ctx context.Context, id string) ([]string, error) {
	return c.engine.Tail(ctx, id, runLines)
}

// Left lists the containers of runs on this node.
func (c *Crons) Left(ctx context.Context) (out []timetable.Leftover, err error) {
	list, err := c.engine.Instances(ctx, "", "")
	for _, i := range list {
		if i.Run != "" && i.App != "" && i.Service != "" && i.Prefix == c.settings.Prefix {
			out = append(out, timetable.Leftover{Name: i.App + "/" + i.Service, Run: i.Run, ID: i.ID, Release: i.Release, State: i.State, Began: i.StartedAt})
		}
	}
	return out, err
}

// Services lists the cron services of the fleet that this node may run: of its pool,
// and none while it leaves that.
func (c *Crons) Services(ctx context.Context) ([]timetable.Service, error) {
	if err := c.Know(ctx); err != nil {
		return nil, err
	}
	limits, err := c.consul.Limits(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.freezes = limits.Freezes
	c.mu.Unlock()
	pool, leaves := poolOf(limits.Pools, c.name, c.pool)
	if leaves {
		return nil, nil
	}
	currents, bad, err := c.consul.Currents(ctx)
	if err != nil {
		return nil, err
	}
	for app, why := range bad {
		c.session.Log.Warn("cron services of an app not known", "app", app, "error", why)
	}
	var out []timetable.Service
	used := map[string]spec.App{}
	for _, app := range slices.Sorted(maps.Keys(currents)) {
		for _, key := range slices.Sorted(maps.Keys(currents[app].Services)) {
			s, ok, err := c.service(ctx, app, key, currents[app].Services[key], used)
			if err != nil {
				c.session.Log.Warn("cron service not known", "service", app+"/"+key, "error", err)
			}
			if ok && s.Pool == pool {
				out = append(out, s)
			}
		}
	}
	c.mu.Lock()
	c.specs = used
	c.mu.Unlock()
	return out, nil
}

// poolOf is the pool of a node: what people and loans say goes before what its agent says.
func poolOf(pools []planner.Membership, name, own string) (pool string, leaves bool) {
	pools = slices.Clone(pools)
	slices.SortFunc(pools, func(a, b planner.Membership) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range pools {
		for _, m := range p.Nodes {
			if m.Node == name {
				return p.Name, m.Draining || m.Leaving
			}
		}
	}
	return own, false
}

// service is one service; false for one that is no cron service.
func (c *Crons) service(ctx context.Context, app, key string, p fleet.Pointer, used map[string]spec.App) (timetable.Service, bool, error) {
	at := app + "/" + p.Release
	c.mu.Lock()
	of, known := c.specs[at]
	c.mu.Unlock()
	if !known {
		release, err := c.consul.Release(ctx, app, p.Release)
		if err != nil {
			return timetable.Service{}, false, err
		}
		if of, err = apply.SpecOf(release); err != nil {
			return timetable.Service{}, false, err
		}
	}
	used[at] = of
	s, ok := of.Service(key)
	if !ok || s.Kind != spec.Cron {
		return timetable.Service{}, false, nil
	}
	out, err := CronService(of, s, p)
	return out, err == nil, err
}

// CronService is a service of kind cron as package timetable needs it.
func CronService(of spec.App, s spec.Service, p fleet.Pointer) (timetable.Service, error) {
	zone, err := time.LoadLocation(s.Cron.Zone)
	if err != nil {
		return timetable.Service{}, fault.New(fault.Invalid, "read schedule of %s/%s: there is no zone %s on this machine", s.App, s.Key, s.Cron.Zone)
	}
	schedule, err := cron.New(s.Schedule, zone)
	return timetable.Service{
		Name: s.App + "/" + s.Key, Release: p.Release, Promoted: p.At, Fields: s.Cron.Zone + " " + s.Schedule, Schedule: schedule,
		Rules: s.Cron, Pool: s.Scale.Pool, Notify: of.Notify,
	}, err
}

// Frozen says why a service begins nothing: a freeze of it that forbids changes, or one
// of anything that lets nothing be done at all. One that holds sizes is not meant.
func (c *Crons) Frozen(s timetable.Service) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(c.freezes), func(z planner.Freeze) bool {
		return z.Mode != scale.Observe && !(z.Scope == "service" && z.Mode == scale.NoChange)
	})
	_, why := wish.Mode(list, s.Name, s.Pool, c.node.Now().Unix())
	return why
}

// Tell tells an app's receivers of a run that went wrong.
func (c *Crons) Tell(s timetable.Service, r cron.Run) {
	if !r.Result.Bad() || len(s.Notify) == 0 {
		return
	}
	of := targetOf(s.Name)
	m := notify.Message{
		At: time.Now().UTC(), Event: "run " + string(r.Result), Kind: "failed", App: of.App, Service: of.Service, Node: r.Node,
		Program: c.session.Program, Release: r.Release, Message: c.session.Veil(Said(r)), Hint: "svc-run runs " + s.Name,
	}
	for _, l := range r.Lines {
		m.Detail = append(m.Detail, c.session.Veil(l))
	}
	var to []string
	for _, n := range s.Notify {
		to = append(to, n.Webhook)
	}
	c.tell(to, m)
}

// Said is what became of a run, in one line.
func Said(r cron.Run) string {
	out := string(r.Result)
	if r.Result == cron.Failed || r.Result == cron.Done {
		out += fmt.Sprintf(", exit code %d", r.Code)
	}
	if !r.Began.IsZero() && !r.Ended.IsZero() {
		out += fmt.Sprintf(" after %s", r.Ended.Sub(r.Began).Round(time.Second/10))
	}
	if r.Error != "" {
		out += ": " + r.Error
	}
	return out
}
