package here

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/master"
	"svckit/lib/spec"
	"svckit/lib/wish"
)

const (
	ticks       = 100                   // of the kernel's clock in a second, as in /proc/PID/stat (USER_HZ)
	youth       = 2 * time.Second       // a worker is young for so long where its service does not say min_healthy
	oldest      = 10 * time.Second      // and at most for so long
	resizeLook  = 50 * time.Millisecond // between two counts while a number changes
	raiseWait   = 3 * time.Second       // until a master is told again to start one more
	uwsgiWait   = 2 * time.Second       // until a uwsgi is told again: it ends an idle worker or none, once a second
	lowerWait   = time.Minute           // until a gunicorn is told again: the worker that ends may be busy
	resizeLimit = 20 * time.Second      // without a change a number is given up, and tried again later
)

// count counts the workers of a container that runs. Where they cannot be
// counted there are none, and Fixed says why.
func (t *Tender) count(ctx context.Context, i fleet.Instance, of spec.Service, known bool, c *wish.Container) {
	kind := of.Master
	if !known {
		kind = master.KindOf(i)
	}
	if kind == spec.NoMaster {
		c.Workers, c.Fixed = 1, "it has no master that could be told to have more or fewer workers (master: none)"
		return
	}
	m, err := t.master(ctx, i, kind)
	switch {
	case err != nil:
		c.Fixed = "its workers were not counted: " + err.Error()
		return
	case m.PID == 0:
		c.Fixed = strings.Join(append([]string{"its master was not found"}, m.Unsafe...), ": ")
		return
	}
	c.Workers = len(m.Workers)
	c.Fixed, _ = master.Fixed(i, m)
	t.mu.Lock()
	since, grown := t.raised[i.ID]
	t.mu.Unlock()
	if grown {
		c.Young = young(m.Workers, since, youthOf(of, known))
	}
}

// youthOf is how long a worker that was added counts as starting.
func youthOf(of spec.Service, known bool) time.Duration {
	if !known {
		return youth
	}
	return min(max(of.Check.MinHealthy, resizeLook), oldest)
}

// young counts the workers that were started since workers were last added, and
// not long ago: those that take the place of others do not count, as a master
// replaces its workers all the time where it is told to.
func young(list []fleet.Worker, since uint64, youth time.Duration) int {
	now, n := uptime(), 0
	for _, w := range list {
		if w.Started >= since && now-w.Started < uint64(youth.Seconds()*ticks) {
			n++
		}
	}
	return n
}

// uptime is the time since boot in ticks; 0 when it is not known.
func uptime() uint64 {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	word, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return 0
	}
	return uint64(seconds * ticks)
}

// master finds the master of a container, without the engine where it was seen before.
func (t *Tender) master(ctx context.Context, i fleet.Instance, kind spec.Master) (fleet.Master, error) {
	t.mu.Lock()
	m, ok := t.found[i.ID]
	t.mu.Unlock()
	if ok {
		now, err := t.masters.Again(ctx, i, m)
		if err == nil {
			return now, nil
		}
	}
	i, err := t.engine.Instance(ctx, i.ID) // it may have been started again since it was listed
	if err != nil {
		return fleet.Master{}, err
	}
	m, err = t.masters.Look(ctx, i, kind)
	if err == nil && m.PID > 0 {
		t.mu.Lock()
		t.found[i.ID] = m
		t.mu.Unlock()
	}
	return m, err
}

// change does a step that leaves the containers as they are. The service's lock is held.
func (t *Tender) change(ctx context.Context, d *Deploy, s wish.Step) error {
	i, err := t.engine.Instance(ctx, s.ID)
	if err != nil {
		return err
	}
	switch s.Action {
	case wish.Weigh:
		return t.weigh(ctx, i, s.To)
	case wish.Spare:
		return t.spare(ctx, d, i, s)
	default:
	}
	of, known := t.spec(ctx, i, d.Consul == nil)
	kind := of.Master
	if !known {
		kind = master.KindOf(i)
	}
	m, err := t.master(ctx, i, kind)
	if err != nil {
		return err
	}
	if err := t.resize(ctx, i, m, s.To); err != nil || s.Action == wish.Raise || d.Consul == nil {
		return err // new workers weigh once they are ready
	}
	return t.weigh(ctx, i, s.To)
}

// resize tells a master one worker more or less, counts, and so on until there
// are as many as wanted. gunicorn ends its oldest worker, which first finishes
// the request that it is at; uWSGI ends an idle one, or none.
func (t *Tender) resize(ctx context.Context, i fleet.Instance, m fleet.Master, to int) error {
	why, most := master.Fixed(i, m)
	if why != "" {
		return fault.New(fault.Refused, "resize %s: %s", i.Name, why)
	}
	goal := to
	if most > 0 {
		goal = min(to, most)
	}
	r := t.resizing(i, m, goal)
	for len(r.m.Workers) != goal {
		if err := r.turn(ctx); err != nil {
			return err
		}
	}
	if goal < to {
		return fault.WithHint(fault.New(fault.Refused, "resize %s: %d workers are wanted and uwsgi may have %d", i.Name, to, most), "raise processes in its settings, and let cheaper keep it small")
	}
	return nil
}

