package hand

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/wish"
)

// book is what the loop knows. Only the loop touches it.
type book struct {
	*Hand
	freezes []planner.Freeze
	unsure  *planner.Freeze // stands in while the freezes are not known; nil: they are
	want    fleet.Want
	badWant string // why the newest value of the wish is not in force; "": it is
	away    string // why Consul cannot be asked; "": it can
	blind   string // why the node cannot be looked at; "": it can
	sight   wish.Sight
	seen    time.Time // when a look last ended; zero: never
	asked   bool      // a look is under way
	books   wish.Books

	services  map[string]*service
	holdLease func()
	guard     wish.Guard
	lease     leaseSeen
	orphans   int   // steps under way for services that the wish does not name any more
	sampled   int64 // when the sample was made that the fast lane saw last
	told      fleet.Have
	toldAt    time.Time
}

// service is one allotment of the wish in force, and what is done about it.
type service struct {
	ask      fleet.Allotment
	lane     wish.Lane
	spare    spared
	working  *job
	may      int       // containers that steps since the last look may have started
	fresh    time.Time // only what was seen after it counts: the last work ended then
	trouble  map[wish.Action]trouble
	settling string // why it waits for somebody else; "": it does not
	held     string
}

// spared is what a service gave up for want of memory. The zero value: nothing.
type spared struct {
	containers int
	why        string
	until      time.Time
}

// trouble is a kind of step that failed.
type trouble struct {
	times int
	until time.Time
	words string
}

func newBook(h *Hand) *book {
	return &book{Hand: h, services: map[string]*service{}, unsure: stand(scale.NoChange, "what is frozen was not read yet"), books: wish.Books{Suspects: map[string]bool{}, Renewed: map[string]time.Time{}}}
}

// load takes up the wish of before a restart. One that cannot be read is kept
// aside, and the next wish that is read counts.
func (b *book) load() {
	w, err := Remembered(b.cfg.State)
	if err != nil {
		to, moved := setAside(b.cfg.State)
		b.cfg.Log.Error("last wish not known: the next one that is read counts", "error", err, "kept", to, "moved", moved == nil)
		return
	}
	if w.Node != "" && w.Node != b.cfg.Name {
		b.cfg.Log.Warn("last wish is of another node and is not used", "node", w.Node)
		return
	}
	if w.Epoch > 0 {
		b.cfg.Log.Info("last wish taken up", "epoch", w.Epoch, "gen", w.Gen, "services", len(w.Services))
		b.enforce(w)
	}
}

// wished takes in what was read of the wish.
func (b *book) wished(got wanted) {
	switch {
	case got.err == nil || errors.Is(got.err, fleet.ErrNotFound):
		b.back()
		b.badWant = ""
	case fault.KindOf(got.err) == fault.Unreachable:
		b.lost(got.err)
		return
	default:
		b.back()
		b.badWant = "the newest wish is not usable, the one before stays in force: " + got.err.Error()
		b.cfg.Log.Error("wish is not usable: the one before stays in force", "error", got.err)
		return
	}
	if got.err != nil { // nobody has said anything yet
		return
	}
	w, why := wish.Accept(b.want, got.want)
	if why != "" {
		if got.want.Epoch != b.want.Epoch || got.want.Gen != b.want.Gen {
			b.badWant = "the newest wish is not in force: " + why
			b.cfg.Log.Warn("older wish ignored", "reason", why)
		}
		return
	}
	w.Node, b.lease.blank = b.cfg.Name, false
	if err := remember(b.cfg.State, w); err != nil {
		b.cfg.Log.Error("wish not kept on disk: a restart will not know it", "error", err)
	}
	b.cfg.Log.Info("wish in force", "epoch", w.Epoch, "gen", w.Gen, "services", len(w.Services))
	b.enforce(w)
}

func (b *book) lost(err error) {
	if b.away == "" {
		b.cfg.Log.Warn("Consul is away: the last wish stays in force, and nothing is lowered", "error", err)
	}
	b.away = err.Error()
}

func (b *book) back() {
	if b.away == "" {
		return
	}
	b.cfg.Log.Info("Consul is back")
	b.away = ""
	for _, s := range b.services { // what was seen meanwhile is without what Consul knows
		s.fresh = time.Now()
		clear(s.trouble)
	}
}

