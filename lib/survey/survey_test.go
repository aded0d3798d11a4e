package survey

import (
	"fmt"
	"math"
	"testing"

	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/spec"
)

const at = 1_790_000_000

// facts is two nodes, each with a fresh sample of one service.
func facts(strategy string, change func(node string, x *fleet.ServiceSample)) Facts {
	f := Facts{At: at, Reports: map[string]Report{}, Placed: []place.Share{{Name: "s/w", Node: "a", Count: 2}, {Name: "s/w", Node: "b", Count: 4}}}
	f.Services = []Service{{Name: "s/w", Release: "r1", Spec: spec.Service{Kind: spec.Web, Overlap: true, Scale: spec.Scale{Unit: "workers", Strategy: strategy, Min: 1, Spread: "balanced", Pool: "default"}}}}
	for i, n := range []string{"a", "b"} {
		f.Monitors = append(f.Monitors, fleet.Monitor{Node: n, Alive: true, Address: n})
		x := fleet.ServiceSample{
			Name: "s/w", Release: "r1", Instances: 1, Ready: 2 + 2*i,
			Requests: &fleet.Requests{Rate1: 10, Rate10: 10, Rate60: 10, Done10: 10, Done60: 10, Marks: true, Slots: 1, Busy: 2, Busy10: 2, Busy60: 2, Waiting: 1, Service: 0.2, CV2: 1},
		}
		if change != nil {
			change(n, &x)
		}
		f.Reports[n] = Report{At: at, Sample: fleet.Sample{Node: n, At: at, CPUs: 4, Memory: 8 << 30, CPUUsed: 2, Services: []fleet.ServiceSample{x}}}
	}
	return f
}

func TestSamplesBecomeOneSignal(t *testing.T) {
	s := Snapshot(facts("busy_ratio", nil))
	seen := s.Services[0].Seen
	if seen.Ready != 6 || seen.Settling != "" || len(seen.Signals) != 1 {
		t.Fatalf("%+v", seen)
	}
	sig := seen.Signals[0]
	want := scale.Load{Rate1: 20, Rate10: 20, Rate60: 20, Done10: 20, Done60: 20, Busy: 4, Busy10: 4, Busy60: 4, Waiting: 2, Service: 0.2, CV2: 1}
	if *sig.Load != want || sig.Coverage != 1 || sig.At != at || sig.Name != Requests {
		t.Errorf("%+v of %+v", *sig.Load, sig)
	}
	if n := s.Nodes[0]; n.CPU != 4000 || n.Load != 0.5 || n.Silent || n.Pool != DefaultPool {
		t.Errorf("node %+v", n)
	}
}

func TestAWorkerWithThreadsIsOneWorker(t *testing.T) {
	s := Snapshot(facts("busy_ratio", func(_ string, x *fleet.ServiceSample) { x.Requests.Slots = 4 }))
	if l := s.Services[0].Seen.Signals[0].Load; l.Busy != 1 || math.Abs(l.Service-0.05) > 1e-9 {
		t.Errorf("%+v", *l)
	}
}

func TestWhatIsMissingLowersTheCoverageAndNothingElse(t *testing.T) {
	for name, row := range map[string]struct {
		change   func(f *Facts)
		coverage float64
	}{
		"an old sample":       {func(f *Facts) { r := f.Reports["b"]; r.At = at - 16; f.Reports["b"] = r }, 2.0 / 6},
		"one from the future": {func(f *Facts) { r := f.Reports["b"]; r.At = at + 60; f.Reports["b"] = r }, 2.0 / 6},
		"never heard":         {func(f *Facts) { delete(f.Reports, "b") }, 2.0 / 6},
		"no requests":         {func(f *Facts) { f.Reports["b"].Sample.Services[0].Requests = nil }, 2.0 / 6},
		"an absurd number":    {func(f *Facts) { f.Reports["b"].Sample.Services[0].Requests.Busy = -1 }, 2.0 / 6},
		"not a number":        {func(f *Facts) { f.Reports["b"].Sample.Services[0].Requests.Rate60 = math.NaN() }, 2.0 / 6},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts("busy_ratio", nil)
			row.change(&f)
			s := Snapshot(f)
			sig := s.Services[0].Seen.Signals[0]
			if math.Abs(sig.Coverage-row.coverage) > 1e-9 || sig.Load.Rate60 != 10 {
				t.Errorf("coverage %g, want %g; %+v", sig.Coverage, row.coverage, *sig.Load)
			}
		})
	}
}

func TestADeployIsSeen(t *testing.T) {
	s := Snapshot(facts("busy_ratio", func(node string, x *fleet.ServiceSample) {
		if node == "b" {
			x.Release = "r2"
		}
	}))
	if got := s.Services[0].Seen.Settling; got != "b runs release r2" {
		t.Errorf("settling %q", got)
	}
}

