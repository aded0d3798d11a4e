package planner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/place"
	"svckit/lib/scale"
)

const noon = 1_700_000_000

// service is a web service under so many requests a second of 0.2 s each.
func service(name, pool string, rps float64, ready int) Service {
	return Service{
		Name: name,
		Policy: scale.Policy{
			Strategy: scale.BusyRatio, Wait: 0.01, WaitOver: 100 * time.Millisecond, Min: 1, StartUp: 15 * time.Second,
			Down: scale.Down{After: 5 * time.Minute, Step: 0.15}, OnBlind: scale.BlindHold, Survive: "node", MinNodes: 2, Pool: pool, Tick: scale.DefaultTick,
			Signals: []string{"requests"},
		},
		Shape: Shape{Unit: "workers", Spread: place.Balanced, CPU: 500, Memory: 256 << 20},
		Seen: Seen{Ready: ready, Signals: []scale.Signal{{
			Name: "requests", At: noon, Coverage: 1,
			Load: &scale.Load{Rate10: rps, Rate60: rps, Done10: rps, Done60: rps, Busy: rps * 0.2, Busy10: rps * 0.2, Busy60: rps * 0.2},
		}}},
	}
}

// small is a fleet of two pools, a free node, and three services.
func small() Snapshot {
	s := Snapshot{
		Schema: Schema, At: noon,
		Pools: []place.Pool{{Name: "web"}, {Name: "vip", Class: place.VIP, Loans: 1}, {Name: "free", Class: place.Free}},
		Services: []Service{
			service("shop/web", "web", 40, 0), service("blog/web", "web", 10, 0), service("live/web", "vip", 60, 0),
		},
	}
	s.Services[2].Policy.VIP = true
	for i := range 6 {
		s.Nodes = append(s.Nodes, Node{Host: place.Host{
			Name: fmt.Sprintf("n%d", i), Zone: []string{"a", "b"}[i%2], Pool: []string{"web", "web", "web", "vip", "vip", "free"}[i],
			CPU: 16_000, Memory: 64 << 30, Alive: true,
		}})
	}
	return s
}

// settled is the small fleet after some passes.
func settled(t testing.TB) Snapshot {
	t.Helper()
	s := small()
	for range 3 {
		s = After(s, Decide(s))
		s.At += 5
		for i := range s.Services {
			s.Services[i].Seen.Signals[0].At = s.At
			s.Services[i].Seen.Ready = count(s, s.Services[i].Name)
		}
	}
	return s
}

func count(s Snapshot, name string) (n int) {
	for _, x := range s.Placed {
		if x.Name == name {
			n += x.Count
		}
	}
	return n
}

