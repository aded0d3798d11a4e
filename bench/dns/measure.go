package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"svckit/bench/stage"
	"svckit/lib/dnsd"
)

// result is one row of the table.
type result struct {
	name          string
	perSecond     float64
	median, worst time.Duration // p50 and p99 at the rate below
	cpu           time.Duration // for each query
	flood         float64       // answers a second to the fast generator
	floodCPU      time.Duration // for each of them
	memory        float64       // MiB
	rate          int
	lost          int
}

func (r result) String() string {
	note := ""
	if r.rate < fullRate {
		note = fmt.Sprintf(" (at %d q/s)", r.rate)
	}
	if r.lost > 0 {
		note += fmt.Sprintf(" (%d lost)", r.lost)
	}
	return fmt.Sprintf("| %s | %.0f | %.1f | %.0f | %.1f | %.3f | %.3f%s | %.0f |", r.name, r.perSecond, us(r.cpu), r.flood, us(r.floodCPU), ms(r.median), ms(r.worst), note, r.memory)
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

const fullRate = 10000

// measure starts a peer, floods it, then asks at a steady rate.
func (g *ground) measure(p peer, length time.Duration) (result, error) {
	r := result{name: p.name}
	if p.argv != nil {
		if err := g.run(p.command()); err != nil {
			return r, err
		}
		last := g.agents[len(g.agents)-1]
		defer func() {
			_ = last.Process.Kill()
			_ = last.Wait()
			g.agents = g.agents[:len(g.agents)-1]
		}()
		p.pid = last.Process.Pid
	}
	if err := stage.Until(20*time.Second, p.name, func() error { return ping(p) }); err != nil {
		return r, err
	}
	questions := g.file("questions", p.ask+" A\n")
	if _, err := g.dnsperf(p, questions, time.Second); err != nil { // warms up
		return r, err
	}
	out, took, err := spent(p, func() (string, error) { return g.dnsperf(p, questions, length, "-q", "200") })
	if err != nil {
		return r, err
	}
	r.perSecond, r.cpu = number(out, "Queries per second:"), took/time.Duration(max(1, number(out, "Queries completed:")))
	flood, took, err := spent(p, func() (flooded, error) { return g.flood(p, length) })
	if err != nil {
		return r, err
	}
	r.flood, r.floodCPU = float64(flood.Answered)/flood.Took.Seconds(), took/time.Duration(max(1, flood.Answered))
	if r.memory, err = stage.Resident(p.pid); err != nil {
		return r, err
	}
	r.rate = min(fullRate, int(r.perSecond*0.6))
	out, err = g.dnsperf(p, questions, length, "-Q", strconv.Itoa(r.rate), "-v")
	if err != nil {
		return r, err
	}
	r.lost = int(number(out, "Queries lost:"))
	r.median, r.worst = percentiles(out)
	return r, nil
}

// spent is what a server spends of its core while it is asked.
func spent[T any](p peer, ask func() (T, error)) (out T, took time.Duration, err error) {
	before, err := stage.Spent(p.pid)
	if err != nil {
		return out, 0, err
	}
	if out, err = ask(); err != nil {
		return out, 0, err
	}
	after, err := stage.Spent(p.pid)
	return out, after - before, err
}

func ping(p peer) error { return dnsd.Ping(context.Background(), p.address, p.ask) }

func (g *ground) dnsperf(p peer, questions string, length time.Duration, more ...string) (string, error) {
	host, port, _ := net.SplitHostPort(p.address)
	args := append([]string{"-s", host, "-p", port, "-d", questions, "-c", strconv.Itoa(g.sockets), "-T", "1", "-e", "-l", strconv.Itoa(int(length.Seconds()))}, more...)
	cmd := exec.Command("dnsperf", args...)
	pin(cmd, "1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("dnsperf: %w: %s", err, errs.String())
	}
	return out.String(), nil
}

func number(text, label string) float64 {
	for line := range strings.Lines(text) {
		if _, rest, found := strings.Cut(line, label); found {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseFloat(f[0], 64)
				return n
			}
		}
	}
	return 0
}

// percentiles reads the lines that dnsperf -v prints: "> NOERROR web.service.consul A 0.000123".
func percentiles(text string) (median, worst time.Duration) {
	var all []float64
	in := bufio.NewScanner(strings.NewReader(text))
	for in.Scan() {
		f := strings.Fields(in.Text())
		if len(f) == 5 && f[0] == ">" {
			if n, err := strconv.ParseFloat(f[4], 64); err == nil {
				all = append(all, n)
			}
		}
	}
	return quantile(all, 0.5), quantile(all, 0.99)
}

func quantile(all []float64, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return time.Duration(all[min(int(q*float64(len(all))), len(all)-1)] * float64(time.Second))
}
