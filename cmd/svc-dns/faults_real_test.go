//go:build real

package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"svckit/lab"
)

// A node's agent is stopped, killed, and away for a minute, under load. Consul
// shows its instances as critical or gone then; they are well all the time.
func TestAnswersStayWholeWhileAnAgentRestarts(t *testing.T) {
	t.Parallel()
	one := newMember(t, "server1", 1)
	one.joined(one)
	client := newMember(t, "worker1", 0, one.serf)
	client.joined(one)
	ports, shut := listeners(t, "127.0.1.1", "127.0.1.2", "127.0.1.3")
	for n, port := range ports {
		address := fmt.Sprintf("127.0.1.%d", n+1)
		register(t, client.url(), object{
			"ID": fmt.Sprintf("web%d", n), "Name": "web", "Address": address, "Port": port,
			"Check": object{"TCP": fmt.Sprintf("%s:%d", address, port), "Interval": "3s", "Timeout": "10s", "Status": "passing"},
		})
	}
	const name = "web.service.consul"
	beside, far := newServer(t, client.url(), "--hold", "10m"), newServer(t, one.url(), "--hold", "10m")
	for _, s := range []*server{beside, far} {
		within(t, soon, "all instances are answered", func() error { return whole(s, name, 3) })
	}
	var missed int64 // answers of Consul's own DNS that failed meanwhile
	watch := func(what string, fault func()) {
		a, b, consul := watchName(beside.at, name, 3), watchName(far.at, name, 3), watchName(one.dns, name, 3)
		fault()
		a.mustBeWhole(t, what+", asked beside the agent")
		b.mustBeWhole(t, what+", asked on another node")
		asked, fewer, _ := consul.end()
		missed += fewer
		t.Logf("%s: Consul's own DNS: %d of %d answers failed or lacked instances", what, fewer, asked)
	}
	passing := func() {
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			var list []any
			if err := get(one.url()+"/v1/health/service/web?passing", &list); err == nil && len(list) < 3 {
				break // Consul has noticed; a quick restart it may miss
			}
		}
		within(t, soon, "Consul shows the instances as passing again", func() error {
			var list []any
			if err := get(one.url()+"/v1/health/service/web?passing", &list); err != nil || len(list) != 3 {
				return fmt.Errorf("%d instances, error %w", len(list), err)
			}
			return nil
		})
	}

	watch("agent stopped by TERM and started", func() { client.stop(); client.start(); passing() })
	watch("agent killed and started", func() { client.kill(); client.start(); passing() })
	away := time.Minute // the length of the fault
	if testing.Short() {
		away = 12 * time.Second // past the gossip's verdict (2 s here), every backoff (5 s) and every time-out of a read (5 s)
	}
	watch("agent away for "+away.String(), func() { client.kill(); <-time.After(away); client.start(); passing() })

	if missed == 0 {
		t.Error("Consul's own DNS answered all the time: the faults were none")
	}

	shut(2) // an instance that is ill leaves all the same
	for _, s := range []*server{beside, far} {
		within(t, soon, "an instance that fails leaves", func() error {
			if got := s.addresses(name); len(got) != 2 || slices.Contains(got, "127.0.1.3") {
				return fmt.Errorf("answered: %v", got)
			}
			return nil
		})
	}

	t.Run("servers gone", func(t *testing.T) {
		within(t, soon, "snapshot", func() error {
			if beside.metric("svc_dns_snapshot_pending") != 0 {
				return fmt.Errorf("the instance that left is still in it")
			}
			return nil
		})
		w := watchName(beside.at, name, 2)
		one.kill()
		within(t, soon, "it is noticed", func() error {
			if n := beside.metric("svc_dns_stale_subjects"); n < 1 {
				return fmt.Errorf("%v stale subjects, want 1 at least", n)
			}
			return nil
		})
		w.atLeast(t, w.asked.Load()+1000)
		w.mustBeWhole(t, "servers gone while the agent lives")
		beside.kill()
		beside.start()
		if err := whole(beside, name, 2); err != nil {
			t.Errorf("after a restart without servers: %v", err)
		}
		client.kill()
		if code := beside.terminate(); code != 0 {
			t.Errorf("TERM ends it with %d", code)
		}
		beside.start()
		if err := whole(beside, name, 2); err != nil {
			t.Errorf("after a restart without an agent: %v", err)
		}
	})
}