// enforce makes w the wish in force.
func (b *book) enforce(w fleet.Want) {
	named, now := map[string]bool{}, time.Now()
	for _, a := range w.Services {
		named[a.Name] = true
		s := b.services[a.Name]
		if s == nil {
			s = &service{ask: a, trouble: map[wish.Action]trouble{}, fresh: now}
			b.services[a.Name] = s
			continue
		}
		if s.ask.Unit != a.Unit || s.ask.Count != a.Count {
			clear(s.trouble)
			s.fresh = now // what was seen before may be out of date
		}
		s.lane = s.lane.Adopt(s.ask, a, w.At.Unix())
		s.ask = a
	}
	for name, s := range b.services {
		if !named[name] {
			if s.working != nil {
				s.working.cancel(errChanged)
				b.orphans++
			}
			delete(b.services, name)
		}
	}
	b.want = w
	b.mu.Lock()
	b.inForce = w
	b.mu.Unlock()
}

// froze takes in what was read of the freezes.
func (b *book) froze(got frozen) {
	if got.err == nil {
		b.cfg.Log.Info("freezes read", "freezes", len(got.list))
		b.freezes, b.unsure = got.list, nil
		return
	}
	if fault.KindOf(got.err) == fault.Unreachable {
		return
	}
	b.cfg.Log.Warn("freezes cannot be read: those from before stay", "error", got.err)
	if b.unsure != nil {
		b.unsure = stand(scale.NoDown, "what is frozen cannot be read: "+got.err.Error())
	}
}

// stand is a freeze in place of those that are not known.
func stand(m scale.FreezeMode, why string) *planner.Freeze {
	return &planner.Freeze{Scope: "all", Freeze: scale.Freeze{Mode: m, Why: why}}
}

// mode is what is forbidden for a service now. Before the freezes were read nothing
// changes, unless Consul is away: then nothing is lowered in any case.
func (b *book) mode(service string, now time.Time) (scale.FreezeMode, string) {
	list := b.freezes
	if b.unsure != nil && b.away == "" {
		list = append(slices.Clone(list), *b.unsure)
	}
	return wish.Mode(list, service, b.sight.Services[service].Pool, now.Unix())
}

// saw takes in a look at the node.
func (b *book) saw(got looked, now time.Time) {
	b.asked, b.seen = false, now
	if got.err != nil {
		if b.blind == "" {
			b.cfg.Log.Warn("node cannot be looked at: nothing is changed", "error", got.err)
		}
		b.blind = got.err.Error()
		return
	}
	b.blind, b.sight = "", got.sight
	for _, s := range b.services {
		if s.working == nil && got.sight.At.After(s.fresh) {
			s.may = 0
		}
	}
	books := got.sight.Books
	books.Suspects, books.Renewed = b.books.Suspects, b.books.Renewed
	var due []wish.Care
	if b.away == "" {
		due, b.books.Suspects = wish.Cares(books, now)
	}
	due = slices.DeleteFunc(due, func(c wish.Care) bool {
		mode, _ := b.mode(c.Name, now)
		return c.Do != wish.Renew && mode == scale.Observe
	})
	if len(due) == 0 {
		return
	}
	select {
	case b.tidy <- due:
	default:
		return // those before are not done yet
	}
	for _, c := range due {
		if c.Do == wish.Renew {
			b.books.Renewed[c.ID] = now
		}
	}
	maps.DeleteFunc(b.books.Renewed, func(id string, _ time.Time) bool {
		return !slices.ContainsFunc(books.Registrations, func(r fleet.Registration) bool { return r.ID == id })
	})
}

// ask is everything that decides about a service now.
func (b *book) ask(s *service, now time.Time) wish.Ask {
	mode, who := b.mode(s.ask.Name, now)
	if s.spare.containers > 0 && now.After(s.spare.until) {
		b.cfg.Log.Info("what was given up for want of memory may come back", "service", s.ask.Name)
		s.spare = spared{}
	}
	return wish.Ask{
		Allotment: s.ask, Extra: s.lane.Extra, Mode: mode, Frozen: who, Away: b.away, Spare: s.spare.containers, Short: s.spare.why,
		Lease: b.unleased(s),
	}
}

