package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/spec"
)

// sight is what one look at this node and at the keys of its services found.
type sight struct {
	away     error             // why nothing could be seen; the rest is then empty
	services []string          // every service that runs here, APP/SERVICE, sorted
	content  map[string]string // service → digest of its release and its keys; only those that were read
	refused  map[string]error  // service → why its keys cannot be read
}

// looker looks at what runs here and at the keys of that. Only marked apps are
// read again, and services of which something else runs than before.
type looker struct {
	prefix    string
	instances func(context.Context) ([]fleet.Instance, error)
	layers    func(ctx context.Context, app, service string) (spec.Layers, error)
	follow    func(apps []string) // is told which apps matter

	beat atomic.Int64 // Unix time in nanoseconds of the last step
	wake chan struct{}

	mu    sync.Mutex
	apps  map[string]bool // to be read again
	every bool            // all of them

	runs map[string]string // service → what of it ran when its keys were read
}

func newLooker(prefix string, instances func(context.Context) ([]fleet.Instance, error), layers func(context.Context, string, string) (spec.Layers, error)) *looker {
	return &looker{
		prefix: prefix, instances: instances, layers: layers, follow: func([]string) {},
		wake: make(chan struct{}, 1), apps: map[string]bool{}, runs: map[string]string{},
	}
}

// mark has an app looked at; "" is every app. It may be called from everywhere.
func (l *looker) mark(app string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps[app] = true
	l.every = l.every || app == ""
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lastBeat is when the looker last made a step. Each step ends within lookLimit.
func (l *looker) lastBeat() time.Time { return time.Unix(0, l.beat.Load()) }

// run looks until ctx ends: when it is woken, and every few seconds.
func (l *looker) run(ctx context.Context, out chan<- sight) {
	var retry time.Duration
	for ctx.Err() == nil {
		s := l.look(ctx)
		select {
		case <-ctx.Done():
			return
		case out <- s:
		}
		wake, wait := l.wake, lookEvery
		if s.away != nil {
			retry = min(max(2*retry, firstRetry), lastRetry)
			wake, wait = nil, retry/2+time.Duration(rand.Float64()*float64(retry/2))
		} else {
			retry = 0
			pause(ctx, lookPause, nil)
		}
		pause(ctx, wait, wake)
	}
}

// pause waits for a time, for wake, or for the end of ctx.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}

// look looks once. What it could not finish stays marked.
func (l *looker) look(ctx context.Context) sight {
	apps, every := l.take()
	s, err := l.read(ctx, apps, every)
	if err != nil {
		l.mu.Lock()
		maps.Copy(l.apps, apps)
		l.every = l.every || every
		l.mu.Unlock()
		return sight{away: err}
	}
	return s
}

func (l *looker) take() (apps map[string]bool, every bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	apps, every = l.apps, l.every
	l.apps, l.every = map[string]bool{}, false
	return apps, every
}

// read asks the engine what runs, and Consul for the keys of what is marked or new.
func (l *looker) read(ctx context.Context, apps map[string]bool, every bool) (sight, error) {
	var list []fleet.Instance
	err := l.step(ctx, func(ctx context.Context) (err error) { list, err = l.instances(ctx); return err })
	if err != nil {
		return sight{}, err
	}
	runs := running(list, l.prefix)
	s := sight{services: slices.Sorted(maps.Keys(runs)), content: map[string]string{}, refused: map[string]error{}}
	l.follow(appsOf(s.services))
	maps.DeleteFunc(l.runs, func(name, _ string) bool { return runs[name] == "" })
	for _, name := range s.services {
		app, service, _ := strings.Cut(name, "/")
		if l.runs[name] == runs[name] && !every && !apps[app] {
			continue
		}
		var layers spec.Layers
		err := l.step(ctx, func(ctx context.Context) (err error) { layers, err = l.layers(ctx, app, service); return err })
		switch kind := fault.KindOf(err); {
		case ctx.Err() != nil || kind == fault.Unreachable || kind == fault.Timeout:
			for read := range s.content {
				delete(l.runs, read) // nobody will hear of it: it is read again
			}
			return sight{}, err
		case err != nil:
			delete(l.runs, name)
			s.refused[name] = err
		default:
			l.runs[name] = runs[name]
			s.content[name] = digest(runs[name], layers)
		}
	}
	return s, nil
}

// step asks one question within its limit.
func (l *looker) step(ctx context.Context, ask func(context.Context) error) error {
	l.beat.Store(time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	return ask(ctx)
}

// running says which services run here, each with the releases and images of its containers.
func running(list []fleet.Instance, prefix string) map[string]string {
	out := map[string]string{}
	for _, i := range list { // oldest first
		if i.App == "" || i.Service == "" || i.Prefix != "" && i.Prefix != prefix || !here.Runs(i) {
			continue
		}
		name, what := i.App+"/"+i.Service, fmt.Sprintf("%s %s;", i.Release, i.Image)
		if !strings.Contains(out[name], what) {
			out[name] += what
		}
	}
	return out
}

// appsOf names the apps of sorted services, sorted.
func appsOf(services []string) []string {
	var apps []string
	for _, s := range services {
		app, _, _ := strings.Cut(s, "/")
		apps = append(apps, app)
	}
	return slices.Compact(apps)
}

// digest is the same as long as nothing changed that can change what a service gets.
func digest(runs string, l spec.Layers) string {
	sum := sha256.New()
	_ = json.NewEncoder(sum).Encode([]any{runs, bytesOf(l.Shared), bytesOf(l.App), bytesOf(l.Service), bytesOf(l.Secrets), l.Skipped})
	return hex.EncodeToString(sum.Sum(nil))
}

// bytesOf keeps values apart that JSON would show alike: not every value is text.
func bytesOf(values map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(values))
	for name, v := range values {
		out[name] = []byte(v)
	}
	return out
}