func total(t testing.TB, p Plan, name string) int {
	t.Helper()
	for _, x := range p.Place.Services {
		if x.Name == name {
			return x.Total
		}
	}
	t.Fatalf("no %s in the plan", name)
	return 0
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestASettledFleetStaysAsItIs(t *testing.T) {
	s := settled(t)
	p := Decide(s)
	if len(p.Place.Waves) > 0 || len(p.Place.Loans) > 0 || len(p.Place.Short) > 0 || len(p.Held) > 0 {
		t.Errorf("%s", encode(t, p.Place))
	}
	for _, x := range p.Services {
		if n := total(t, p, x.Name); n < x.Decision.Size || x.Decision.Size == 0 {
			t.Errorf("%s has %d of %d", x.Name, n, x.Decision.Size)
		}
	}
}

func TestASnapshotThatWasSavedGivesTheSamePlan(t *testing.T) {
	s := settled(t)
	s.Services[0].Seen.Signals[0].Load.Rate10 *= 3
	s.Nodes[1].Alive = false
	read, err := Decode(encode(t, s))
	if err != nil || len(read.Unreadable) > 0 {
		t.Fatalf("%v %v", err, read.Unreadable)
	}
	if a, b := encode(t, Decide(s)), encode(t, Decide(read)); !bytes.Equal(a, b) {
		t.Errorf("before\n%s\nafter\n%s", a, b)
	}
	slices.Reverse(read.Services)
	slices.Reverse(read.Nodes)
	slices.Reverse(read.Placed)
	slices.Reverse(read.Pools)
	if a, b := encode(t, Decide(s)), encode(t, Decide(read)); !bytes.Equal(a, b) {
		t.Errorf("the order of the snapshot matters:\n%s\n%s", a, b)
	}
}

func TestEveryLineOfTheJournalReplaysBitForBit(t *testing.T) {
	s := small()
	lines := 0
	for tick := range 40 {
		p := Decide(s)
		text, err := Lines(s, p, true)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			lines++
			again, err := Replay(line)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(line, again) {
				t.Fatalf("tick %d\n%s%s", tick, line, again)
			}
		}
		s = After(s, p)
		s.At += 5
		for i := range s.Services {
			rps := 20 + 15*float64((tick*7+i*5)%11)/3
			v := service(s.Services[i].Name, "", rps, count(s, s.Services[i].Name))
			v.Seen.Signals[0].At = s.At
			s.Services[i].Seen = v.Seen
		}
		s.Nodes[tick%5].Alive = tick%3 > 0
	}
	if lines != 40*4 {
		t.Errorf("%d lines", lines)
	}
}

func TestOnlyLinesThatSaySomethingAreWritten(t *testing.T) {
	s := settled(t)
	if text, err := Lines(s, Decide(s), false); err != nil || len(text) > 0 {
		t.Errorf("%s %v", text, err)
	}
	s.Services[1].Seen.Signals[0].Load.Rate10, s.Services[1].Seen.Signals[0].Load.Rate60 = 50, 50
	text, err := Lines(s, Decide(s), false)
	if err != nil || bytes.Count(text, []byte("\n")) != 2 || !bytes.Contains(text, []byte(`"kind":"size"`)) || !bytes.Contains(text, []byte(`"kind":"place"`)) {
		t.Errorf("%s %v", text, err)
	}
}

func TestAMissingSignalLowersNothing(t *testing.T) {
	s := settled(t)
	want := Decide(s)
	for tick := range 200 {
		s.At += 5
		p := Decide(s)
		for _, x := range want.Place.Services {
			if n := total(t, p, x.Name); n < x.Total {
				t.Fatalf("after %d ticks without signals %s fell from %d to %d", tick, x.Name, x.Total, n)
			}
		}
		s = After(s, p)
	}
}

func TestAVIPServiceBorrowsInTheSamePassThatRaisesIt(t *testing.T) {
	s := settled(t)
	l := s.Services[2].Seen.Signals[0].Load
	l.Rate10, l.Rate60, l.Busy, l.Busy10, l.Busy60 = 180, 180, 36, 36, 36
	p := Decide(s)
	if len(p.Place.Loans) != 1 || p.Place.Loans[0].Kind != place.Borrow || p.Place.Loans[0].Node != "n5" {
		t.Fatalf("loans %+v", p.Place.Loans)
	}
	if n := total(t, p, "live/web"); n < 37 {
		t.Errorf("live/web gets %d workers for 36 Erlangs: %+v", n, p.Place.Short)
	}
}

