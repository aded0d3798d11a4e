package lead

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/survey"
)

// How nodes are asked.
const (
	pullLimit  = 2 * time.Second // of one node
	pullAtOnce = 64
	keepSilent = 24 * time.Hour // a node that was not heard of for so long is forgotten
)

// pull asks all nodes at once; one that does not answer holds up nobody, and
// what it said last is kept with its age.
func (p *Planner) pull(ctx context.Context, now time.Time, monitors []fleet.Monitor) {
	type answer struct {
		sample fleet.Sample
		err    error
	}
	answers := make([]answer, len(monitors))
	slots := make(chan struct{}, pullAtOnce)
	var all sync.WaitGroup
	for i, m := range monitors {
		if !m.Alive || m.Address == "" {
			answers[i].err = errAway
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, pullLimit)
			defer cancel()
			answers[i].sample, answers[i].err = p.Pull(ctx, m)
		})
	}
	all.Wait()
	for i, m := range monitors {
		p.hear(now, m.Node, answers[i].sample, answers[i].err)
	}
	for node, r := range p.reports {
		if now.Unix()-r.At > int64(keepSilent/time.Second) {
			delete(p.reports, node)
		}
	}
}

var errAway = errors.New("consul does not see it")

// hear notes what a node said, if it can be true and is newer than before.
func (p *Planner) hear(now time.Time, node string, s fleet.Sample, err error) {
	r := p.reports[node]
	if err == nil {
		err = checkSample(node, s)
	}
	switch {
	case err != nil:
		r.Error = err.Error()
	case s.At == r.Sample.At && r.At != 0:
		r.Error = "its monitor repeats itself"
	default: // its own clock counts for nothing but for telling two samples apart
		r = survey.Report{Sample: s, At: now.Unix()}
	}
	if r.At != 0 || r.Error != "" {
		p.reports[node] = r
	}
}

// Bounds of what a node may say of itself.
const (
	maxServices = 5000
	maxWorkers  = 100_000
	maxCPUs     = 100_000
	maxMemory   = 1 << 50
)

func checkSample(node string, s fleet.Sample) error {
	switch {
	case s.Node != node:
		return fmt.Errorf("its monitor says that it is %.80q", s.Node)
	case s.CPUs <= 0 || s.CPUs > maxCPUs || s.Memory <= 0 || s.Memory > maxMemory:
		return fmt.Errorf("its monitor says that it has %d cores and %d bytes", s.CPUs, s.Memory)
	case len(s.Services) > maxServices:
		return fmt.Errorf("its monitor tells of %d services", len(s.Services))
	}
	if !slices.IsSortedFunc(s.Services, func(a, b fleet.ServiceSample) int { return strings.Compare(a.Name, b.Name) }) {
		return fmt.Errorf("its monitor tells of services out of order")
	}
	for i, x := range s.Services {
		if x.Ready < 0 || x.Starting < 0 || x.Instances < 0 || max(x.Ready, x.Starting, x.Instances) > maxWorkers {
			return fmt.Errorf("its monitor says that %.80q has %d ready and %d starting", x.Name, x.Ready, x.Starting)
		}
		if i > 0 && s.Services[i-1].Name == x.Name {
			return fmt.Errorf("its monitor tells of %.80q twice", x.Name)
		}
	}
	return nil
}
