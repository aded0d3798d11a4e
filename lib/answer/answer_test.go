package answer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"svckit/lib/answer"
	"svckit/lib/fleet"
)

func policy() answer.Policy { return answer.Policy{Domain: "consul", Datacenter: "dc1"} }

func instance(n, weight int) answer.Instance {
	return answer.Instance{
		ID: fmt.Sprintf("web%d", n), Node: "node1", Datacenter: "dc1", Address: fmt.Sprintf("10.0.0.%d", n), NodeAddress: "10.9.0.1",
		Port: 8000 + n, Passing: weight, Warning: 1, Health: fleet.Passing,
	}
}

// reply asks for a name of a state and decodes what is sent.
func reply(t testing.TB, name string, kind uint16, state answer.State, p answer.Policy, size int, one bool, random func() uint64) *dns.Msg {
	t.Helper()
	packet, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, ok := answer.ParseQuery(packet, make([]byte, 512))
	if !ok {
		t.Fatalf("no plain question: %s", name)
	}
	packed, ok := answer.Resolve(answer.ParseName(strings.ToLower(name), kind, p), kind, state, p)
	if !ok {
		t.Fatalf("%s is left to the agent", name)
	}
	out := packed.Append(nil, q, size, one, random, &answer.Scratch{})
	if len(out) > size {
		t.Errorf("reply of %d bytes, want %d at most", len(out), size)
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("unpack reply to %s: %v\n%x", name, err, out)
	}
	if m.Id != q.ID || !m.Response || !m.Authoritative || len(m.Question) != 1 {
		t.Errorf("header of %v", m)
	}
	return m
}

func seeded(seed uint64) func() uint64 { return rand.New(rand.NewPCG(seed, 1)).Uint64 }

func lines(m *dns.Msg) []string {
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		var part []string
		for _, rr := range section {
			part = append(part, strings.Join(strings.Fields(rr.String()), " "))
		}
		slices.Sort(part)
		out = append(out, part...)
	}
	return out
}

