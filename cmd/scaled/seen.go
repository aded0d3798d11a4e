package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svckit/lib/lead"
)

// seen is what the planner shows of itself to those who watch it. It is safe for
// concurrent use.
type seen struct {
	now func() time.Time

	mu       sync.Mutex
	leading  bool
	epoch    uint64
	cycle    lead.Cycle // the last one that was carried out
	took     time.Duration
	failures float64
	failed   string // why the last cycle failed; "": it did not
	leader   string // the node of who leads; "": nobody is known to
	trail    trail
}

func (s *seen) leads(yes bool, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leading, s.epoch = yes, epoch
}

func (s *seen) led(by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader = by
}

func (s *seen) cycled(c lead.Cycle, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failures++
		s.failed = err.Error()
		return
	}
	s.cycle, s.took, s.failed = c, took, ""
	s.trail.add(c)
}

// fresh reports whether what this planner does is current: it leads and decides, or waits for its turn.
func (s *seen) fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.leading || s.cycle.At.IsZero() || s.now().Sub(s.cycle.At) < 2*cycleLimit
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("scaled_"+name, help, labels, nil)
}

// The metrics of a planner, by the name that they are collected under.
type metrics struct {
	seen                                                                        *seen
	leader, epoch, age, took, failures                                          *prometheus.Desc
	size, wish, ready, demand, decided, hold, alarm, unreadable, nodes, waiting *prometheus.Desc
}

func newMetrics(s *seen) *metrics {
	return &metrics{
		seen:       s,
		leader:     desc("leader", "1 while this process plans for the fleet."),
		epoch:      desc("epoch", "Epoch of this process's leadership."),
		age:        desc("cycle_age_seconds", "Since the last cycle that was carried out."),
		took:       desc("cycle_seconds", "What the last cycle took."),
		failures:   desc("cycle_failures_total", "Cycles that failed."),
		size:       desc("service_size", "Workers or instances that are meant to run.", "service"),
		wish:       desc("service_wish", "What the service needs now, before holds and limits.", "service"),
		ready:      desc("service_ready", "What serves.", "service"),
		demand:     desc("service_demand_erlangs", "Mean number of busy workers that its load needs.", "service"),
		decided:    desc("service_decision_age_seconds", "Since the service was last decided.", "service"),
		hold:       desc("service_blind_seconds", "Since a needed signal was last there; 0: all are.", "service"),
		alarm:      desc("alarm", "1 for each alarm that is on.", "service", "code"),
		unreadable: desc("unreadable", "Things in Consul that could not be read."),
		nodes:      desc("nodes", "Nodes by what is known of them.", "state"),
		waiting:    desc("service_waits", "1 while a change waits for what was raised before it.", "service"),
	}
}

// Describe is of prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect is of prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.leader, number(s.leading))
	gauge(m.epoch, float64(s.epoch))
	ch <- prometheus.MustNewConstMetric(m.failures, prometheus.CounterValue, s.failures)
	c := s.cycle
	if c.At.IsZero() {
		return
	}
	gauge(m.age, s.now().Sub(c.At).Seconds())
	gauge(m.took, s.took.Seconds())
	gauge(m.unreadable, float64(len(c.Bad)))
	states := map[string]float64{"alive": 0, "silent": 0, "gone": 0}
	for _, n := range c.Snapshot.Nodes {
		switch {
		case !n.Alive:
			states["gone"]++
		case n.Silent:
			states["silent"]++
		default:
			states["alive"]++
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		gauge(m.nodes, states[state], state)
	}
	for _, v := range c.Plan.Services {
		status := c.Every[v.Name]
		gauge(m.size, float64(v.Decision.Size), v.Name)
		gauge(m.wish, float64(v.Decision.Wish), v.Name)
		gauge(m.ready, float64(status.Ready), v.Name)
		gauge(m.demand, v.Decision.Demand, v.Name)
		gauge(m.decided, s.now().Sub(time.Unix(v.Decision.At, 0)).Seconds(), v.Name)
		gauge(m.hold, float64(v.Decision.Blind), v.Name)
	}
	on := map[[2]string]bool{}
	for _, a := range c.Alarms {
		if key := [2]string{a.Service, string(a.Code)}; !on[key] {
			on[key] = true
			gauge(m.alarm, 1, a.Service, string(a.Code))
		}
	}
	for _, w := range c.Stage.Waits {
		gauge(m.waiting, 1, w.Name)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