func TestFreezesHoldSizesAndPlaces(t *testing.T) {
	for _, row := range []struct {
		name   string
		freeze Freeze
		held   []string
	}{
		{"a service", Freeze{"service", "shop/web", scale.Freeze{Mode: scale.NoChange, Who: "ann", Why: "sale"}}, []string{"shop/web: frozen by ann: sale"}},
		{"a pool", Freeze{"pool", "vip", scale.Freeze{Mode: scale.NoChange}}, []string{"live/web: frozen"}},
		{"everything", Freeze{"all", "", scale.Freeze{Mode: scale.Observe, Why: "trial"}}, []string{"blog/web: observed only: trial", "live/web: observed only: trial", "shop/web: observed only: trial"}},
		{"one that is over", Freeze{"all", "", scale.Freeze{Mode: scale.NoChange, Until: noon}}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := settled(t)
			s.Freezes = []Freeze{row.freeze}
			for i := range s.Services {
				l := s.Services[i].Seen.Signals[0].Load
				l.Rate10, l.Rate60 = 4*l.Rate10, 4*l.Rate60
			}
			p := Decide(s)
			var held []string
			for _, h := range p.Held {
				held = append(held, h.Name+": "+h.Reason)
				if n := total(t, p, h.Name); n != count(s, h.Name) {
					t.Errorf("%s changes to %d", h.Name, n)
				}
			}
			if !slices.Equal(held, row.held) {
				t.Errorf("held %q, expected %q", held, row.held)
			}
		})
	}
}

func TestACutInTheNetworkPlacesNothingAnew(t *testing.T) {
	s := settled(t)
	for i := range 8 {
		s.Nodes = append(s.Nodes, Node{Host: place.Host{Name: fmt.Sprintf("w%d", i), Zone: "a", Pool: "web", CPU: 16_000, Memory: 64 << 30, Alive: i > 4}})
	}
	s.Nodes[0].Alive = false
	p := Decide(s)
	if len(p.Held) != 2 || !strings.Contains(p.Held[0].Reason, "6 of 11 nodes of pool web are gone at once") {
		t.Errorf("held %+v", p.Held)
	}
	if len(p.Place.Waves) > 0 {
		t.Errorf("waves %+v", p.Place.Waves)
	}
}