func TestRepliesReadLikeAZone(t *testing.T) {
	six := instance(6, 1)
	six.Address = "fd00::6"
	plain := instance(1, 3)
	plain.Address, plain.Tags = "", []string{"V1"}
	warning := instance(2, 5)
	warning.Health, warning.Tags = fleet.Warning, []string{"v2"}
	dead := instance(3, 1)
	dead.Health = fleet.Critical
	state := answer.State{Instances: []answer.Instance{plain, warning, dead, six}}
	node := answer.State{Node: &answer.Node{Name: "node1", Datacenter: "dc1", Address: "10.9.0.1", Meta: map[string]string{"zone": "a"}}}
	const soa = "consul. 7 IN SOA ns.consul. hostmaster.consul. 9 3600 600 86400 7"
	p := policy()
	p.TTL, p.Negative, p.Serial = 5, 7, 9
	for _, row := range []struct {
		name  string
		kind  uint16
		state answer.State
		want  []string
	}{
		{"web.service.consul", dns.TypeA, state, []string{"NOERROR", "web.service.consul. 5 IN A 10.0.0.2", "web.service.consul. 5 IN A 10.9.0.1"}},
		{"web.service.consul", dns.TypeAAAA, state, []string{"NOERROR", "web.service.consul. 5 IN AAAA fd00::6"}},
		{"v1.web.service.consul", dns.TypeA, state, []string{"NOERROR", "v1.web.service.consul. 5 IN A 10.9.0.1"}},
		{"_web._v2.service.consul", dns.TypeSRV, state, []string{
			"NOERROR", "_web._v2.service.consul. 5 IN SRV 1 1 8002 0a000002.addr.dc1.consul.", "0a000002.addr.dc1.consul. 5 IN A 10.0.0.2",
		}},
		{"v1.web.service.consul", dns.TypeSRV, state, []string{
			"NOERROR", "v1.web.service.consul. 5 IN SRV 1 3 8001 node1.node.dc1.consul.", "node1.node.dc1.consul. 5 IN A 10.9.0.1",
		}},
		{"web.service.consul", dns.TypeMX, state, []string{"NOERROR", soa}},
		{"v9.web.service.consul", dns.TypeA, state, []string{"NXDOMAIN", soa}},
		{"web.service.consul", dns.TypeA, answer.State{Instances: []answer.Instance{dead}}, []string{"NXDOMAIN", soa}},
		{"web.service.consul", dns.TypeA, answer.State{}, []string{"NXDOMAIN", soa}},
		{"nonsense.consul", dns.TypeA, state, []string{"NXDOMAIN", soa}},
		{"node1.node.consul", dns.TypeANY, node, []string{"NOERROR", "node1.node.consul. 5 IN A 10.9.0.1", `node1.node.consul. 5 IN TXT "zone=a"`}},
		{"node1.node.consul", dns.TypeAAAA, node, []string{"NOERROR", soa}},
		{"0a000002.addr.dc1.consul", dns.TypeA, answer.State{}, []string{"NOERROR", "0a000002.addr.dc1.consul. 5 IN A 10.0.0.2"}},
		{"web.service.consul", dns.TypeAXFR, state, []string{"NOTIMP"}},
	} {
		t.Run(row.name+" "+dns.TypeToString[row.kind], func(t *testing.T) {
			m := reply(t, row.name, row.kind, row.state, p, 512, false, seeded(1))
			if diff := cmp.Diff(row.want, lines(m)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The first of the answers is drawn by weight, and the next among the rest:
// chi-square over the first and over the second place, limit at p = 0.001.
func TestWeightsActInPlainAnswers(t *testing.T) {
	weights := []int{1, 2, 3, 4, 10}
	var state answer.State
	for n, w := range weights {
		state.Instances = append(state.Instances, instance(n+1, w))
	}
	const rounds = 10000
	first, second := map[string]float64{}, map[string]float64{}
	random := seeded(7)
	for range rounds {
		m := reply(t, "web.service.consul", dns.TypeA, state, policy(), 512, false, random)
		if len(m.Answer) != len(weights) {
			t.Fatalf("%d records", len(m.Answer))
		}
		first[m.Answer[0].(*dns.A).A.String()]++
		second[m.Answer[1].(*dns.A).A.String()]++
	}
	const total = 20.0
	var chiFirst, chiSecond float64
	for i, w := range weights {
		p := float64(w) / total
		q := 0.0 // P(i is second) = sum over j first
		for j, v := range weights {
			if j != i {
				q += float64(v) / total * float64(w) / (total - float64(v))
			}
		}
		address := fmt.Sprintf("10.0.0.%d", i+1)
		chiFirst += math.Pow(first[address]-p*rounds, 2) / (p * rounds)
		chiSecond += math.Pow(second[address]-q*rounds, 2) / (q * rounds)
	}
	const limit = 18.47 // 4 degrees of freedom
	if chiFirst > limit || chiSecond > limit {
		t.Errorf("chi-square %.1f and %.1f, want below %.2f: %v %v", chiFirst, chiSecond, limit, first, second)
	}
}

func TestLimitAndOneChooseByWeightAndWithoutTC(t *testing.T) {
	var state answer.State
	for n := range 40 {
		state.Instances = append(state.Instances, instance(n+1, 0))
	}
	state.Instances[7].Passing = 1 // all others weigh nothing: they come when nothing else is left
	p := policy()
	p.Limit = 4
	m := reply(t, "web.service.consul", dns.TypeA, state, p, 512, false, seeded(3))
	if len(m.Answer) != 4 || m.Truncated || m.Answer[0].(*dns.A).A.String() != "10.0.0.8" {
		t.Errorf("limit 4: %v", m)
	}
	m = reply(t, "web.service.consul", dns.TypeSRV, state, policy(), 512, true, seeded(3))
	if len(m.Answer) != 1 || len(m.Extra) != 1 || m.Truncated || m.Answer[0].(*dns.SRV).Port != 8008 {
		t.Errorf("one: %v", m)
	}
	m = reply(t, "web.service.consul", dns.TypeSRV, state, policy(), 512, false, seeded(3))
	if !m.Truncated || len(m.Answer) == 0 {
		t.Errorf("what does not fit: %v", m)
	}
}

func TestAddressesOfOneHostAreOneRecordOfTheirSum(t *testing.T) {
	a, b, c := instance(1, 1), instance(1, 2), instance(2, 1)
	b.ID, b.Port = "other", 9999
	state := answer.State{Instances: []answer.Instance{a, b, c}}
	firsts := 0
	random := seeded(5)
	for range 4000 {
		m := reply(t, "web.service.consul", dns.TypeA, state, policy(), 512, false, random)
		if len(m.Answer) != 2 {
			t.Fatalf("%v", m)
		}
		if m.Answer[0].(*dns.A).A.String() == "10.0.0.1" {
			firsts++
		}
	}
	if firsts < 2850 || firsts > 3150 {
		t.Errorf("the address of weight 3 of 4 is first in %d of 4000", firsts)
	}
	m := reply(t, "web.service.consul", dns.TypeSRV, state, policy(), 512, false, random)
	if len(m.Answer) != 3 || len(m.Extra) != 2 {
		t.Errorf("SRV: %v", m)
	}
}

func TestOwnZoneAnswersWhileItHoldsEnough(t *testing.T) {
	in := func(n, weight int, zone string, h fleet.Health) answer.Instance {
		i := instance(n, weight)
		i.Zone, i.Health = zone, h
		return i
	}
	ok, bad := fleet.Passing, fleet.Critical
	for _, row := range []struct {
		name string
		all  []answer.Instance
		zone string
		want []string
	}{
		{"an even share", []answer.Instance{in(1, 5, "a", ok), in(2, 5, "b", ok)}, "a", []string{"web1"}},
		{"a little less than an even share", []answer.Instance{in(1, 4, "a", ok), in(2, 5, "b", ok)}, "a", []string{"web1"}},
		{"much less than an even share", []answer.Instance{in(1, 1, "a", ok), in(2, 9, "b", ok)}, "a", []string{"web1", "web2"}},
		{"half of the zone is ill", []answer.Instance{in(1, 5, "a", ok), in(2, 5, "a", bad), in(3, 5, "b", ok), in(4, 5, "b", ok)}, "a", []string{"web1", "web3", "web4"}},
		{"the whole zone is ill", []answer.Instance{in(1, 5, "a", bad), in(2, 5, "b", ok)}, "a", []string{"web2"}},
		{"the other zone is ill, which has its clients still", []answer.Instance{in(1, 5, "a", ok), in(2, 5, "b", bad)}, "a", []string{"web1"}},
		{"a zone without instances", []answer.Instance{in(1, 5, "a", ok), in(2, 5, "b", ok)}, "c", []string{"web1", "web2"}},
		{"no zone", []answer.Instance{in(1, 5, "a", ok), in(2, 5, "b", ok)}, "", []string{"web1", "web2"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := policy()
			p.Zone = row.zone
			var got []string
			for _, c := range answer.Choose("", answer.State{Instances: row.all}, p) {
				if c.Reason == "" {
					t.Errorf("%s: no reason", c.Instance.ID)
				}
				if c.In {
					got = append(got, c.Instance.ID)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHold(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	up := instance(1, 1)
	unchecked, silent, failed, held := up, up, up, up
	unchecked.Health, unchecked.Unchecked = fleet.Critical, true
	silent.Health, silent.NodeDown = fleet.Critical, true
	failed.Health = fleet.Critical
	held.Held, held.NodeGone = true, true
	noPort := func(i answer.Instance) answer.Instance { i.Port = 0; return i }
	none := []answer.Instance{}
	for _, row := range []struct {
		name        string
		before, now []answer.Instance
		e           answer.Evidence
		held        bool
		rest        int // instances in the result
	}{
		{"checks not run yet, port not tried", []answer.Instance{up}, []answer.Instance{unchecked}, answer.Evidence{}, true, 1},
		{"checks not run yet, port answers", []answer.Instance{up}, []answer.Instance{unchecked}, answer.Evidence{Answers: map[string]bool{up.Place(): true}}, true, 1},
		{"checks not run yet, port closed", []answer.Instance{up}, []answer.Instance{unchecked}, answer.Evidence{Answers: map[string]bool{up.Place(): false}}, false, 1},
		{"checks not run yet, no port", []answer.Instance{noPort(up)}, []answer.Instance{noPort(unchecked)}, answer.Evidence{}, true, 1},
		{"node silent, no port to try", []answer.Instance{noPort(up)}, []answer.Instance{noPort(silent)}, answer.Evidence{}, false, 1},
		{"node silent", []answer.Instance{up}, []answer.Instance{silent}, answer.Evidence{}, true, 1},
		{"a check failed", []answer.Instance{up}, []answer.Instance{failed}, answer.Evidence{}, false, 1},
		{"it was critical before", []answer.Instance{failed}, []answer.Instance{unchecked}, answer.Evidence{}, false, 1},
		{"new and not checked yet", none, []answer.Instance{unchecked}, answer.Evidence{}, false, 1},
		{"gone with its node", []answer.Instance{up}, none, answer.Evidence{NodeGone: map[string]bool{"node1": true}}, true, 1},
		{"gone, its node stays", []answer.Instance{up}, none, answer.Evidence{}, false, 0},
		{"held, and its node is back without it yet", []answer.Instance{held}, none, answer.Evidence{}, true, 1},
		{"held for too long", []answer.Instance{up}, []answer.Instance{unchecked}, answer.Evidence{Since: map[string]time.Time{"web1": at.Add(-time.Minute)}}, false, 1},
		{"held for a while", []answer.Instance{up}, []answer.Instance{unchecked}, answer.Evidence{Since: map[string]time.Time{"web1": at.Add(-time.Second)}}, true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.e.Limit = 30 * time.Second
			got, _ := answer.Hold(row.before, row.now, row.e, at)
			if len(got) != row.rest || row.rest > 0 && got[0].Held != row.held {
				t.Errorf("result %+v, want %d with held %v", got, row.rest, row.held)
			}
			if row.held && got[0].Health != fleet.Passing {
				t.Errorf("held as %s, want it as it was", got[0].Health)
			}
		})
	}
}
