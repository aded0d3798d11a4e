package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"svckit/lib/fleet"
	"svckit/lib/nodeagent"
)

// sampled makes metrics of the last sample whenever somebody asks for them.
type sampled struct {
	agent interface {
		Sample() fleet.Sample
	}
	node, service map[string]*prometheus.Desc
}

// metricsOf serves the metrics of an agent and of the process.
func metricsOf(a *nodeagent.Agent) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newSampled(a))
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "scaled_node", Name: name, Help: help}, f))
	}
	gauge("reading_seconds", "How long the last reading of this node took.", func() float64 { took, _ := a.Took(); return took.Seconds() })
	gauge("readings", "Readings since the start.", func() float64 { _, n := a.Took(); return float64(n) })
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// The figures of a service, each with its name and what it is.
func serviceFigures() map[string]string {
	return map[string]string{
		"instances": "Containers that run.", "ready": "Workers, or instances, that serve.", "starting": "Workers, or instances, that will serve.",
		"cpu_cores": "Cores used, mean of 10 s.", "memory_bytes": "Memory in use, without file caches.", "errors": "Things that could not be read.",
		"arrivals_per_second": "Requests that arrive, mean of 10 s.", "done_per_second": "Requests completed, mean of 10 s.",
		"busy": "Requests that are worked on, mean of 10 s.", "waiting": "Connections that no worker has taken.",
		"service_seconds": "Mean time of a request, of 60 s.", "queue_ready": "Messages that no consumer has.", "queue_unacked": "Messages that a consumer works on.",
		"queue_in_per_second": "Messages published, mean of 10 s.", "queue_out_per_second": "Messages acknowledged, mean of 10 s.",
	}
}

func nodeFigures() map[string]string {
	return map[string]string{
		"cpus": "Cores of the node.", "cpu_used_cores": "Cores used, mean of 10 s.", "memory_total_bytes": "Memory of the node.",
		"memory_used_bytes": "Memory in use, without caches.", "load1": "Load average of one minute.", "sample_timestamp_seconds": "When the node was read last.",
	}
}

func newSampled(agent interface{ Sample() fleet.Sample }) *sampled {
	s := &sampled{agent: agent, node: map[string]*prometheus.Desc{}, service: map[string]*prometheus.Desc{}}
	for name, help := range nodeFigures() {
		s.node[name] = prometheus.NewDesc("scaled_node_"+name, help, nil, nil)
	}
	for name, help := range serviceFigures() {
		s.service[name] = prometheus.NewDesc("scaled_service_"+name, help, []string{"service"}, nil)
	}
	return s
}

// Describe implements prometheus.Collector.
func (s *sampled) Describe(out chan<- *prometheus.Desc) {
	for _, d := range s.node {
		out <- d
	}
	for _, d := range s.service {
		out <- d
	}
}

// Collect implements prometheus.Collector. What is not known has no figure.
func (s *sampled) Collect(out chan<- prometheus.Metric) {
	now := s.agent.Sample()
	if now.At == 0 {
		return
	}
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for name, v := range map[string]float64{
		"cpus": float64(now.CPUs), "cpu_used_cores": now.CPUUsed, "memory_total_bytes": float64(now.Memory),
		"memory_used_bytes": float64(now.MemoryIn), "load1": now.Load, "sample_timestamp_seconds": float64(now.At),
	} {
		put(s.node[name], v)
	}
	for _, of := range now.Services {
		for name, v := range figuresOf(of) {
			put(s.service[name], v, of.Name)
		}
	}
}

func figuresOf(of fleet.ServiceSample) map[string]float64 {
	out := map[string]float64{
		"instances": float64(of.Instances), "ready": float64(of.Ready), "starting": float64(of.Starting),
		"cpu_cores": of.CPU, "memory_bytes": float64(of.MemoryIn), "errors": float64(len(of.Errors)),
	}
	if q := of.Requests; q != nil {
		out["arrivals_per_second"], out["done_per_second"], out["busy"], out["waiting"] = q.Rate10, q.Done10, q.Busy10, q.Waiting
		if q.Service > 0 {
			out["service_seconds"] = q.Service
		}
	}
	if q := of.Queue; q != nil {
		out["queue_ready"], out["queue_unacked"] = q.Ready, q.Unacked
		if q.Rates {
			out["queue_in_per_second"], out["queue_out_per_second"] = q.In10, q.Out10
		}
	}
	return out
}