func TestWhatCannotBeReadIsNamedAndNothingIsLoweredForIt(t *testing.T) {
	s := settled(t)
	for _, row := range []struct {
		name, old, new string
		want           string // place, name and reason
		held           []string
	}{
		{"an unknown key", `"name":"blog/web","policy":{`, `"name":"blog/web","policy":{"mni":1,`, `services[1] blog/web: unknown field "mni"`, []string{"blog/web: cannot be read"}},
		{"a wrong type", `"name":"blog/web","policy":{`, `"name":"blog/web","policy":{"min":"two",`, `services[1] blog/web: policy.min: expected a whole number, got string`, []string{"blog/web: cannot be read"}},
		{"a value out of bounds", `"name":"shop/web","policy":{"strategy":"busy_ratio"`, `"name":"shop/web","policy":{"strategy":"busy_ratio","max":200000`, `services[0] shop/web: policy.max: expected 0 to 100000, got 200000`, []string{"shop/web: cannot be read"}},
		{"a strategy that is none", `"name":"shop/web","policy":{"strategy":"busy_ratio"`, `"name":"shop/web","policy":{"strategy":"magic"`, `services[0] shop/web: policy.strategy: expected one of [noop busy_ratio rps_ratio queue], got "magic"`, []string{"shop/web: cannot be read"}},
		{"a name without an app", `"name":"shop/web","policy"`, `"name":"shopweb","policy"`, `services[0] shopweb: name: expected APP/SERVICE, got "shopweb"`, []string{"shopweb: cannot be read"}},
		{"a service twice", `"name":"blog/web","policy"`, `"name":"shop/web","policy"`, `services[1] shop/web: the name is there twice`, nil},
		{"a node without alive", `"pool":"web","cpu":16000,"memory":68719476736,"alive":true`, `"pool":"web","cpu":16000,"memory":68719476736`, `nodes[0] n0: alive is missing`, []string{"blog/web: runs on n0, which cannot be read", "shop/web: runs on n0, which cannot be read"}},
		{"a negative count", `"node":"n0","count":`, `"node":"n0","count":-`, `placed[0] blog/web: count: expected 0 to 100000, got -`, []string{"blog/web: what is placed of it cannot be read"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := strings.Replace(string(encode(t, s)), row.old, row.new, 1)
			if text == string(encode(t, s)) {
				t.Fatal("nothing was broken")
			}
			read, err := Decode([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(read.Unreadable) != 1 {
				t.Fatalf("unreadable %+v", read.Unreadable)
			}
			u := read.Unreadable[0]
			if got := u.Place + " " + u.Name + ": " + u.Reason; !strings.HasPrefix(got, row.want) {
				t.Errorf("got %s, expected %s", got, row.want)
			}
			p := Decide(read)
			var held []string
			for _, h := range p.Held {
				held = append(held, h.Name+": "+h.Reason)
			}
			if !slices.Equal(held, row.held) {
				t.Errorf("held %q, expected %q", held, row.held)
			}
			for _, w := range p.Place.Waves {
				for _, x := range w {
					if x.To < x.From {
						t.Errorf("lowers %+v", x)
					}
				}
			}
		})
	}
}

func TestAnUnreadableFreezeFreezesLowering(t *testing.T) {
	s := settled(t)
	text := strings.Replace(string(encode(t, s)), `"placed":`, `"freezes":[{"scope":"everything"}],"placed":`, 1)
	read, err := Decode([]byte(text))
	if err != nil || len(read.Freezes) != 1 || read.Freezes[0].Mode != scale.NoDown || read.Freezes[0].Scope != "all" {
		t.Errorf("%+v %v", read.Freezes, err)
	}
}

func TestWhatIsNoSnapshotIsRefusedWithItsLine(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "", "read snapshot: it ends in the middle"},
		{"half of one", `{"schema":1,"at":`, "read snapshot: it ends in the middle"},
		{"broken JSON", "{\"schema\":1,\n\"at\":5,\n}", "read snapshot: line 3: invalid character '}' looking for beginning of object key string"},
		{"no schema", `{"at":5}`, "read snapshot: schema is missing, expected 1"},
		{"another schema", `{"schema":2,"at":5}`, "read snapshot: schema 2, expected 1"},
		{"no time", `{"schema":1}`, "read snapshot: at: expected unix seconds, got 0"},
		{"an unknown key", `{"schema":1,"at":5,"node":[]}`, `read snapshot: unknown field "node"`},
		{"a wrong type", "{\"schema\":1,\n\"at\":\"now\"}", "read snapshot: line 2: at: expected a whole number, got string"},
		{"two documents", `{"schema":1,"at":5}{}`, "read snapshot: expected nothing after the document"},
		{"rules out of bounds", `{"schema":1,"at":5,"rules":{"skew":0.5}}`, "read snapshot: rules: skew: expected 1 to 100, got 0.5"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Decode([]byte(row.text))
			if fault.KindOf(err) != fault.Invalid || err.Error() != row.want {
				t.Errorf("got %v\nwant %s", err, row.want)
			}
		})
	}
}

func TestReplayRefusesWhatIsNoLine(t *testing.T) {
	for _, line := range []string{"", "{}", `{"schema":1,"kind":"size","at":1}`, `{"schema":1,"kind":"place","at":1}`, `{"schema":9,"kind":"size","at":1}`} {
		if _, err := Replay([]byte(line)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzDecodeNeverPanicsAndWhatItReadsCanBeDecided(f *testing.F) {
	s := settled(f)
	f.Add(encode(f, s))
	f.Add([]byte(`{"schema":1,"at":5,"services":[{"name":"a/b"}],"nodes":[{"name":"n"}],"placed":[{"name":"a/b","node":"n","count":3}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		if len(text) > 100_000 {
			return
		}
		for _, d := range s.Services {
			if d.Policy.Max > 2000 || d.Policy.Min > 2000 || d.State.Size > 2000 {
				return // right, and slow to place by the thousand in a fuzz test
			}
		}
		p := Decide(s)
		if a, b := encode(t, p), encode(t, Decide(s)); !bytes.Equal(a, b) {
			t.Fatalf("two plans:\n%s\n%s", a, b)
		}
	})
}
