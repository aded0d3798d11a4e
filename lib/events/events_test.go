package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func instance(id, health string, weight int) Fact {
	return Fact{Kind: OfInstance, ID: "node1/" + id, App: "shop", Service: "web", Node: "node1", Zone: "a", Index: 7, About: About{Instance: &Instance{
		Name: "shop-web", Address: "10.0.0.1", Port: 20000, Weight: weight, Health: health,
	}}}
}

func current(release string) Fact {
	return Fact{Kind: OfCurrent, ID: "shop/web", App: "shop", Service: "web", Key: "svc/apps/shop/current", About: About{Current: &Current{Release: release}}}
}

func freeze(until time.Time) Fact {
	return Fact{Kind: OfFreeze, ID: "all", Key: "svc/scale/ctl/freeze", About: About{Freeze: &Freeze{Scope: "all", Mode: "no-down", Until: until}}}
}

func broken(key string) Fact {
	return Fact{Kind: Unreadable, ID: key, Key: key, About: About{Bad: &Bad{Why: "not a JSON document of svckit"}}}
}

func scaled(size int, alarms []string, decisions ...Decision) Fact {
	return Fact{Kind: OfScaling, ID: "shop/web", App: "shop", Service: "web", About: About{Scaling: &Scaling{Size: size, Alarms: alarms, Decisions: decisions}}}
}

func decision(minute, from, size int) Decision {
	return Decision{At: noon.Add(time.Duration(minute) * time.Minute), From: from, Size: size, Words: fmt.Sprintf("demand %d", size)}
}

// words is one event in a line.
func words(e Event) string {
	text := strings.TrimSpace(fmt.Sprintf("%s %s %s %s>%s", e.Kind, e.What, e.Subject, e.From, e.To))
	for _, c := range e.Changes {
		text += fmt.Sprintf(" %s:%s>%s", c.Field, c.From, c.To)
	}
	return text
}

func all(list []Event) (out []string) {
	for _, e := range list {
		out = append(out, words(e))
	}
	return out
}

func TestWhatLeadsFromOneLookToTheNextIsTold(t *testing.T) {
	for _, row := range []struct {
		name      string
		old, next []Fact
		want      []string
	}{
		{"nothing", []Fact{instance("a", "passing", 1)}, []Fact{instance("a", "passing", 1)}, nil},
		{"a new one", nil, []Fact{instance("a", "passing", 1)}, []string{"instance new node1/a >"}},
		{"one that is gone comes after one that is new", []Fact{instance("a", "passing", 1)}, []Fact{instance("b", "passing", 1)}, []string{"instance new node1/b >", "instance gone node1/a >"}},
		{"health and weight at once", []Fact{instance("a", "passing", 1)}, []Fact{instance("a", "critical", 4)}, []string{"instance changed node1/a > weight:1>4", "health changed node1/a passing>critical"}},
		{"a release that is promoted", []Fact{current("v1")}, []Fact{current("v2")}, []string{"current changed shop/web v1>v2 release:v1>v2"}},
		{"a value that cannot be read keeps what it said", []Fact{current("v1")}, []Fact{broken("svc/apps/shop/current")}, []string{"unreadable new svc/apps/shop/current >"}},
		{
			"decisions that were taken back meanwhile",
			[]Fact{scaled(2, nil, decision(1, 1, 2))},
			[]Fact{scaled(2, nil, decision(5, 8, 2), decision(3, 2, 8), decision(1, 1, 2))},
			[]string{"scaling decided shop/web 2>8 at:>2026-05-04T12:03:00Z", "scaling decided shop/web 8>2 at:>2026-05-04T12:05:00Z"},
		},
		{"a size without a decision that is kept", []Fact{scaled(2, nil)}, []Fact{scaled(5, nil)}, []string{"scaling changed shop/web 2>5"}},
		{"alarms that begin and end", []Fact{scaled(2, []string{"blind"})}, []Fact{scaled(2, []string{"stuck"})}, []string{"scaling alarm shop/web >", "scaling alarm-over shop/web >"}},
		{"a freeze that is over is gone", []Fact{freeze(noon)}, []Fact{freeze(noon)}, []string{"freeze gone all >"}},
		{"a freeze that was over before it was seen", nil, []Fact{freeze(noon.Add(-time.Hour))}, nil},
		{"kinds in their order", nil, []Fact{instance("a", "passing", 1), current("v1"), freeze(noon.Add(time.Hour))}, []string{"freeze new all >", "current new shop/web >v1", "instance new node1/a >"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, told := Between(row.old, row.next, noon)
			if got := all(told); !slices.Equal(got, row.want) {
				t.Errorf("told %q\nwant %q", got, row.want)
			}
		})
	}
}