func whole(s *server, name string, want int) error {
	m, err := ask(s.at, "udp", name, dns.TypeA, 4096)
	switch {
	case err != nil:
		return err
	case m.Rcode != dns.RcodeSuccess || len(m.Answer) != want:
		return fmt.Errorf("%s with %d records, want %d", dns.RcodeToString[m.Rcode], len(m.Answer), want)
	}
	return nil
}

func TestALostLeaderIsNotNoticed(t *testing.T) {
	t.Parallel()
	one := newMember(t, "server1", 3)
	two, three := newMember(t, "server2", 3, one.serf), newMember(t, "server3", 3, one.serf)
	all := []*member{one, two, three}
	for _, m := range all {
		m.joined(one)
	}
	client := newMember(t, "worker1", 0, one.serf, two.serf, three.serf)
	client.joined(one)
	ports, _ := listeners(t, "127.0.1.9") // worker1 may seem to be away when the machine is busy
	register(t, client.url(), object{"ID": "a", "Name": "web", "Address": "127.0.1.9", "Port": ports[0]})
	s := newServer(t, client.url())
	const name = "web.service.consul"
	within(t, soon, "answered", func() error { return whole(s, name, 1) })

	var leader string
	if err := get(client.url()+"/v1/status/leader", &leader); err != nil {
		t.Fatal(err)
	}
	w := watchName(s.at, name, 1)
	within(t, soon, "the leader is killed", func() error {
		for _, m := range all {
			var self struct{ Stats map[string]map[string]string }
			if err := get(m.url()+"/v1/agent/self", &self); err == nil && self.Stats["raft"]["state"] == "Leader" {
				t.Logf("leader %s (%s) is killed", m.node, leader)
				m.kill()
				return nil
			}
		}
		return errors.New("no member leads")
	})
	within(t, soon, "another leader takes a registration", func() error {
		var now string
		if err := get(client.url()+"/v1/status/leader", &now); err != nil || now == leader || now == "" {
			return fmt.Errorf("leader %s, error %w", now, err)
		}
		return nil
	})
	w.mustBeWhole(t, "leader lost")
	register(t, client.url(), object{"ID": "b", "Name": "web", "Address": "10.0.0.2", "Port": 1})
	within(t, soon, "a change after that is answered", func() error { return whole(s, name, 2) })
}

