package place

import (
	"slices"
	"testing"
	"time"
)

// node is a host of 8 cores.
func node(name, pool, home string) Host {
	return Host{Name: name, Zone: "z", Pool: pool, Home: home, CPU: 8000, Memory: 64 * gib, Alive: true}
}

func kinds(p Plan) (out []string) {
	for _, l := range p.Loans {
		out = append(out, string(l.Kind)+" "+l.Node+" "+l.To)
	}
	return out
}

// lending is a vip pool with one node of its own, a normal pool, and two free nodes.
func lending() Input {
	return Input{
		At:    1_000_000,
		Pools: []Pool{{Name: "free", Class: Free, Reserve: 1}, {Name: "low", Class: Internal, Loans: 2}, {Name: "vip", Class: VIP, Loans: 3}},
		Hosts: []Host{node("f1", "free", ""), node("f2", "free", ""), node("l1", "low", ""), node("v1", "vip", "")},
		Demands: []Demand{
			{Name: "low/web", Size: 4, CPU: 1000, Pool: "low"},
			{Name: "vip/web", Size: 4, CPU: 1000, Pool: "vip", VIP: true},
		},
	}
}

func sized(in Input, k, size int) Input {
	in.Demands = slices.Clone(in.Demands)
	in.Demands[k].Size = size
	return in
}

func TestAPoolBorrowsAtOnceAndGivesBackAfterAWhile(t *testing.T) {
	in := lending()
	in = After(in, Decide(in))
	p := Decide(sized(in, 1, 14))
	if got := kinds(p); !slices.Equal(got, []string{"borrow f1 vip"}) || len(p.Short) > 0 {
		t.Fatalf("loans %v, short %v", got, p.Short)
	}
	in = sized(After(sized(in, 1, 14), p), 1, 4)
	in = After(in, Decide(in))
	for minute := range 11 {
		in.At = 1_000_000 + int64(minute)*60
		p = Decide(in)
		if got := kinds(p); minute < 10 && len(got) > 0 || minute == 10 && !slices.Equal(got, []string{"leave f1 free", "return f1 free"}) {
			t.Fatalf("minute %d: %v", minute, got)
		}
		in = After(in, p)
	}
	if in.Hosts[0].Pool != "free" {
		t.Errorf("f1 is in %s", in.Hosts[0].Pool)
	}
}

func TestTheLastFreeNodesAreForVIPPools(t *testing.T) {
	in := sized(lending(), 0, 24)
	p := Decide(in)
	if got := kinds(p); !slices.Equal(got, []string{"borrow f1 low"}) {
		t.Errorf("loans %v", got)
	}
	if len(p.Short) != 1 || p.Short[0].Name != "low/web" || p.Short[0].Gets != 16 {
		t.Errorf("short %+v", p.Short)
	}
}

func TestAVIPPoolGetsBackWhatALowerOneHasOnLoan(t *testing.T) {
	in := sized(lending(), 0, 14)
	in = After(in, Decide(in)) // low has f1
	in = sized(in, 1, 22)
	p := Decide(in)
	if got := kinds(p); !slices.Equal(got, []string{"borrow f2 vip", "recall f1 vip", "return f1 vip"}) {
		t.Fatalf("loans %v", got)
	}
	next := After(in, p)
	if q := Decide(next); len(q.Short) != 1 || q.Short[0].Name != "low/web" || q.Short[0].Gets != 8 {
		t.Errorf("short %+v", q.Short)
	}
}

func TestALentNodeIsDrainedAheadOfItsDueTime(t *testing.T) {
	in := sized(lending(), 1, 14)
	in.Hosts[0].Home, in.Hosts[0].Due = "dept", in.At+3600
	in.Hosts[1].Alive = false
	in = After(in, Decide(in))
	in.At += 3600 - 14*60
	p := Decide(in)
	if got := kinds(p); !slices.Equal(got, []string{"recall f1 dept"}) {
		t.Errorf("loans %v", got)
	}
	if s := find2(p, "vip/web"); s.Total != 14 { // nowhere else is room: it is not taken away
		t.Errorf("vip/web has %d", s.Total)
	}
	in.Hosts = append(slices.Clone(After(in, p).Hosts), node("v2", "vip", ""))
	p = Decide(in)
	if got := kinds(p); !slices.Equal(got, []string{"return f1 dept"}) || len(p.Waves) != 2 || p.Waves[0][0].To < p.Waves[0][0].From {
		t.Errorf("loans %v, waves %v", got, p.Waves)
	}
}

func TestSmallServicesLeaveAHotNodeWithinTheBudget(t *testing.T) {
	in := Input{At: 1_000_000, Pools: []Pool{{Name: "a"}}}
	for _, n := range []string{"n1", "n2", "n3", "n4"} {
		h := node(n, "a", "")
		h.CPU, h.Load = 100_000, 0.3
		in.Hosts = append(in.Hosts, h)
	}
	in.Hosts[0].Load = 0.95
	for _, d := range []struct {
		name string
		size int
	}{{"big/web", 40}, {"mid/web", 8}, {"tiny/web", 2}} {
		in.Demands = append(in.Demands, Demand{Name: d.name, Size: d.size, CPU: 1000, Pool: "a"})
		in.Shares = append(in.Shares, Share{d.name, "n1", d.size})
	}
	in.Rules = Defaults()
	in.Rules.MovesAnHour = 0.2
	p := Decide(in)
	if p.Moves > 0 || len(p.State.Hot) != 1 || p.State.Hot[0] != (Since{"n1", in.At}) {
		t.Fatalf("moves %d, hot %v", p.Moves, p.State.Hot)
	}
	in = After(in, p)
	in.At += int64(10 * time.Minute / time.Second)
	p = Decide(in)
	if p.Moves != 10 || find2(p, "big/web").Moves != 0 || find2(p, "tiny/web").Moves != 2 {
		t.Errorf("%d move: %v", p.Moves, p.Waves)
	}
	if p.State.Moves[0].Count != 10 {
		t.Errorf("remembers %v", p.State.Moves)
	}
	in = After(in, p)
	in.At += 15 * 60
	if p = Decide(in); p.Moves > 0 {
		t.Errorf("over the budget of the hour: %v", p.Waves)
	}
}
