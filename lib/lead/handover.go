package lead

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"svckit/lib/planner"
	"svckit/lib/survey"
)

// handed is what is known of the document that the next planner will find.
type handed struct {
	index uint64
	at    int64 // when it was written
}

// What was learned goes to Consul so that a leader on another node knows it: a
// document of each service, every quarter of an hour, at another moment for each.
const (
	handEach  = 900     // seconds
	handDays  = 14      // and today
	handLeast = 3       // days, however many services there are
	handBytes = 8 << 20 // of all documents, about
	dayBytes  = 440     // of one day in one of them
)

// A document of a service that is not there any more is taken away once all its days
// are older than what a planner looks at, and the service was missed for a while: an
// app may be read badly for a moment.
const (
	sweepAfter = handDays * 24 * time.Hour
	sweepSeen  = time.Hour
	sweepMost  = 32 // in one cycle
)

// takeOver takes up what leaders before this one learned, once, and again when
// somebody else wrote. Planning goes on without it.
func (p *Planner) takeOver(ctx context.Context) {
	if p.handed != nil {
		return
	}
	list, bad, err := p.Books.Learned(ctx)
	if err != nil {
		p.Log.Warn("what leaders before learned of demand cannot be read: tried again", "error", err)
		return
	}
	p.handed, p.unread = map[string]handed{}, bad
	for _, x := range list {
		p.handed[x.Name] = handed{x.Index, x.At}
		l := p.of(x.Name)
		l.Learner.Merge(&l.History, x.Days)
	}
}

// handOver is what is to be written of services now, for the next planner. What
// cannot be read is not written over.
func (p *Planner) handOver(now time.Time, services []survey.Service) (out []planner.Learned) {
	if p.handed == nil {
		return nil
	}
	days := min(max(handBytes/(dayBytes*max(len(services), 1)), handLeast), handDays)
	for _, v := range services {
		l, before := p.learned[v.Name], p.handed[v.Name]
		if l == nil || !l.fresh || !turn(v.Name, before.at, now.Unix(), handEach) || p.cannotRead(v.Name) {
			continue
		}
		out = append(out, planner.Learned{Name: v.Name, At: now.Unix(), Days: l.Learner.Pack(&l.History, days), Index: before.index})
	}
	return out
}

// sweep is what is to be taken away of services that are not there any more. What
// cannot be read is left alone, and so is everything while no service is known at all.
func (p *Planner) sweep(now time.Time, services []survey.Service, broken map[string]string) (out []planner.Learned) {
	there := map[string]bool{}
	for _, v := range services {
		there[v.Name] = true
	}
	before := p.missed
	p.missed = map[string]time.Time{}
	for _, name := range slices.Sorted(maps.Keys(p.handed)) {
		app, _, _ := strings.Cut(name, "/")
		_, one := broken[name]
		_, all := broken[app]
		if there[name] || one || all || len(services) == 0 {
			continue
		}
		since, known := before[name]
		if !known {
			since = now
		}
		p.missed[name] = since
		x := p.handed[name]
		if now.Sub(since) >= sweepSeen && now.Sub(time.Unix(x.at, 0)) > sweepAfter && len(out) < sweepMost {
			out = append(out, planner.Learned{Name: name, Index: x.index, Gone: true})
		}
	}
	return out
}

func (p *Planner) cannotRead(name string) bool {
	for key := range p.unread {
		if strings.HasSuffix(key, "/"+name) {
			return true
		}
	}
	return false
}

func (p *Planner) writeLearned(ctx context.Context, l Lease, list []planner.Learned) error {
	if len(list) == 0 {
		return nil
	}
	written, err := l.SetLearned(ctx, list)
	for _, x := range list {
		if x.Gone && err == nil && !slices.Contains(written.Conflicts, x.Name) {
			p.Log.Info("what was known of a service that is gone was taken away", "service", x.Name)
			delete(p.handed, x.Name)
			delete(p.learned, x.Name)
		} else if index, ok := written.Index[x.Name]; ok {
			p.handed[x.Name], p.learned[x.Name].fresh = handed{index, x.At}, false
		}
	}
	if len(written.Conflicts) > 0 {
		p.Log.Info("somebody else wrote what is known of demand: it is read again", "services", slices.Clone(written.Conflicts))
		p.handed, p.loaded = nil, time.Time{}
	}
	return err
}
