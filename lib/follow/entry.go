package follow

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"svckit/lib/answer"
	"svckit/lib/fault"
)

// forever is later than any question.
const forever = 1<<63 - 1

// question is what a reply was packed for.
type question struct {
	name answer.Name
	kind uint16
}

// entry is what is known of one subject.
type entry struct {
	subject answer.Subject
	life    life
	asks    atomic.Int64

	cancel context.CancelFunc // of its watch; guarded by the keeper's mutex

	mu        sync.Mutex
	following context.Context // of the watch that has reported at least once
	known     bool            // there was a state, now or in the snapshot
	failed    bool            // there was none yet, and Consul could not say
	gone      bool            // forgotten: nothing more is published for it
	raw       answer.State    // as Consul says
	state     answer.State    // with what is held
	good      time.Time       // when raw was certainly true
	lostAt    time.Time       // since when it may be false; zero: it is true
	refused   time.Time       // when Consul last refused to tell; zero: it did not
	problem   string          // why Consul could not tell last time; "" if it could
	reading   chan struct{}   // closed when the read that goes on is over
	questions map[string]question
	hold      holding
}

// exists is called with e.mu held, as current and stale are.
func (e *entry) exists() bool { return len(e.state.Instances) > 0 || e.state.Node != nil }

// current reports whether a watch tells of every change.
func (e *entry) current() bool {
	return e.following != nil && e.following.Err() == nil && e.lostAt.IsZero()
}

func (e *entry) stale() bool { return !e.lostAt.IsZero() }

func (e *entry) watched(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() == nil {
		e.following = ctx
	}
}

// entry returns the entry of a subject, a new one if need be; nil when there are too many.
func (k *Keeper) entry(s answer.Subject) *entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[s]
	if e == nil {
		if len(k.entries) >= k.settings.Names && !k.makeRoom() {
			return nil
		}
		e = &entry{subject: s, questions: map[string]question{}}
		k.entries[s] = e
	}
	return e
}

// makeRoom forgets a name that does not exist; any will do.
func (k *Keeper) makeRoom() bool {
	tried := 0
	for _, e := range k.entries {
		e.mu.Lock()
		useless := e.known && !e.exists() && e.cancel == nil && e.reading == nil
		e.mu.Unlock()
		if useless {
			k.forget(e)
			return true
		}
		if tried++; tried == 1000 {
			break
		}
	}
	return false
}

// see takes what Consul says of e.
func (k *Keeper) see(e *entry, state answer.State, err error) {
	missing := fault.KindOf(err) == fault.NotFound // its datacenter is not known
	if missing {
		err = nil
	}
	if missing && e.isKnown() {
		return // a datacenter that was there is cut off
	}
	refused := refuses(err)
	if refused {
		k.contact(nil) // it answers
	} else {
		k.contact(err)
	}
	if err == nil {
		k.news(e, state)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed, e.problem = true, err.Error()
	if refused && !e.gone {
		k.refuse(e, err)
	}
	if e.known && e.lostAt.IsZero() {
		e.lostAt = k.now()
		k.counts.lost.Add(1)
		k.publish(e)
	}
}

func (e *entry) isKnown() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known && e.exists()
}

func (k *Keeper) news(e *entry, state answer.State) {
	gone := k.goneNodes(e, state)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := k.now()
	same := e.known && e.lostAt.IsZero() && reflect.DeepEqual(e.raw, state) && len(e.hold.since) == 0
	e.known, e.failed, e.good, e.lostAt, e.raw = true, false, now, time.Time{}, state
	k.allow(e)
	if same {
		k.renew(e)
		return
	}
	e.hold.gone = gone
	k.settle(e)
	k.changes.Add(1) // first, so that nobody sees an answer of which no snapshot is due
	k.publish(e)
}

// publish packs every reply again that e has been asked for. It is called with e.mu held.
func (k *Keeper) publish(e *entry) {
	if e.gone {
		return
	}
	policy := k.policy(e.stale())
	replies := make(map[string]*answer.Packed, len(e.questions))
	for key, q := range e.questions {
		reply, ok := answer.Resolve(q.name, q.kind, e.state, policy)
		if !ok {
			delete(e.questions, key)
			reply = nil
		}
		replies[key] = reply
	}
	k.put(replies, &e.life)
	k.renew(e)
}

// renew sets how long the replies of e may be given without asking again. It is called with e.mu held.
func (k *Keeper) renew(e *entry) {
	switch {
	case e.current():
		e.life.until.Store(forever)
	case !e.stale():
		e.life.until.Store(e.good.Add(k.settings.Fresh).UnixNano())
	default:
		e.life.until.Store(k.now().Add(k.settings.Fresh).UnixNano())
	}
}

// tidy forgets what nobody asks for, and what is too old.
func (k *Keeper) tidy() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	for _, e := range k.entries {
		idle := now.Sub(time.Unix(e.life.asked.Load(), 0))
		e.mu.Lock()
		limit := k.settings.Idle
		if !e.exists() {
			limit = min(limit, unknownIdle)
		}
		old := e.known && !e.lostAt.IsZero() && now.Sub(e.lostAt) > k.settings.MaxAge
		busy := e.reading != nil
		e.mu.Unlock()
		if old {
			k.log.Warn("last good answer is too old", "what", e.subject.String(), "limit", k.settings.MaxAge)
		}
		if old || idle > limit && !busy {
			k.forget(e)
		}
	}
}

// forget is called with k.mu held.
func (k *Keeper) forget(e *entry) {
	k.unwatch(e)
	delete(k.entries, e.subject)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	k.allow(e)
	replies := make(map[string]*answer.Packed, len(e.questions))
	for key := range e.questions {
		replies[key] = nil
	}
	k.put(replies, &e.life)
	k.changes.Add(1)
}

// all returns the entries, sorted by subject.
func (k *Keeper) all() []*entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]*entry, 0, len(k.entries))
	for _, e := range k.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int {
		switch x, y := a.subject.String(), b.subject.String(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return list
}
