package lead

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/spec"
	"svckit/lib/survey"
)

// world is Consul and the nodes, as far as a planner sees them.
type world struct {
	orders   planner.Orders
	wants    map[string]fleet.Want
	badWants map[string]string
	statuses map[string]planner.Status
	monitors []fleet.Monitor
	samples  map[string]fleet.Sample
	services []survey.Service
	broken   map[string]string
	learnt   map[string]planner.Learned
	badLearn map[string]string
	written  int // documents of demand that were written
	index    uint64
	order    []string // nodes whose wishes were written, in order
	lost     bool
	clock    time.Time
	*Planner
}

func newWorld(nodes ...string) *world {
	w := &world{wants: map[string]fleet.Want{}, statuses: map[string]planner.Status{}, learnt: map[string]planner.Learned{}, samples: map[string]fleet.Sample{}, clock: time.Unix(1_790_000_000, 0)}
	w.Planner = w.planner()
	for _, n := range nodes {
		w.monitors = append(w.monitors, fleet.Monitor{Node: n, Alive: true, Address: n + ":1", Zone: "z" + n[:1]})
	}
	return w
}

func (w *world) planner() *Planner {
	return &Planner{Books: w, Catalogue: w.catalogue, Pull: w.pull, Log: hclog.NewNullLogger()}
}

func (w *world) Orders(context.Context) (planner.Orders, error) { return w.orders, nil }

func (w *world) Wants(context.Context) ([]fleet.Want, map[string]string, error) {
	return slices.Collect(maps.Values(w.wants)), w.badWants, nil
}

func (w *world) Statuses(context.Context) ([]planner.Status, map[string]string, error) {
	return slices.Collect(maps.Values(w.statuses)), nil, nil
}
func (w *world) Monitors(context.Context) ([]fleet.Monitor, error) { return w.monitors, nil }

func (w *world) catalogue(context.Context) ([]survey.Service, map[string]string, error) {
	return w.services, w.broken, nil
}

func (w *world) pull(_ context.Context, m fleet.Monitor) (fleet.Sample, error) {
	s, ok := w.samples[m.Node]
	if !ok {
		return s, errors.New("connection refused")
	}
	return s, nil
}

var errFenced = errors.New("fenced")

func (w *world) SetWants(_ context.Context, list []fleet.Want) (fleet.Written, error) {
	out := fleet.Written{Index: map[string]uint64{}}
	if w.lost {
		return out, errFenced
	}
	for _, x := range list {
		if w.wants[x.Node].Index != x.Index {
			out.Conflicts = append(out.Conflicts, x.Node)
			continue
		}
		w.index++
		x.Index = w.index
		w.wants[x.Node], out.Index[x.Node] = x, w.index
		w.order = append(w.order, x.Node)
	}
	return out, nil
}

func (w *world) SetStatuses(_ context.Context, list []planner.Status) (fleet.Written, error) {
	out := fleet.Written{Index: map[string]uint64{}}
	for _, x := range list {
		w.index++
		x.Index = w.index
		w.statuses[x.Name], out.Index[x.Name] = x, w.index
	}
	return out, nil
}

func (w *world) SetPools(context.Context, []planner.Membership) (fleet.Written, error) {
	return fleet.Written{}, nil
}

// obey lets every node reach what it is told, and tells of load on the services.
func (w *world) obey(rate float64, nodes ...string) {
	for _, n := range nodes {
		want := w.wants[n]
		s := fleet.Sample{Node: n, At: w.clock.Unix(), CPUs: 8, Memory: 32 << 30, Epoch: want.Epoch, Gen: want.Gen}
		for _, a := range want.Services {
			if a.Count == 0 {
				continue
			}
			s.Services = append(s.Services, fleet.ServiceSample{
				Name: a.Name, Instances: 1, Ready: a.Count, Release: "r1",
				Requests: &fleet.Requests{Rate1: rate, Rate10: rate, Rate60: rate, Done10: rate, Done60: rate, Marks: true, Busy: rate / 5, Busy10: rate / 5, Busy60: rate / 5, Service: 0.2, CV2: 1},
			})
		}
		w.samples[n] = s
	}
}

