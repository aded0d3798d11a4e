// Package sample turns what was read of a node once a second into what the node
// tells of itself: rates and means over 1, 10 and 60 seconds. It knows no clock
// and no file: readings in, a fleet.Sample out.
//
// What was not seen is never taken for zero. A reading that misses an instance
// does not count for its service; the next whole one covers the time since the
// last whole one, as counters do. After a gap longer than maxGap everything
// begins anew, and Since says so.
package sample

import (
	"time"

	"svckit/lib/fleet"
)

// Reading is what was read of a node at one moment.
type Reading struct {
	At       time.Time     // of the node's wall clock, which may jump
	Mono     time.Duration // of a clock that does not
	Node     Node          //
	Services []Service     // by name
}

// Node is what was read of the machine.
type Node struct {
	Known    bool    // false: it could not be read
	CPUs     int     //
	Memory   int64   // bytes
	CPU      float64 // core-seconds used since some moment: a counter
	MemoryIn int64   // bytes in use, without caches
	Load     float64 // of one minute
}

// Service is what was read of one service.
type Service struct {
	Name      string // app/service
	Release   string // of its newest instance
	Settling  string // why workers are in motion beside scaling; "": they are not
	Instances []Instance
	Queue     *Queue   // nil: it has none, or nothing could ever be read
	Errors    []string // what could not be read
}

// Instance is what was read of one running container.
type Instance struct {
	ID       string  // container id
	Release  string  //
	Missing  bool    // it could not be read whole: this reading does not count for its service
	Ready    int     // workers, or 1, that serve
	Starting int     // that will
	Source   Source  // what tells of its requests
	Workers  []Work  // counters by worker; nil with Silent
	Waiting  float64 // connections that no worker has taken
	Used     bool    // CPU and MemoryIn are known
	CPU      float64 // core-seconds used since its start: a counter
	MemoryIn int64   // bytes in use, without caches
}

// Source says what tells of the requests of an instance.
type Source int

// The sources, the better one larger.
const (
	Silent Source = iota // nothing does
	Stats                // the stats socket of uwsgi
	Marks                // mark files
)

// Work is what one worker tells of its requests. All but Active are counters.
type Work struct {
	Key     string  // of the worker and its process, unique within the instance: another process has another key
	Slots   int     // requests that it can work on at a time, ≥ 1
	Active  int     // requests that it works on now
	Begun   float64 //
	Done    float64 //
	Seconds float64 // of completed requests
	Elapsed float64 // seconds that the active ones have taken so far, summed; marks only
	Squares float64 // squared seconds of completed requests; marks only
}

// Queue is what was read of a queue. Published and Acked are counters.
type Queue struct {
	Source    string        // without credentials
	Mono      time.Duration // when it was read
	Ready     float64       //
	Unacked   float64       //
	Counted   bool          // Published and Acked are known
	Published float64       //
	Acked     float64       //
}

const schema = 1 // of fleet.Sample

// maxErrors bounds the errors of one service in a sample.
const maxErrors = 8

// Applied is the wish that the node has applied last.
type Applied struct{ Epoch, Gen uint64 }

// Book keeps the readings of the last minute, as sums.
type Book struct {
	node     string
	any      bool // there was a reading
	at       time.Time
	mono     time.Duration
	last     Node
	cpu      ring
	cpuSeen  mark
	services map[string]*series
	order    []string
}

// New returns an empty book of a node.
func New(node string) *Book { return &Book{node: node, services: map[string]*series{}} }

// leastStep is the shortest time over which a rate says anything.
const leastStep = 100 * time.Millisecond

// Add takes in a reading. One that is not later than the last by leastStep is ignored.
func (b *Book) Add(r Reading) {
	if b.any && r.Mono < b.mono+leastStep {
		return
	}
	b.any, b.at, b.mono = true, r.At, r.Mono
	if r.Node.Known {
		if d, dt, ok := b.cpuSeen.step(r.Mono, r.Node.CPU); ok {
			b.cpu.add(tick{end: r.Mono, dt: dt, cpu: d})
		}
		b.last = r.Node
	}
	b.order = b.order[:0]
	seen := make(map[string]bool, len(r.Services))
	for _, s := range r.Services {
		if seen[s.Name] {
			continue
		}
		seen[s.Name] = true
		b.order = append(b.order, s.Name)
		of := b.services[s.Name]
		if of == nil {
			of = &series{}
			b.services[s.Name] = of
		}
		of.add(r.At, r.Mono, s)
	}
	for name := range b.services {
		if !seen[name] {
			delete(b.services, name)
		}
	}
}

// Sample is what the node tells after the last reading; its services are in the order of that one.
func (b *Book) Sample(a Applied) fleet.Sample {
	out := fleet.Sample{
		Schema: schema, Node: b.node, At: b.at.Unix(), Epoch: a.Epoch, Gen: a.Gen,
		CPUs: b.last.CPUs, Memory: b.last.Memory, MemoryIn: b.last.MemoryIn, Load: b.last.Load,
		Services: make([]fleet.ServiceSample, 0, len(b.order)),
	}
	if !b.any {
		out.At = 0
	}
	if s := b.cpu.over(b.mono, 10*time.Second); s.dt > 0 {
		out.CPUUsed = s.cpu / s.dt.Seconds()
	}
	for _, name := range b.order {
		out.Services = append(out.Services, b.services[name].sample(b.mono))
	}
	return out
}
