package follow

import (
	"context"
	"sync"
	"time"

	"svckit/lib/answer"
)

// holding is what answer.Hold needs to know of an entry; guarded by the entry's mutex.
type holding struct {
	gone    map[string]bool      // nodes that have left the catalog
	answers map[string]bool      // by place
	since   map[string]time.Time // by ID
	trying  bool
}

const (
	tryEach  = 500 * time.Millisecond
	tryLimit = 300 * time.Millisecond
	tryTimes = 3  // for a place that is silent: one that is let go does not come back
	tryMost  = 32 // places at once
)

// goneNodes finds out which nodes have left together with an instance that is
// not in state any more. A node that another instance still names is there.
func (k *Keeper) goneNodes(e *entry, state answer.State) map[string]bool {
	if k.settings.Hold <= 0 {
		return nil
	}
	there := map[string]bool{}
	ids := map[string]bool{}
	for _, i := range state.Instances {
		there[i.Node], ids[i.ID] = true, true
	}
	e.mu.Lock()
	ask := map[string]string{}
	for _, i := range e.state.Instances {
		if !ids[i.ID] && !there[i.Node] {
			ask[i.Node] = i.Datacenter
		}
	}
	e.mu.Unlock()
	gone := map[string]bool{}
	for node, dc := range ask {
		ctx, cancel := context.WithTimeout(k.ctx, readLimit)
		known, err := k.source.NodeKnown(ctx, node, dc)
		cancel()
		gone[node] = err == nil && !known
	}
	return gone
}

// settle works out e.state from e.raw. It is called with e.mu held.
func (k *Keeper) settle(e *entry) {
	at := k.now()
	evidence := answer.Evidence{NodeGone: e.hold.gone, Answers: e.hold.answers, Since: e.hold.since, Limit: k.settings.Hold}
	instances, try := answer.Hold(e.state.Instances, e.raw.Instances, evidence, at)
	since := map[string]time.Time{}
	for _, i := range instances {
		if i.Held {
			since[i.ID] = at
			if before, ok := e.hold.since[i.ID]; ok {
				since[i.ID] = before
			}
		}
	}
	if len(since) > 0 && len(e.hold.since) == 0 {
		k.counts.held.Add(1)
		k.log.Info("hold instances: their agent restarts or has left", "what", e.subject.String(), "instances", len(since))
	}
	e.state = answer.State{Instances: instances, Node: e.raw.Node}
	e.hold.since = since
	if len(since) == 0 {
		e.hold.answers = nil
		return
	}
	if !e.hold.trying {
		e.hold.trying = true
		go k.try(e, try)
	}
}

// try asks the held instances themselves, again and again, until none is held.
func (k *Keeper) try(e *entry, places []answer.Instance) {
	for {
		answers := k.ask(places)
		e.mu.Lock()
		e.hold.answers = answers
		before := len(e.hold.since)
		k.settle(e)
		if len(e.hold.since) != before {
			k.changes.Add(1)
			k.publish(e)
		}
		places = held(e.state.Instances)
		if len(places) == 0 || e.gone {
			e.hold.trying = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		select {
		case <-k.ctx.Done():
			return
		case <-time.After(tryEach):
		}
	}
}

func held(all []answer.Instance) (out []answer.Instance) {
	for _, i := range all {
		if i.Held {
			out = append(out, i)
		}
	}
	return out
}

// ask tries each place.
func (k *Keeper) ask(places []answer.Instance) map[string]bool {
	answers := map[string]bool{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	slots := make(chan struct{}, tryMost)
	for _, i := range places {
		if i.Port == 0 {
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			ok := k.tryPlace(i)
			mu.Lock()
			defer mu.Unlock()
			answers[i.Place()] = ok
		})
	}
	wait.Wait()
	return answers
}

// tryPlace reports whether a place answers. One packet that is lost, or a moment in
// which this machine stands still, makes nobody silent.
func (k *Keeper) tryPlace(i answer.Instance) (ok bool) {
	for range tryTimes {
		ctx, cancel := context.WithTimeout(k.ctx, tryLimit)
		ok = k.probe(ctx, i.Reached(), i.Port)
		silent := ctx.Err() != nil
		cancel()
		if ok || !silent {
			break
		}
	}
	return ok
}