func TestAValueThatIsMendedGoesOnFromWhatItSaidBefore(t *testing.T) {
	holds, _ := Between(nil, []Fact{current("v1")}, noon)
	holds, _ = Between(holds, []Fact{broken("svc/apps/shop/current")}, noon)
	_, told := Between(holds, []Fact{current("v2")}, noon)
	want := []string{"unreadable gone svc/apps/shop/current >", "current changed shop/web v1>v2 release:v1>v2"}
	if got := all(told); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestOrderOfFactsDoesNotMatter(t *testing.T) {
	next := []Fact{instance("a", "passing", 1), instance("b", "critical", 1), current("v2"), scaled(3, nil, decision(2, 2, 3))}
	old := []Fact{current("v1"), instance("c", "passing", 1)}
	_, want := Between(old, next, noon)
	slices.Reverse(next)
	slices.Reverse(old)
	if _, got := Between(old, next, noon); !slices.Equal(all(got), all(want)) {
		t.Errorf("told %q, and in another order %q", all(want), all(got))
	}
}

func TestTheSameChangeHasTheSameIDAndALaterOneAnother(t *testing.T) {
	one, two := instance("a", "critical", 1), instance("a", "critical", 1)
	two.Index = 9
	id := func(f Fact) string {
		_, told := Between([]Fact{instance("a", "passing", 1)}, []Fact{f}, noon)
		return told[0].ID
	}
	first, again, later := id(one), id(one), id(two)
	if first != again || first == later || first == "" {
		t.Errorf("ids %q, %q and %q", first, again, later)
	}
}

func TestAStreamGoesOnFromItsPoint(t *testing.T) {
	of := Of{Datacenter: "dc1", Prefix: "svc"}
	s := Begin(Filter{})
	first := s.Take(ServicePart("shop-web"), 7, []Fact{instance("a", "passing", 1), instance("b", "passing", 1)}, noon)
	if len(first) != 2 || !first[0].Initial {
		t.Fatalf("told %+v at first, want two initial ones", first)
	}
	point, err := s.Save(of, noon)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Resume(point, of, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if got := next.Services(); !slices.Equal(got, []string{"shop-web"}) || next.Indexes()["service shop-web"] != 7 {
		t.Errorf("knows %q at %v", got, next.Indexes())
	}
	told := next.Take(ServicePart("shop-web"), 8, []Fact{instance("b", "critical", 1), instance("c", "passing", 1)}, noon)
	want := []string{"instance new node1/c >", "instance gone node1/a >", "health changed node1/b passing>critical"}
	if got := all(told); !slices.Equal(got, want) || told[0].Initial {
		t.Errorf("told %q, want %q and none initial", got, want)
	}
}

func TestAPointThatIsNoneIsRefused(t *testing.T) {
	of := Of{Datacenter: "dc1", Prefix: "svc"}
	s := Begin(Filter{})
	s.Take(ServicePart("shop-web"), 7, []Fact{instance("a", "passing", 1)}, noon)
	point, err := s.Save(of, noon)
	if err != nil {
		t.Fatal(err)
	}
	lying := Begin(Filter{})
	lying.parts["service x"] = part{Facts: []Fact{{Kind: OfInstance, ID: "x", About: About{Bad: &Bad{}}}}}
	wrong, err := lying.Save(of, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		text []byte
		of   Of
		kind fault.Kind
	}{
		{"nothing", nil, of, fault.Invalid},
		{"half of it", point[:len(point)/2], of, fault.Invalid},
		{"a byte that changed", []byte(strings.Replace(string(point), "passing", "passinG", 1)), of, fault.Invalid},
		{"a fact that is about something else", wrong, of, fault.Invalid},
		{"another datacenter's", point, Of{Datacenter: "dc2", Prefix: "svc"}, fault.Usage},
		{"another app's", point, Of{Datacenter: "dc1", Prefix: "svc", App: "shop"}, fault.Usage},
	} {
		if _, err := Resume(row.text, row.of, Filter{}); fault.KindOf(err) != row.kind {
			t.Errorf("%s: %v, want a fault of kind %v", row.name, err, row.kind)
		}
	}
}

func TestTroubleIsToldOnceAndTakesNothingBack(t *testing.T) {
	s := Begin(Filter{})
	s.Take("service a", 1, []Fact{instance("a", "passing", 1)}, noon)
	var told []Event
	for _, part := range []string{"service a", Freezes, "service a"} {
		told = append(told, s.Trouble(part, true, "connection refused", noon)...)
	}
	told = append(told, s.Take("service a", 2, []Fact{instance("a", "passing", 1)}, noon)...)
	told = append(told, s.Take(Freezes, 2, nil, noon)...)
	told = append(told, s.Trouble(Pools, false, "not allowed", noon)...)
	told = append(told, s.Trouble(Pools, false, "not allowed", noon)...)
	told = append(told, s.Take(Pools, 2, nil, noon)...)
	want := []string{"stream away consul >", "stream back consul >", "stream refused pools >", "stream allowed pools >"}
	if got := all(told); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestAFreezeEndsWhenItsTimeHasCome(t *testing.T) {
	s := Begin(Filter{})
	s.Take(Freezes, 1, []Fact{freeze(noon.Add(time.Minute))}, noon)
	if due := s.Due(); !due.Equal(noon.Add(time.Minute)) {
		t.Errorf("due at %s", due)
	}
	if early := s.Tick(noon); len(early) > 0 {
		t.Errorf("told %q too early", all(early))
	}
	told := s.Tick(noon.Add(time.Minute))
	if len(told) != 1 || told[0].What != Gone || told[0].Why != "its end has come" || !s.Due().IsZero() {
		t.Errorf("told %+v, due %s", told, s.Due())
	}
	if again := s.Take(Freezes, 1, []Fact{freeze(noon.Add(time.Minute))}, noon.Add(2*time.Minute)); len(again) > 0 {
		t.Errorf("told %q again", all(again))
	}
}

func TestAFilterTakesWhatItNames(t *testing.T) {
	e := Event{Kind: OfInstance, App: "shop", Service: "web", Zone: "a"}
	for _, row := range []struct {
		name string
		f    Filter
		e    Event
		want bool
	}{
		{"all", Filter{}, e, true},
		{"its app", Filter{App: "shop"}, e, true},
		{"another app", Filter{App: "blog"}, e, false},
		{"another service", Filter{App: "shop", Service: "queue"}, e, false},
		{"another zone", Filter{Zone: "b"}, e, false},
		{"its kind", Filter{Kinds: []Kind{OfHealth, OfInstance}}, e, true},
		{"another kind", Filter{Kinds: []Kind{OfHealth}}, e, false},
		{"a freeze of everything", Filter{App: "shop", Zone: "b"}, Event{Kind: OfFreeze}, true},
		{"the stream", Filter{App: "shop", Kinds: []Kind{OfHealth}}, Event{Kind: OfStream}, true},
	} {
		if got := row.f.Takes(row.e); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

func FuzzResume(f *testing.F) {
	of := Of{Datacenter: "dc1", Prefix: "svc"}
	s := Begin(Filter{})
	s.Take("service a", 1, []Fact{instance("a", "passing", 1), current("v1"), scaled(1, nil, decision(1, 1, 2))}, noon)
	point, err := s.Save(of, noon)
	if err != nil {
		f.Fatal(err)
	}
	var outer struct{ Body json.RawMessage }
	if err := json.Unmarshal(point, &outer); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(outer.Body))
	f.Add([]byte(`{"datacenter":"dc1","prefix":"svc","parts":{"freezes":{"index":1,"facts":[]}}}`))
	f.Fuzz(func(t *testing.T, inner []byte) {
		if !json.Valid(inner) {
			return
		}
		var short bytes.Buffer // as it lies in the outer document
		if err := json.Compact(&short, inner); err != nil {
			return
		}
		sum := sha256.Sum256(short.Bytes())
		s, err := Resume(fmt.Appendf(nil, `{"schema":1,"sha256":"%x","body":%s}`, sum, short.Bytes()), of, Filter{})
		if err != nil {
			return
		}
		for name := range s.parts {
			s.Take(name, 2, []Fact{instance("b", "passing", 1)}, noon)
		}
		if _, err := s.Save(of, noon); err != nil {
			t.Errorf("a point that was read cannot be kept: %v", err)
		}
	})
}