func TestAQueueIsSeenOnceAndNotSummed(t *testing.T) {
	s := Snapshot(facts("queue", func(_ string, x *fleet.ServiceSample) {
		x.Queue = &fleet.Queue{Ready: 100, Unacked: 3, In10: 5, Out10: 4, In60: 5, Out60: 4, Rates: true}
	}))
	if b := s.Services[0].Seen.Signals[0].Backlog; b == nil || *b != (scale.Backlog{Ready: 100, Unacked: 3, In10: 5, Out10: 4, In60: 5, Out60: 4}) {
		t.Errorf("%+v", b)
	}
}

func TestAQueueThatTellsOnlyItsGrowthNeedsItsConsumers(t *testing.T) {
	grows := func(_ string, x *fleet.ServiceSample) { x.Queue = &fleet.Queue{Ready: 100, In10: 3, Out60: 2} }
	s := Snapshot(facts("queue", grows))
	if b := s.Services[0].Seen.Signals[0].Backlog; b == nil || *b != (scale.Backlog{Ready: 100, In10: 23, Out10: 20, In60: 18, Out60: 20}) {
		t.Errorf("with marks: %+v", b)
	}
	s = Snapshot(facts("queue", func(node string, x *fleet.ServiceSample) { grows(node, x); x.Requests = nil }))
	if sig := s.Services[0].Seen.Signals[0]; sig.Backlog != nil || sig.Error == "" {
		t.Errorf("without marks: %+v", sig)
	}
}

func TestWhatCannotBeReadIsHeld(t *testing.T) {
	f := facts("noop", nil)
	f.Broken = map[string]string{"s/w": "the release is no release", "old/w": "gone"}
	s := Snapshot(f)
	if len(s.Services) != 2 || s.Services[0].Hold != "gone" || s.Services[1].Hold != "the release is no release" {
		t.Errorf("%+v", s.Services)
	}
	f = facts("noop", nil)
	f.Reports = map[string]Report{}
	if hold := Snapshot(f).Services[0].Hold; hold != "runs on a, which has not said yet how large it is" {
		t.Errorf("unknown room: %q", hold)
	}
}

func TestNodesArePutWhereTheirPoolSays(t *testing.T) {
	f := facts("noop", nil)
	f.Monitors[0].Pool = "web"
	f.Pools = []planner.Membership{{Pool: place.Pool{Name: "vip", Class: place.VIP}, Nodes: []planner.Member{{Node: "a", Home: "web", Due: 7}}}}
	f.Placed = append(f.Placed, place.Share{Name: "s/w", Node: "gone", Count: 1})
	s := Snapshot(f)
	got := ""
	for _, n := range s.Nodes {
		got += fmt.Sprintf("%s %s %q %d %v, ", n.Name, n.Pool, n.Home, n.Due, n.Alive)
	}
	if want := `a vip "web" 7 true, b default "" 0 true, gone default "" 0 false, `; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoansAreWrittenDown(t *testing.T) {
	own := map[string]string{"f1": "free", "f2": "free"}
	pools := []planner.Membership{{Pool: place.Pool{Name: "vip"}, Nodes: []planner.Member{{Node: "f2", Home: "free"}}}}
	out := Lend(pools, []place.Loan{{Kind: place.Borrow, Node: "f1", From: "free", To: "vip", Reason: "more"}, {Kind: place.Leave, Node: "f2", From: "vip", To: "free"}}, own)
	got := fmt.Sprintf("%+v", out)
	if want := fmt.Sprintf("%+v", []planner.Membership{
		{Pool: place.Pool{Name: "free"}, Nodes: nil},
		{Pool: place.Pool{Name: "vip"}, Nodes: []planner.Member{{Node: "f1", Home: "free", Why: "more"}, {Node: "f2", Home: "free", Leaving: true}}},
	}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	out = Lend(out, []place.Loan{{Kind: place.Return, Node: "f2", From: "vip", To: "free"}}, own)
	if len(out) != 1 || len(out[0].Nodes) != 1 || out[0].Nodes[0].Node != "f1" {
		t.Errorf("returned: %+v", out)
	}
}

func TestAWorkerCountsWithWhatTheSpecSaysOfOneAtMostWithItsContainer(t *testing.T) {
	for _, row := range []struct {
		worker      spec.Worker
		container   spec.Resources
		cpu, memory int64
	}{
		{spec.Worker{CPU: 0.02, Memory: 40 << 20}, spec.Resources{}, 20, 40 << 20},
		{spec.Worker{CPU: 0.02, Memory: 40 << 20}, spec.Resources{CPU: 1.5, Memory: 512 << 20}, 20, 40 << 20},
		{spec.Worker{CPU: 0.1, Memory: 64 << 20}, spec.Resources{CPU: 0.05, Memory: 32 << 20}, 50, 32 << 20},
	} {
		got := ShapeOf(spec.Service{Resources: row.container, Scale: spec.Scale{Unit: "workers", Worker: row.worker}})
		if got.CPU != row.cpu || got.Memory != row.memory {
			t.Errorf("%+v in %+v counts %d and %d, want %d and %d", row.worker, row.container, got.CPU, got.Memory, row.cpu, row.memory)
		}
	}
}