// quicken lets the fast lane see the newest second.
func (b *book) quicken(now time.Time) {
	if b.cfg.Sample == nil {
		return
	}
	sample, ok := b.cfg.Sample()
	if age := now.Unix() - sample.At; !ok || age > 3 || age < -3 || sample.At == b.sampled {
		return
	}
	b.sampled = sample.At
	b.watchMemory(sample, now)
	for _, seen := range sample.Services {
		s := b.services[seen.Name]
		if s == nil || seen.Requests == nil {
			continue
		}
		q := seen.Requests
		before := s.lane.Extra
		s.lane = s.lane.Step(scale.LaneInput{
			At: sample.At, Ready: seen.Ready, Starting: seen.Starting, Busy: int(q.Busy + 0.5), Waiting: int(q.Waiting + 0.5),
			Rate: q.Rate1, Service: q.Service,
		}, s.ask, b.ask(s, now).Mode)
		if s.lane.Extra > before {
			b.cfg.Log.Info("fast lane adds workers", "service", seen.Name, "add", s.lane.Extra-before, "busy", q.Busy, "waiting", q.Waiting, "ready", seen.Ready)
		}
	}
}

// watchMemory has the memory guard look at a second of the node. Only what the
// planner placed here is stopped.
func (b *book) watchMemory(sample fleet.Sample, now time.Time) {
	var uses []wish.Use
	for _, seen := range sample.Services {
		s := b.services[seen.Name]
		if s == nil || s.working != nil && s.working.step.Action == wish.Spare {
			continue
		}
		uses = append(uses, wish.Use{Name: seen.Name, VIP: b.sight.Services[seen.Name].VIP, Used: seen.MemoryIn, Declared: b.declared(seen.Name)})
	}
	guard, name, reason := b.guard.Step(sample.At, sample.Memory, sample.MemoryIn, uses)
	b.guard = guard
	switch s := b.services[name]; {
	case s != nil:
		b.cfg.Log.Error("memory is short: a container is stopped", "service", name, "reason", reason)
		s.spare = spared{s.spare.containers + 1, reason, now.Add(wish.SpareFor * time.Second)}
	case reason != "":
		b.cfg.Log.Error("memory is short", "reason", reason)
	}
}

// declared is what the running containers of a service declared together, in
// bytes; 0 when one of them declared nothing.
func (b *book) declared(name string) (sum int64) {
	for _, i := range b.sight.Books.Containers {
		if i.App+"/"+i.Service != name || i.State != fleet.Running {
			continue
		}
		if i.Memory == 0 {
			return 0
		}
		sum += i.Memory
	}
	return sum
}

// reached is the report of this moment.
func (b *book) reached(now time.Time) fleet.Have {
	out := fleet.Have{Node: b.cfg.Name, Epoch: b.want.Epoch, Gen: b.want.Gen, At: now}
	for _, a := range b.want.Services {
		s := b.services[a.Name]
		r := wish.Reach(b.ask(s, now), b.sight.Services[a.Name], b.words(s))
		if a.Exact {
			r.Most = max(r.Ready+r.Starting, s.may)
		}
		out.Services = append(out.Services, r)
	}
	return out
}

// words say why a service is not where it should be; "" when it is.
func (b *book) words(s *service) string {
	var worst trouble
	for _, t := range s.trouble {
		if t.words != "" && (worst.words == "" || t.times > worst.times || t.times == worst.times && t.words < worst.words) {
			worst = t
		}
	}
	switch {
	case s.settling != "":
		return "settling: " + s.settling
	case worst.words != "":
		return fmt.Sprintf("%s (failed %d times)", worst.words, worst.times)
	case b.blind != "":
		return "the node cannot be looked at: " + b.blind
	case s.held != "":
		return s.held
	}
	return b.badWant
}

var errChanged = errors.New("something else is wanted now")

// job is a step that is being done.
type job struct {
	step   wish.Step
	lane   lane
	cancel context.CancelCauseFunc
}

// worked is how a step ended.
type worked struct {
	service string
	job     *job
	err     error
	changed bool // it was ended because something else is wanted
}
