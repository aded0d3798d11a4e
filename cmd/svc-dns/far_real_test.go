//go:build real

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"svckit/lab"
)

// farQuestions are the questions of the table, asked of the second datacenter.
func farQuestions() []question {
	far := strings.NewReplacer(".service.consul", ".service.dc2.consul", ".Service.CONSUL", ".Service.DC2.CONSUL", ".service.dc1.", ".service.dc2.",
		"node1.node.consul", "dc2-node1.node.dc2.consul", "NODE1.node.dc1.", "DC2-NODE1.node.DC2.",
		".node.consul", ".node.dc2.consul", ".node.dc1.", ".node.dc2.", "._tcp.consul", "._tcp.dc2.consul", "._tcp.dc1.", "._tcp.dc2.")
	var out []question
	for _, q := range questions() {
		if name := far.Replace(q.name); name != q.name {
			out = append(out, question{name, q.kinds, q.differs})
		}
	}
	return out
}

// TestAnswersAboutAnotherDatacenterAgreeWithConsul asks on a host of one datacenter for what another one has.
func TestAnswersAboutAnotherDatacenterAgreeWithConsul(t *testing.T) {
	const alone = `recursors = ["127.0.0.1:9"]` + "\n" + `dns_config { recursor_timeout = "200ms" }`
	f := lab.NewFleet(t, lab.Datacenter{Servers: 1, Hosts: 1, Bare: true, Consul: alone}, lab.Datacenter{Hosts: 1, Bare: true})
	near, far := f.Hosts[0], f.Hosts[1]
	register(t, near.Consul(), object{"ID": "web9", "Name": "web", "Address": "10.7.0.9", "Port": 7009}) // the own one is not asked for
	catalog(t, far.Consul())
	s := serverOn(t, near)

	asked := 0
	for _, row := range farQuestions() {
		for kind := range strings.FieldsSeq(row.kinds) {
			asked++
			for _, w := range []way{{"udp", 0}, {"udp", 4096}, {"tcp", 0}} {
				t.Run(fmt.Sprintf("%s %s %s %d", row.name, kind, w.network, w.size), func(t *testing.T) {
					theirs, ours := pair(t, near.DNS(), s.at, row.name, dns.StringToType[kind], w)
					diff := cmp.Diff(view(theirs, w), view(ours, w))
					if row.differs == "" && diff != "" {
						t.Errorf("- Consul, + svc-dns:\n%s", diff)
					}
					if row.differs != "" && diff == "" {
						t.Errorf("%s is listed as a difference, and there is none", row.differs)
					}
				})
			}
		}
	}
	if asked < 60 {
		t.Errorf("%d questions asked, want 60 at least", asked)
	}
	s.changesAreSeenAndLastAnswersStay(near, far)
}

// changesAreSeenAndLastAnswersStay changes a service of the other datacenter, and then cuts that off.
func (s *server) changesAreSeenAndLastAnswersStay(near, far *lab.Host) {
	const name = "web.service.dc2.consul"
	want := func(addresses ...string) func() error {
		return func() error {
			got := s.addresses(name)
			if slices.Sort(got); !slices.Equal(got, addresses) {
				return fmt.Errorf("%s is %v, want %v", name, got, addresses)
			}
			return nil
		}
	}
	within(s.t, soon, "what is there is answered", want("10.0.0.1", "10.0.0.2"))
	register(s.t, far.Consul(), object{"ID": "web4", "Name": "web", "Address": "10.0.0.4", "Port": 8004})
	within(s.t, soon, "a new instance there is answered", want("10.0.0.1", "10.0.0.2", "10.0.0.4"))

	w := watchName(s.at, name, 3)
	far.CutOff(s.t)
	began := time.Now()
	within(s.t, 90*time.Second, "Consul answers that it has no way there", func() error {
		m, err := ask(near.DNS(), "udp", name, dns.TypeA, 4096)
		if err != nil {
			return err
		}
		if m.Rcode == dns.RcodeSuccess {
			return fmt.Errorf("Consul answers %v", m)
		}
		s.t.Logf("%s after the cut Consul answers %s", time.Since(began).Round(time.Second), dns.RcodeToString[m.Rcode])
		return nil
	})
	far.Rejoin(s.t)
	w.mustBeWhole(s.t, "the last known answer while the other datacenter is cut off")
	far.AwaitJoined(s.t)
	put(s.t, far.Consul(), "/v1/agent/service/deregister/web4", nil)
	within(s.t, 60*time.Second, "with the cable back changes are seen again", want("10.0.0.1", "10.0.0.2"))
}

// serverOn starts svc-dns on a host of a fleet, where the test can ask it.
func serverOn(t *testing.T, h *lab.Host) *server {
	t.Helper()
	s := &server{t: t, at: h.Addr() + ":8053", metrics: h.Addr() + ":9653", log: &syncBuffer{}, done: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = h.Command(t, self, "serve", "--listen", s.at, "--metrics", s.metrics, "--allow", "10.88.0.0/16", "--upstream", "127.0.0.1:9", "--rate", "0")
	s.cmd.Env = append(s.cmd.Env, asProgram+"=1", "GORACE=atexit_sleep_ms=0")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("svc-dns on %s:\n%s", h.Name(), s.log.String())
		}
	})
	within(t, soon, "svc-dns answers", func() error {
		_, err := ask(s.at, "udp", "7f000001.addr.consul", dns.TypeA, 0)
		return err
	})
	return s
}