func TestAnAgentThatBeginsAnewIsFollowed(t *testing.T) {
	t.Parallel()
	agent := lab.Consul(t)
	for range 30 { // the index of the first life is far beyond that of the second
		put(t, agent.URL(), "/v1/kv/x", object{})
	}
	register(t, agent.URL(), object{"ID": "a", "Name": "web", "Address": "10.0.0.1", "Port": 1})
	s := newServer(t, agent.URL())
	const name = "web.service.consul"
	within(t, soon, "answered", func() error { return whole(s, name, 1) })
	w := watchName(s.at, name, 1)
	agent.Kill()
	within(t, soon, "it is noticed", func() error {
		if s.metric("svc_dns_consul_away") != 1 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	w.atLeast(t, w.asked.Load()+200)
	w.mustBeWhole(t, "while it is away")

	agent.Start(t)
	register(t, agent.URL(), object{"ID": "b", "Name": "web", "Address": "10.0.0.9", "Port": 1})
	within(t, soon, "the new state is answered", func() error { // its index is lower, as that of a server that is behind: 10 s
		if got := s.addresses(name); !slices.Equal(got, []string{"10.0.0.9"}) {
			return fmt.Errorf("answered: %v", got)
		}
		return nil
	})
}

func TestCutBlockingQueriesCostNothing(t *testing.T) {
	t.Parallel()
	agent := lab.Consul(t)
	proxy := newCutter(t, agent.HTTP)
	register(t, agent.URL(), object{"ID": "a", "Name": "web", "Address": "10.0.0.1", "Port": 1})
	s := newServer(t, "http://"+proxy.l.Addr().String())
	const name = "web.service.consul"
	within(t, soon, "answered", func() error { return whole(s, name, 1) })
	w := watchName(s.at, name, 1)
	for n := range 10 {
		within(t, soon, fmt.Sprintf("connection %d", n), func() error {
			if proxy.cut() == 0 {
				return fmt.Errorf("none is open")
			}
			return nil
		})
	}
	w.mustBeWhole(t, "each connection cut as soon as it is open")
	register(t, agent.URL(), object{"ID": "b", "Name": "web", "Address": "10.0.0.2", "Port": 1})
	within(t, soon, "a change after that is answered", func() error { return whole(s, name, 2) })
}

// The node's zone is in its agent's meta, other nodes' zones are in theirs.
func TestTheOwnZoneAnswersWhileItHoldsEnoughWeight(t *testing.T) {
	agent := lab.Consul(t, "-node-meta=zone:a")
	check := func(n int) object {
		return object{"CheckID": fmt.Sprintf("near%d", n), "TTL": "1h", "Status": "passing"}
	}
	for n := range 2 {
		register(t, agent.URL(), object{"ID": fmt.Sprintf("near%d", n), "Name": "web", "Address": fmt.Sprintf("10.0.0.%d", n+1), "Port": 80, "Check": check(n)})
		put(t, agent.URL(), "/v1/catalog/register", object{"Node": fmt.Sprintf("far%d", n), "Address": fmt.Sprintf("10.9.0.%d", n+1), "NodeMeta": object{"zone": "b"}, "Service": object{
			"ID": fmt.Sprintf("far%d", n), "Service": "web", "Address": fmt.Sprintf("10.1.0.%d", n+1), "Port": 80,
		}})
	}
	s, everywhere := newServer(t, agent.URL()), newServer(t, agent.URL(), "--any-zone")
	const name = "web.service.consul"
	answered := func(s *server, want ...string) func() error {
		return func() error {
			if got := s.addresses(name); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
				return fmt.Errorf("answered: %v, want %v", got, want)
			}
			return nil
		}
	}
	within(t, soon, "its zone alone", answered(s, "10.0.0.1", "10.0.0.2"))
	within(t, soon, "all zones, where it is told so", answered(everywhere, "10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2"))
	put(t, agent.URL(), "/v1/agent/check/fail/near0", nil) // a third of what is left, where half would be even
	within(t, soon, "the other zone helps", answered(s, "10.0.0.2", "10.1.0.1", "10.1.0.2"))
	put(t, agent.URL(), "/v1/agent/check/pass/near0", nil)
	within(t, soon, "its zone alone again", answered(s, "10.0.0.1", "10.0.0.2"))
}

func TestInstancesLeaveWithinASecondOfConsulKnowing(t *testing.T) {
	agent := lab.Consul(t)
	for n := range 3 {
		register(t, agent.URL(), object{"ID": fmt.Sprintf("web%d", n), "Name": "web", "Address": fmt.Sprintf("10.0.0.%d", n+1), "Port": 80, "Check": object{"CheckID": fmt.Sprintf("c%d", n), "TTL": "1h", "Status": "passing"}})
	}
	s := newServer(t, agent.URL())
	const name = "web.service.consul"
	within(t, soon, "answered and followed", func() error {
		if err := whole(s, name, 3); err != nil {
			return err
		}
		if s.metric("svc_dns_watches") < 1 {
			return errors.New("no blocking query follows it")
		}
		return nil
	})
	var took []time.Duration
	for _, row := range []struct {
		what, path string
		want       int
	}{
		{"critical", "/v1/agent/check/fail/c0", 2},
		{"in maintenance", "/v1/agent/service/maintenance/web1?enable=true", 1},
		{"out of maintenance", "/v1/agent/service/maintenance/web1?enable=false", 2},
		{"deregistered", "/v1/agent/service/deregister/web1", 1},
		{"passing", "/v1/agent/check/pass/c0", 2},
	} {
		put(t, agent.URL(), row.path, nil)
		began := time.Now()
		within(t, soon, row.what, func() error { return whole(s, name, row.want) })
		took = append(took, time.Since(began))
	}
	t.Logf("after %s", took)
	if slices.Sort(took); took[len(took)/2] > time.Second { // not the longest: a busy machine may stand still for a second
		t.Errorf("the median is %s", took[len(took)/2])
	}
	out, code := s.call("lookup", "--json", name)
	if code != 0 {
		t.Fatalf("lookup ends with %d", code)
	}
	if diff := cmp.Diff("svc-dns", explainedFrom(t, out)); diff != "" {
		t.Error(diff)
	}
}
