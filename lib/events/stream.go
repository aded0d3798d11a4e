package events

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// The parts in which a fleet is read. Each is replaced as a whole.
const (
	Freezes = "freezes"
	Pools   = "pools"
	Sizes   = "sizes"
	Deploys = "deploys"

	servicePart = "service " // with the name in Consul
	appPart     = "app "
)

// ServicePart is the part with the instances of a service of that name in Consul.
func ServicePart(name string) string { return servicePart + name }

// AppPart is the part with the releases of an app, and which of them are current.
func AppPart(app string) string { return appPart + app }

// part is what is known of one part.
type part struct {
	Index uint64 `json:"index"` // Consul's, when it was read
	Facts []Fact `json:"facts"`
}

// Filter says what a reader wants. A field that is empty takes all. What is not
// about an app, a service or a zone, such as a freeze of everything, always passes
// the filter of that; what the stream says of itself passes everything.
type Filter struct {
	App, Service, Zone string
	Kinds              []Kind
}

// Takes reports whether an event passes.
func (f Filter) Takes(e Event) bool {
	if e.Kind == OfStream {
		return true
	}
	fits := func(want, is string) bool { return want == "" || is == "" || want == is }
	return fits(f.App, e.App) && fits(f.Service, e.Service) && fits(f.Zone, e.Zone) && (len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}

// Stream turns what is read of a fleet into events. It is not safe for concurrent use.
//
//	            Ready                 Trouble                 Take of that part
//	beginning ---------> following -------------> away, refused -----------------> following
type Stream struct {
	filter  Filter
	parts   map[string]part
	resumed bool
	ready   bool
	away    map[string]bool
	refused map[string]string // by part, why
}

// Begin makes a stream that knows nothing: what is there is told first, as initial.
func Begin(f Filter) *Stream {
	return &Stream{filter: f, parts: map[string]part{}, away: map[string]bool{}, refused: map[string]string{}}
}

// Resumed reports whether the stream goes on from a resume point.
func (s *Stream) Resumed() bool { return s.resumed }

// Services are the names in Consul of which something is known, sorted.
func (s *Stream) Services() []string { return s.named(servicePart) }

// Apps are the apps of which something is known, sorted.
func (s *Stream) Apps() []string { return s.named(appPart) }

func (s *Stream) named(lead string) (out []string) {
	for name, p := range s.parts {
		if rest, ok := strings.CutPrefix(name, lead); ok && len(p.Facts) > 0 {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

// Indexes are Consul's indexes at which the parts were read.
func (s *Stream) Indexes() map[string]uint64 {
	out := make(map[string]uint64, len(s.parts))
	for name, p := range s.parts {
		out[name] = p.Index
	}
	return out
}

// Take takes what a part holds now and returns what changed in it.
func (s *Stream) Take(name string, index uint64, facts []Fact, at time.Time) []Event {
	out := s.mended(name, at)
	holds, told := Between(s.parts[name].Facts, facts, at)
	if s.parts[name] = (part{Index: index, Facts: holds}); len(holds) == 0 {
		delete(s.parts, name)
	}
	for i := range told {
		told[i].Initial = !s.ready && !s.resumed
	}
	return s.pass(append(out, told...))
}

// Trouble takes why a part cannot be read: Consul is away, or it says no. What
// was told of it stays true until it can be read again.
func (s *Stream) Trouble(name string, away bool, why string, at time.Time) []Event {
	if away {
		first := len(s.away) == 0
		s.away[name] = true
		if !first {
			return nil
		}
		return []Event{said(Away, "consul", why, at)}
	}
	if s.refused[name] == why {
		return nil
	}
	s.refused[name] = why
	return []Event{said(Refused, name, why, at)}
}

func (s *Stream) mended(name string, at time.Time) (out []Event) {
	if _, was := s.refused[name]; was {
		delete(s.refused, name)
		out = append(out, said(Allowed, name, "", at))
	}
	if s.away[name] {
		delete(s.away, name)
		if len(s.away) == 0 {
			out = append(out, said(Back, "consul", "", at))
		}
	}
	return out
}

// Ready says that every part was read once.
func (s *Stream) Ready(at time.Time) []Event {
	if s.ready {
		return nil
	}
	s.ready = true
	return []Event{said(Ready, "consul", "", at)}
}

// Tick returns what ended by itself.
func (s *Stream) Tick(at time.Time) (out []Event) {
	for _, name := range slices.Sorted(maps.Keys(s.parts)) {
		p := s.parts[name]
		if !slices.ContainsFunc(p.Facts, func(f Fact) bool { return f.over(at) }) {
			continue
		}
		holds, told := Between(p.Facts, p.Facts, at)
		s.parts[name] = part{Index: p.Index, Facts: holds}
		out = append(out, told...)
	}
	return s.pass(out)
}

// Due returns when something ends by itself next; the zero time when nothing does.
func (s *Stream) Due() (next time.Time) {
	for _, p := range s.parts {
		for _, f := range p.Facts {
			if f.Freeze != nil && !f.Freeze.Until.IsZero() && (next.IsZero() || f.Freeze.Until.Before(next)) {
				next = f.Freeze.Until
			}
		}
	}
	return next
}

func (s *Stream) pass(list []Event) (out []Event) {
	for _, e := range list {
		if s.filter.Takes(e) {
			out = append(out, e)
		}
	}
	return out
}

func said(what What, subject, why string, at time.Time) Event {
	e := Event{Schema: Schema, At: at.UTC(), Kind: OfStream, What: what, Subject: subject, Why: why}
	e.index = uint64(at.UnixNano()) //nolint:gosec // a time of this century
	e.ID = e.identity()
	return e
}
