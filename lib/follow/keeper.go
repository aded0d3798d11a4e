// Package follow keeps what svc-dns is asked for up to date: the first question
// about a service starts a watch, replies are packed whenever Consul's state
// changes, and the last good state stays in force while Consul is away.
//
//	question ─► Table.Find ──────────────► reply          (hot: one map look-up)
//	              │ none, or too old
//	              ▼
//	           Keeper.Answer ─► entry ─► answer.Resolve ─► Table
//	                              ▲
//	                              │ answer.Hold
//	              Source.Follow ──┘ one blocking query per subject, at most Watches;
//	              Source.State        the others are read again when they are asked
//	                                  and older than Fresh
package follow

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/answer"
	"svckit/lib/fault"
)

// Source is Consul.
type Source interface {
	// Follow calls see with each state, or with an error while it cannot be known, until ctx ends.
	Follow(ctx context.Context, s answer.Subject, see func(answer.State, error))
	State(ctx context.Context, s answer.Subject) (answer.State, error)
	NodeKnown(ctx context.Context, name, datacenter string) (bool, error)
}

// Probe reports whether something accepts connections at an address and port.
type Probe func(ctx context.Context, address string, port int) bool

// Settings say how much is kept, and for how long.
type Settings struct {
	Policy   answer.Policy
	StaleTTL uint32        // seconds: the most a record may be cached while Consul is away
	Watches  int           // blocking queries at once: an agent gives 200 connections to a client address
	Reads    int           // other reads at once
	Names    int           // subjects at once
	Fresh    time.Duration // a subject without a watch is read again when it is older
	Idle     time.Duration // forgotten when it was not asked for so long
	MaxAge   time.Duration // the last good state is answered that long
	Hold     time.Duration // see answer.Hold; 0 holds nothing
	File     string        // snapshot; "" keeps none
}

// Defaults are the settings without a policy and a file.
func Defaults() Settings {
	return Settings{
		StaleTTL: 1, Watches: 120, Reads: 24, Names: 20000, Fresh: time.Second,
		Idle: 10 * time.Minute, MaxAge: 24 * time.Hour, Hold: 2 * time.Minute,
	}
}

const (
	firstWait   = 2 * time.Second        // a question about something new waits that long for Consul
	freshWait   = 250 * time.Millisecond // a question about something known waits that long for news
	readLimit   = 5 * time.Second
	unknownIdle = 30 * time.Second // what does not exist is forgotten sooner
	maxKeys     = 64               // different questions about one subject that are packed ahead
)

// Keeper holds the state of every subject that is asked for.
type Keeper struct {
	*Table
	settings Settings
	source   Source
	probe    Probe
	now      func() time.Time
	log      hclog.Logger
	ctx      context.Context // of watches and reads: ends with Run
	stop     context.CancelFunc

	mu      sync.Mutex
	entries map[answer.Subject]*entry
	watches int

	reads   chan struct{}
	lost    atomic.Int64 // unix nanoseconds of the last failure, 0 when the last contact was good
	told    atomic.Int64 // unix nanoseconds: when a refusal was logged
	changes atomic.Int64 // of what a snapshot holds; counts.written of them are on disk
	counts  counts
}

// New makes a keeper that has read its snapshot, if it has one. Run keeps it going.
func New(settings Settings, source Source, probe Probe, now func() time.Time, log hclog.Logger) *Keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &Keeper{
		Table: newTable(), settings: settings, source: source, probe: probe, now: now, log: log.Named("follow"),
		ctx: ctx, stop: stop, entries: map[answer.Subject]*entry{}, reads: make(chan struct{}, settings.Reads),
	}
	k.load()
	return k
}

// Run watches, forgets and saves until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	defer k.stop()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.save()
			return
		case <-tick.C:
			k.tidy()
			k.save()
		}
	}
}