// resizing is one change of a number of workers.
type resizing struct {
	t        *Tender
	i        fleet.Instance
	m        fleet.Master
	goal     int
	patience time.Duration
	moved    time.Time // when the number last came nearer
	told     time.Time // when the master was last told and did not do it yet; zero: it did
}

func (t *Tender) resizing(i fleet.Instance, m fleet.Master, goal int) *resizing {
	r := &resizing{t: t, i: i, m: m, goal: goal, patience: raiseWait, moved: time.Now()}
	if goal > len(m.Workers) {
		t.mu.Lock()
		t.raised[i.ID] = uptime()
		t.mu.Unlock()
		return r
	}
	r.patience = lowerWait
	if master.KindOf(i) == spec.UWSGI {
		r.patience = uwsgiWait
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.pending[i.ID]; ok && len(m.Workers) >= p.workers && time.Since(p.at) < r.patience {
		r.told = p.at // a worker is ending already
	}
	return r
}

// turn tells the master where that is due, waits a little, and counts.
func (r *resizing) turn(ctx context.Context) error {
	before, by := len(r.m.Workers), 1
	if before > r.goal {
		by = -1
	}
	if r.told.IsZero() || time.Since(r.told) >= r.patience {
		if err := r.t.masters.Resize(ctx, r.i, r.m, by); err != nil {
			return fmt.Errorf("resize %s: %w", r.i.Name, err)
		}
		r.told = time.Now()
		if by < 0 {
			r.t.note(r.i.ID, told{r.told, before})
		}
	}
	timer := time.NewTimer(resizeLook)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	now, err := r.t.masters.Again(ctx, r.i, r.m)
	if errors.Is(err, fleet.ErrNotFound) {
		return fault.New(fault.Failed, "resize %s: its master ended with %d of %d workers", r.i.Name, before, r.goal)
	}
	if err != nil {
		return err
	}
	r.m = now
	if after := len(now.Workers); by > 0 && after > before || by < 0 && after < before {
		r.told, r.moved = time.Time{}, time.Now()
	}
	if since := time.Since(r.moved); since > resizeLimit {
		return fault.New(fault.Timeout, "resize %s: %d workers, %d wanted, and nothing moved for %s: %s", r.i.Name, len(r.m.Workers), r.goal, resizeLimit, waits(by))
	}
	return nil
}

// waits says what a change of workers waits for.
func waits(by int) string {
	if by > 0 {
		return "its master starts none"
	}
	return "those that are to end are busy"
}

func (t *Tender) note(id string, p told) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending[id] = p
}

// weigh makes a number the weight of a container's registration, and changes
// nothing else of it: its check goes on as it is.
func (t *Tender) weigh(ctx context.Context, i fleet.Instance, weight int) error {
	all, err := t.consul.Registrations(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Meta[fleet.MetaContainer] != i.ID {
			continue
		}
		if r.Check.Type == "" && r.Meta[fleet.MetaCheck] != "" {
			return fault.New(fault.Failed, "weigh %s: the agent does not have its check as it was registered", r.ID)
		}
		if weight = max(weight, 1); r.Weight == weight {
			return nil
		}
		r.Weight, r.Meta[fleet.MetaWorkers] = weight, strconv.Itoa(weight)
		r.Health = "" // a maintenance stays, and one that ended meanwhile does not begin again
		return t.consul.Register(ctx, r)
	}
	return nil // it is not registered, which is another step's business
}

// spare stops a container at once, since the node runs out of memory: out of
// Consul where that answers, without waiting for DNS to forget it. Its app's
// receivers are told.
func (t *Tender) spare(ctx context.Context, d *Deploy, i fleet.Instance, s wish.Step) error {
	i = t.greediest(ctx, i)
	if d.Consul != nil {
		all, err := t.consul.Registrations(ctx)
		for _, r := range all {
			if r.Meta[fleet.MetaContainer] == i.ID {
				err = t.consul.Deregister(ctx, r.ID)
			}
		}
		if err != nil {
			t.session.Log.Warn("not taken out of Consul before its stop", "container", i.Name, "error", err)
		}
	}
	if err := t.engine.Stop(ctx, i.ID); err != nil {
		return err
	}
	m := d.Failure(i.Release, fault.New(fault.Refused, "stopped %s: %s", i.Name, s.Reason))
	m.Event = "memory short"
	t.mu.Lock()
	receivers := t.specs[i.App+"/"+i.Service+"@"+i.Release].notify
	t.mu.Unlock()
	to := make([]string, 0, len(receivers))
	for _, r := range receivers {
		to = append(to, r.Webhook)
	}
	t.tell(to, m)
	return nil
}

// greediest is the container of a service that is furthest over what it declared; the
// given one where that is not known.
func (t *Tender) greediest(ctx context.Context, i fleet.Instance) fleet.Instance {
	list, err := t.engine.Instances(ctx, i.App, i.Service)
	if err != nil {
		return i
	}
	most := int64(0)
	for _, x := range list {
		if x.State != fleet.Running || x.Owner != nil {
			continue
		}
		used, err := t.engine.Memory(ctx, x.ID)
		if over := used - x.Memory; err == nil && over > most {
			i, most = x, over
		}
	}
	return i
}