// cycle looks and writes, five seconds after the one before.
func (w *world) cycle(t *testing.T) Cycle {
	t.Helper()
	w.clock = w.clock.Add(5 * time.Second)
	for n, s := range w.samples {
		s.At = w.clock.Unix()
		w.samples[n] = s
	}
	c, err := w.Look(t.Context(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), w, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) told(name string) string {
	out := map[string]int{}
	for _, x := range told(w.wants) {
		if x.Name == name {
			out[x.Node] = x.Count
		}
	}
	return fmt.Sprint(out)
}

func (w *world) total(name string) (n int) {
	for _, x := range told(w.wants) {
		if x.Name == name {
			n += x.Count
		}
	}
	return n
}

func web(name string, set func(*spec.Scale)) survey.Service {
	s := spec.Service{Kind: spec.Web, Overlap: true, Scale: spec.Scale{
		Set: true, Unit: "workers", Strategy: "busy_ratio", Wait: 0.01, WaitOver: 100 * time.Millisecond, Min: 4, MinNodes: 2, Spread: "balanced", Survive: "none",
		Down: spec.ScaleDown{After: time.Minute, Step: 0.2}, Pool: "default", Priority: "normal", StartUp: 5 * time.Second, OnBlind: "hold",
	}}
	if set != nil {
		set(&s.Scale)
	}
	return survey.Service{Name: name, Release: "r1", Spec: s}
}

func TestAFirstPlacementThenLoadThenCalm(t *testing.T) {
	w := newWorld("a", "b", "c")
	w.services = []survey.Service{web("shop/web", nil)}
	w.obey(0, "a", "b", "c")
	w.cycle(t)
	if got := w.total("shop/web"); got != 4 {
		t.Fatalf("first placement: %s", w.told("shop/web"))
	}
	for range 15 {
		w.obey(10, "a", "b", "c")
		w.cycle(t)
	}
	high := w.total("shop/web")
	if high < 7 { // 20 to 30 requests of 0.2 s each are 4 to 6 Erlangs
		t.Errorf("under load: %s", w.told("shop/web"))
	}
	for i := range 400 { // slower than the collapse guard calls a collapse
		w.obey(max(1, 10*math.Pow(0.99, float64(i))), "a", "b", "c")
		w.cycle(t)
	}
	if got := w.total("shop/web"); got >= high {
		t.Errorf("after it: %s", w.told("shop/web"))
	}
	if s := w.statuses["shop/web"]; len(s.Last) < 3 || s.Last[0].Words == "" {
		t.Errorf("what is said of it: %+v", s.Last)
	}
}

func TestANewLeaderOnlyRaises(t *testing.T) {
	w := newWorld("a", "b")
	w.services = []survey.Service{web("shop/web", func(s *spec.Scale) { s.Strategy, s.Min = "noop", 8 })}
	w.obey(0, "a", "b")
	w.cycle(t)
	w.services[0].Spec.Scale.Min = 4
	w.Planner = w.planner()
	w.Since = w.clock
	for range 11 { // 55 s
		w.obey(0, "a", "b")
		w.cycle(t)
	}
	if got := w.total("shop/web"); got != 8 {
		t.Errorf("a new leader told %s", w.told("shop/web"))
	}
	for range 40 {
		w.obey(0, "a", "b")
		w.cycle(t)
	}
	if got := w.total("shop/web"); got != 4 {
		t.Errorf("after its first minute it told %s", w.told("shop/web"))
	}
}

func TestWhatANodeSaysWrongHarmsNobody(t *testing.T) {
	for name, lie := range map[string]func(*fleet.Sample){
		"another name":      func(s *fleet.Sample) { s.Node = "b" },
		"no cores":          func(s *fleet.Sample) { s.CPUs = 0 },
		"negative workers":  func(s *fleet.Sample) { s.Services[0].Ready = -5 },
		"the same for ever": func(s *fleet.Sample) { s.At = 1 },
		"absurd load": func(s *fleet.Sample) {
			q := *s.Services[0].Requests
			q.Rate60, q.Rate10, q.Busy = -1, 1e300, 1e300
			s.Services[0].Requests = &q
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("a", "b", "c")
			w.services = []survey.Service{web("shop/web", nil), web("shop/api", nil)}
			for range 20 {
				w.obey(8, "a", "b", "c")
				w.cycle(t)
			}
			before := [2]int{w.total("shop/web"), w.total("shop/api")}
			for range 40 {
				w.obey(8, "a", "b", "c")
				s := w.samples["a"]
				if len(s.Services) > 0 {
					lie(&s)
				}
				at := s.At
				w.samples["a"] = s
				w.clock = w.clock.Add(5 * time.Second)
				for _, n := range []string{"b", "c"} {
					x := w.samples[n]
					x.At = w.clock.Unix()
					w.samples[n] = x
				}
				if at != 1 {
					s.At = w.clock.Unix()
					w.samples["a"] = s
				}
				c, err := w.Look(t.Context(), w.clock)
				if err == nil {
					err = w.Write(t.Context(), w, c)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			after := [2]int{w.total("shop/web"), w.total("shop/api")}
			for i := range after {
				if after[i] < before[i] || after[i] > 2*before[i] {
					t.Errorf("service %d: from %d to %d by the lie of one node", i, before[i], after[i])
				}
			}
		})
	}
}

func TestADeadNodesShareGoesElsewhere(t *testing.T) {
	w := newWorld("a", "b", "c")
	w.services = []survey.Service{web("shop/web", func(s *spec.Scale) { s.Strategy, s.Min = "noop", 6 })}
	w.obey(0, "a", "b", "c")
	w.cycle(t)
	w.obey(0, "a", "b", "c")
	w.cycle(t)
	w.monitors[0].Alive = false
	delete(w.samples, "a")
	for range 4 {
		w.obey(0, "b", "c")
		w.cycle(t)
	}
	got := map[string]int{}
	for _, x := range told(w.wants) {
		got[x.Node] += x.Count
	}
	if got["a"] != 0 || got["b"]+got["c"] != 6 {
		t.Errorf("told %v", got)
	}
}

func TestWhatCannotBeReadIsNeitherWrittenNorLowered(t *testing.T) {
	w := newWorld("a", "b")
	w.services = []survey.Service{web("shop/web", func(s *spec.Scale) { s.Strategy, s.Min = "noop", 4 })}
	w.obey(0, "a", "b")
	w.cycle(t)
	before := w.told("shop/web")
	old := w.wants["a"]
	delete(w.wants, "a")
	w.badWants = map[string]string{"svc/scale/want/a": "not a JSON document of svckit"}
	w.Planner = w.planner()
	w.order = nil
	c := w.cycle(t)
	if slices.Contains(w.order, "a") {
		t.Error("a wish that cannot be read was overwritten")
	}
	if c.Bad["svc/scale/want/a"] == "" || len(c.Alarms) == 0 {
		t.Errorf("nobody is told: %v %v", c.Bad, c.Alarms)
	}
	w.wants["a"], w.badWants = old, nil
	w.Planner = w.planner()
	w.broken = map[string]string{"shop/web": "release r1 is not a release"}
	w.services = nil
	w.cycle(t)
	_ = before
	if got := w.total("shop/web"); got < 4 {
		t.Errorf("a service whose release cannot be read was lowered: %s, before %s", w.told("shop/web"), before)
	}
}

func TestAWriterThatIsFencedStopsAndReadsAgain(t *testing.T) {
	w := newWorld("a", "b")
	w.services = []survey.Service{web("shop/web", nil)}
	w.obey(0, "a", "b")
	w.lost = true
	c, err := w.Look(t.Context(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), w, c); !errors.Is(err, errFenced) {
		t.Fatalf("got %v", err)
	}
	if len(w.wants) > 0 || len(w.statuses) > 0 {
		t.Error("something was written")
	}
	w.lost = false
	w.cycle(t)
	// Another leader wrote meanwhile: one conflict, then the cycle after reads what is there.
	other := w.wants["a"]
	w.index++
	other.Index, other.Gen = w.index, other.Gen+5
	w.wants["a"] = other
	w.services[0].Spec.Scale.Min = 10
	w.obey(0, "a", "b")
	w.cycle(t)
	w.obey(0, "a", "b")
	w.cycle(t)
	if got := w.total("shop/web"); got != 10 {
		t.Errorf("told %s", w.told("shop/web"))
	}
	if w.wants["a"].Gen <= other.Gen {
		t.Error("generations went backwards")
	}
}

func TestAlarmsBeginAndEnd(t *testing.T) {
	x, y := Alarm{Service: "shop/web", Code: scale.AlarmStuck}, Alarm{Service: "shop/api", Code: scale.AlarmStuck}
	began, ended := Changed([]Alarm{x}, []Alarm{y})
	if !slices.Equal(began, []Alarm{y}) || !slices.Equal(ended, []Alarm{x}) {
		t.Errorf("began %v, ended %v", began, ended)
	}
	y.Words = "3 missing"
	if began, ended := Changed([]Alarm{y}, []Alarm{{Service: "shop/api", Code: scale.AlarmStuck, Words: "2 missing"}}); len(began)+len(ended) > 0 {
		t.Error("one that goes on began or ended")
	}
}
