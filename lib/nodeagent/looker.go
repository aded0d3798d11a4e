package nodeagent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/monitor"
	"svckit/lib/spec"
)

// How often, and how long at most, the looker takes.
const (
	lookEvery   = 2 * time.Second        // what runs here is asked of the engine
	lookPause   = 200 * time.Millisecond // between two looks, however often it is woken
	lookLimit   = 10 * time.Second       // of one question
	specFresh   = 5 * time.Minute        // a release may be pushed again under its name
	firstRepeat = 2 * time.Second        // of a question that failed; doubled each time
	lastRepeat  = time.Minute
)

// looker knows which containers of ours run here, and what each is.
type looker struct {
	world  World
	prefix string
	log    hclog.Logger
	wake   chan struct{}

	specs   map[string]*knownSpec
	masters map[string]*knownMaster // container id
	before  []fleet.Instance
	away    string // what was logged of the engine

	mu    sync.Mutex // guards what follows
	list  []monitor.Target
	looks int
	lost  []string // container ids
}

// patience spaces questions that fail.
type patience struct {
	next  time.Time
	pause time.Duration
}

func (p *patience) failed(now time.Time) {
	p.pause = min(max(2*p.pause, firstRepeat), lastRepeat)
	p.next = now.Add(p.pause)
}

// knownSpec is the spec of one release of an app.
type knownSpec struct {
	patience
	app   spec.App
	known bool
	told  string // what was logged
}

// knownMaster is the master in one container.
type knownMaster struct {
	patience
	pid   int // of the container's first process
	found fleet.Master
	stats string
}

// targets are the containers to read, in the order of their creation.
func (l *looker) targets() []monitor.Target {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list
}

// looked reports whether the engine has answered once.
func (l *looker) looked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.looks > 0
}

// again has the looker look now, and take nothing of before for granted of these containers.
func (l *looker) again(ids []string) {
	l.mu.Lock()
	l.lost = ids
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *looker) run(ctx context.Context) {
	l.specs, l.masters = map[string]*knownSpec{}, map[string]*knownMaster{}
	for {
		l.look(ctx)
		pause := time.NewTimer(lookPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		wait := time.NewTimer(lookEvery - lookPause)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-wait.C:
		}
		wait.Stop()
	}
}

// look asks the engine once. When it does not answer, what was known stays.
func (l *looker) look(ctx context.Context) {
	l.mu.Lock()
	lost := l.lost
	l.lost = nil
	l.mu.Unlock()
	l.before = slices.DeleteFunc(l.before, func(i fleet.Instance) bool { return slices.Contains(lost, i.ID) })
	for _, id := range lost {
		if k := l.masters[id]; k != nil && k.found.PID > 0 {
			k.found, k.stats = fleet.Master{}, "" // it may have ended and begun anew in a container that lives
		}
	}
	asked, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	all, err := l.world.Instances(asked, l.before)
	if err != nil {
		if l.away != err.Error() && ctx.Err() == nil {
			l.away = err.Error()
			l.log.Warn("the engine does not answer: what ran stays watched", "error", err)
		}
		return
	}
	l.away = ""
	l.before = slices.Clone(all)
	now := time.Now()
	var list []monitor.Target
	for _, i := range all {
		if i.Prefix != l.prefix || i.Owner != nil || i.State != fleet.Running || i.PID <= 0 || i.App == "" || i.Service == "" {
			continue
		}
		t := monitor.Target{Instance: i}
		t.Service, t.Known = l.spec(ctx, now, i)
		if t.Known && t.Service.Kind == spec.Cron {
			continue
		}
		if t.Known && t.Service.Master != spec.NoMaster {
			m := l.master(ctx, now, i, t.Service.Master)
			t.Master, t.Stats = m.found, m.stats
		}
		list = append(list, t)
	}
	l.forget(all)
	l.mu.Lock()
	l.list = list
	l.looks++
	l.mu.Unlock()
}

// spec is the service that a container was made of. What is known stays when
// Consul is away, or when the record can no longer be read.
func (l *looker) spec(ctx context.Context, now time.Time, i fleet.Instance) (spec.Service, bool) {
	key := i.App + "/" + i.Release
	k := l.specs[key]
	if k == nil {
		k = &knownSpec{}
		l.specs[key] = k
	}
	if !now.Before(k.next) {
		asked, cancel := context.WithTimeout(ctx, lookLimit)
		app, err := l.world.Spec(asked, i.App, i.Release)
		cancel()
		switch {
		case err == nil:
			*k = knownSpec{app: app, known: true, patience: patience{next: now.Add(specFresh)}}
		default:
			k.failed(now)
			if k.told != err.Error() && ctx.Err() == nil {
				k.told = err.Error()
				l.log.Warn("spec not read", "app", i.App, "release", i.Release, "error", err)
			}
		}
	}
	if !k.known {
		return spec.Service{}, false
	}
	return k.app.Service(i.Service)
}

// master finds the master of a container, once for each life of it.
func (l *looker) master(ctx context.Context, now time.Time, i fleet.Instance, kind spec.Master) *knownMaster {
	k := l.masters[i.ID]
	if k == nil || k.pid != i.PID {
		k = &knownMaster{pid: i.PID}
		l.masters[i.ID] = k
	}
	if k.found.PID > 0 || now.Before(k.next) {
		return k
	}
	asked, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	found, err := l.world.Masters.Look(asked, i, kind)
	if err == nil && found.PID > 0 {
		var stats string
		if stats, err = l.world.Masters.StatsAt(i, kind, found.PID); err == nil {
			k.found, k.stats, k.patience = found, stats, patience{}
			return k
		}
	}
	k.failed(now)
	l.log.Debug("master not found yet", "container", i.Name, "error", err, "why", found.Unsafe)
	return k
}

// forget drops what is known of containers and releases that are gone.
func (l *looker) forget(all []fleet.Instance) {
	ids, releases := map[string]bool{}, map[string]bool{}
	for _, i := range all {
		ids[i.ID], releases[i.App+"/"+i.Release] = true, true
	}
	for id := range l.masters {
		if !ids[id] {
			delete(l.masters, id)
		}
	}
	for key := range l.specs {
		if !releases[key] {
			delete(l.specs, key)
		}
	}
}
