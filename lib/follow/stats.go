package follow

import (
	"strings"
	"sync/atomic"
	"time"

	"svckit/lib/answer"
)

type counts struct {
	full    atomic.Int64 // questions refused because too many names are kept
	reads   atomic.Int64
	lost    atomic.Int64 // subjects that became stale
	held    atomic.Int64
	refused atomic.Int64 // subjects that Consul refuses to tell of, now
	unsaved atomic.Int64 // 1 while the snapshot cannot be written
	saved   atomic.Int64 // unix seconds
	written atomic.Int64 // changes that the snapshot on disk has
}

// Stats are figures for metrics.
type Stats struct {
	Subjects, Watches, Stale, Held int
	Refused                        int           // subjects that Consul will not tell of: the token lacks rights
	Oldest                         time.Duration // age of the oldest stale state
	Reads, Full, HeldTotal         int64
	Away                           bool // Consul does not answer
	SnapshotBroken                 bool
	SnapshotAt                     time.Time
	SnapshotPending                bool // something has changed that the snapshot does not hold yet
}

// Stats counts.
func (k *Keeper) Stats() Stats {
	s := Stats{
		Refused: int(k.counts.refused.Load()), Reads: k.counts.reads.Load(), Full: k.counts.full.Load(), HeldTotal: k.counts.held.Load(),
		Away: k.lost.Load() != 0, SnapshotBroken: k.counts.unsaved.Load() == 1, SnapshotAt: time.Unix(k.counts.saved.Load(), 0),
		SnapshotPending: k.settings.File != "" && k.changes.Load() != k.counts.written.Load(),
	}
	for _, e := range k.all() {
		e.mu.Lock()
		s.Subjects++
		if e.known && e.stale() {
			s.Stale++
			s.Oldest = max(s.Oldest, k.now().Sub(e.lostAt))
		}
		s.Held += len(e.hold.since)
		e.mu.Unlock()
	}
	k.mu.Lock()
	s.Watches = k.watches
	k.mu.Unlock()
	return s
}

// Explanation says why a name is answered as it is.
type Explanation struct {
	Name    string          `json:"name"`
	Kind    string          `json:"kind"` // service | node | address | agent | outside | nothing
	Subject string          `json:"subject,omitempty"`
	Known   bool            `json:"known"`
	Watched bool            `json:"watched"`           // a blocking query tells of every change
	Stale   bool            `json:"stale"`             // Consul cannot say at present
	Age     float64         `json:"age_seconds"`       // since it was certainly true
	Problem string          `json:"problem,omitempty"` // why Consul cannot say
	Zone    string          `json:"zone,omitempty"`    // of this node
	Choices []answer.Choice `json:"choices,omitempty"` // of a service, in catalog order
	Node    *answer.Node    `json:"node,omitempty"`
}

// Explain says what is known of a name, without asking for it.
func (k *Keeper) Explain(name string) Explanation {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	parsed := answer.ParseName(name, answer.TypeSRV, k.settings.Policy)
	out := Explanation{Name: name, Kind: KindWord(parsed.Kind), Zone: k.settings.Policy.Zone}
	if parsed.Kind != answer.Service && parsed.Kind != answer.NodeName {
		return out
	}
	out.Subject = parsed.Subject.String()
	k.mu.Lock()
	e := k.entries[parsed.Subject]
	k.mu.Unlock()
	if e == nil {
		return out
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	out.Known, out.Watched, out.Stale, out.Node, out.Problem = e.known, e.current(), e.stale(), e.state.Node, e.problem
	if !e.current() {
		out.Age = k.now().Sub(e.good).Seconds()
	}
	out.Choices = answer.Choose(parsed.Tag, e.state, k.settings.Policy)
	return out
}

// KindWord names a kind of name.
func KindWord(kind answer.Kind) string {
	return map[answer.Kind]string{
		answer.Service: "service", answer.NodeName: "node", answer.Address: "address",
		answer.Agent: "agent", answer.Outside: "outside", answer.Nothing: "nothing",
	}[kind]
}