// Answer returns the reply to a question that Table.Find knows none for. key is
// the question's key in the table. ok is false when the agent has to be asked:
// see answer.Resolve.
func (k *Keeper) Answer(ctx context.Context, name answer.Name, kind uint16, key []byte) (reply *answer.Packed, ok bool) {
	if name.Kind != answer.Service && name.Kind != answer.NodeName {
		return answer.Resolve(name, kind, answer.State{}, k.policy(false))
	}
	e := k.entry(name.Subject)
	if e == nil {
		k.counts.full.Add(1)
		return answer.Failure(answer.ServerFailure), true
	}
	e.asks.Add(1)
	e.life.asked.Store(k.now().Unix())
	k.refresh(ctx, e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.known {
		return answer.Failure(answer.ServerFailure), true
	}
	q := question{name, kind}
	if reply, ok = answer.Resolve(name, kind, e.state, k.policy(e.stale())); !ok {
		return nil, false
	}
	if _, packed := e.questions[string(key)]; !packed && len(e.questions) < maxKeys && !e.gone {
		e.questions[string(key)] = q
		k.put(map[string]*answer.Packed{string(key): reply}, &e.life)
	}
	return reply, true
}

func (k *Keeper) policy(stale bool) answer.Policy {
	p := k.settings.Policy
	p.Serial = uint32(k.now().Unix())
	if stale {
		p.TTL = min(p.TTL, k.settings.StaleTTL)
	}
	return p
}

// refresh waits, for a moment, until e is as good as it can be.
func (k *Keeper) refresh(ctx context.Context, e *entry) {
	e.mu.Lock()
	fresh := e.current() || k.now().Sub(e.good) < k.settings.Fresh
	pointless := k.away() && (e.known || e.failed) || k.now().Sub(e.refused) < k.settings.Fresh
	if e.known && fresh || pointless {
		e.mu.Unlock()
		k.extend(e)
		return
	}
	done, wait := e.reading, freshWait
	if done == nil {
		done = make(chan struct{})
		e.reading = done
		go k.read(e, done)
	}
	if !e.known {
		wait = firstWait
	}
	hopeless := k.hopeless(e)
	e.mu.Unlock()
	if hopeless {
		k.extend(e)
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		k.extend(e)
	case <-ctx.Done():
	}
}

// extend lets the present replies of a subject without a watch live on for a while: Consul is away or slow.
func (k *Keeper) extend(e *entry) {
	if at := k.now().Add(k.settings.Fresh).UnixNano(); e.life.until.Load() < at {
		e.life.until.Store(at)
	}
}

// away reports whether Consul could not be reached a moment ago.
func (k *Keeper) away() bool {
	at := k.lost.Load()
	return at != 0 && k.now().UnixNano()-at < int64(time.Second)
}

func (k *Keeper) read(e *entry, done chan struct{}) {
	ctx, cancel := context.WithTimeout(k.ctx, readLimit)
	defer cancel()
	select {
	case k.reads <- struct{}{}:
		k.counts.reads.Add(1)
		state, err := k.source.State(ctx, e.subject)
		<-k.reads
		if k.ctx.Err() == nil {
			k.see(e, state, err)
		}
	case <-ctx.Done():
	}
	e.mu.Lock()
	e.reading = nil
	worth := e.known && (e.exists() || e.asks.Load() > 2)
	e.mu.Unlock()
	close(done)
	if worth {
		k.watch(e)
	}
}

// watch starts a blocking query for e if one is free, or takes it from a subject that was not asked for a while.
func (k *Keeper) watch(e *entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.cancel != nil || k.entries[e.subject] != e || k.ctx.Err() != nil {
		return
	}
	if k.watches >= k.settings.Watches && !k.freeOne(e) {
		return
	}
	ctx, cancel := context.WithCancel(k.ctx)
	e.cancel = cancel
	k.watches++
	go k.source.Follow(ctx, e.subject, func(state answer.State, err error) {
		e.watched(ctx)
		k.see(e, state, err)
	})
}

// freeOne ends the watch of the subject that was asked the longest ago, if that is long ago compared with e.
func (k *Keeper) freeOne(e *entry) bool {
	const much = 30 // seconds
	var oldest *entry
	for _, o := range k.entries {
		if o.cancel != nil && (oldest == nil || o.life.asked.Load() < oldest.life.asked.Load()) {
			oldest = o
		}
	}
	if oldest == nil || e.life.asked.Load()-oldest.life.asked.Load() < much {
		return false
	}
	k.unwatch(oldest)
	return true
}

// unwatch is called with k.mu held.
func (k *Keeper) unwatch(e *entry) {
	if e.cancel == nil {
		return
	}
	e.cancel()
	e.cancel = nil
	k.watches--
	e.mu.Lock()
	e.following = nil
	e.mu.Unlock()
	e.life.until.Store(0)
}

// contact notes how the last question to Consul went.
func (k *Keeper) contact(err error) {
	if err == nil {
		if k.lost.Swap(0) != 0 {
			k.log.Info("consul answers again")
		}
		return
	}
	if k.lost.Swap(k.now().UnixNano()) == 0 {
		k.log.Warn("consul does not answer: the last good answers stay in force", "error", err, "kind", fault.KindOf(err), "for", k.settings.MaxAge)
	}
}
