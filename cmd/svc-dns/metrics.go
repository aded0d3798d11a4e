package main

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"svckit/lib/dnsd"
)

// registry makes the metrics of a server out of the figures that it keeps anyway.
func (v *serving) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c := &v.server.Counts
	counter := func(name, help string, labels prometheus.Labels, n *atomic.Int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "svc_dns", Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(n.Load()) }))
	}
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "svc_dns", Name: name, Help: help}, f))
	}
	for way, n := range map[string]*atomic.Int64{"udp": &c.UDP, "tcp": &c.TCP} {
		counter("questions_total", "Questions by transport.", prometheus.Labels{"transport": way}, n)
	}
	for how, n := range map[string]*atomic.Int64{"memory": &c.Fast, "thought": &c.Slow} {
		counter("answers_total", "Questions by how they were answered: from a ready reply, or by more work.", prometheus.Labels{"path": how}, n)
	}
	for why, n := range map[string]*atomic.Int64{"network": &c.Denied, "rate": &c.Limited, "busy": &c.Dropped, "malformed": &c.Bad, "connections": &c.TCPTurnedAway} {
		counter("refused_total", "Questions and connections that got no proper answer, by reason.", prometheus.Labels{"reason": why}, n)
	}
	counter("failed_total", "Questions answered SERVFAIL.", nil, &c.Failed)
	gauge("tcp_connections", "Open TCP connections.", func() float64 { return float64(c.TCPConns.Load()) })
	for name, f := range map[string]*dnsd.Forwarder{"system": v.server.System, "agent": v.server.Agent} {
		if f != nil {
			counter("forwarded_total", "Questions asked of other servers.", prometheus.Labels{"to": name}, &f.Asked)
			counter("forward_failures_total", "Questions that another server did not answer.", prometheus.Labels{"to": name}, &f.Failures)
			counter("forward_cache_hits_total", "Questions answered from what another server said before.", prometheus.Labels{"to": name}, &f.Hits)
		}
	}
	v.keeperMetrics(gauge)
	return r
}

func (v *serving) keeperMetrics(gauge func(name, help string, f func() float64)) {
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge("subjects", "Services and nodes that are known.", func() float64 { return float64(v.keeper.Stats().Subjects) })
	gauge("watches", "Blocking queries that run.", func() float64 { return float64(v.keeper.Stats().Watches) })
	gauge("stale_subjects", "Services and nodes of which Consul cannot say at present whether the answer is still true.", func() float64 { return float64(v.keeper.Stats().Stale) })
	gauge("refused_subjects", "Services and nodes that Consul refuses to tell of, as when the token lacks rights.", func() float64 { return float64(v.keeper.Stats().Refused) })
	gauge("stale_age_seconds", "Age of the oldest answer in force that Consul cannot confirm.", func() float64 { return v.keeper.Stats().Oldest.Seconds() })
	gauge("held_instances", "Instances that are answered although Consul shows them as gone, because their agent restarts.", func() float64 { return float64(v.keeper.Stats().Held) })
	gauge("consul_away", "1 while Consul does not answer.", func() float64 { return yes(v.keeper.Stats().Away) })
	gauge("snapshot_broken", "1 while the snapshot cannot be written.", func() float64 { return yes(v.keeper.Stats().SnapshotBroken) })
	gauge("snapshot_timestamp_seconds", "When the snapshot was last written.", func() float64 { return float64(v.keeper.Stats().SnapshotAt.Unix()) })
	gauge("snapshot_pending", "1 while something has changed that the snapshot does not hold yet: usually for less than 2 s.", func() float64 { return yes(v.keeper.Stats().SnapshotPending) })
	gauge("consul_reads", "Reads of Consul beside the blocking queries, since the start.", func() float64 { return float64(v.keeper.Stats().Reads) })
}
