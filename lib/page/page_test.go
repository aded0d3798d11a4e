package page

import (
	"math"
	"strings"
	"testing"
	"time"
)

func view() View {
	now := time.Unix(1_790_000_600, 0)
	s := Service{
		Name: "shop/web", Pool: "production", Words: "4 to 9 workers: signal requests", Size: 9, Ready: 7, Wish: 9, Demand: 6.2,
		Nodes: []Seat{{"a", 5}, {"b", 4}}, Events: []Event{{now.Add(-time.Minute), 4, 9, "raise", "more <b>load</b>"}},
		Proposals: []Proposal{{"signal requests", "9", "the demand of the last minute"}},
	}
	for k := range int64(100) {
		s.Points = append(s.Points, Point{At: now.Unix() - 500 + 5*k, Size: 4 + int(k)/20, Ready: 4 + int(k)/25, Demand: float64(k) / 16})
	}
	return View{
		Title: "scaled", At: now.Add(-3 * time.Second), Now: now, Leading: true, Took: "12 ms",
		Alarms: []Alarm{{"shop/web", "stuck", "2026-09-21", `3 missing on "b" <script>alert(1)</script>`}},
		Frozen: []Frozen{{"everything", "no-down", "until 12:00", "ana", "sale"}}, Services: []Service{s, {Name: "blog/web", Held: "frozen"}},
		Pools: []Pool{{"production", "production", []Node{{"a", "z1", "alive", false, "42 %", 3}, {"b", "z2", "silent", true, "", 2}}}, {Name: "empty", Class: "free"}},
	}
}

func draw(t *testing.T, v View) string {
	t.Helper()
	var b strings.Builder
	if err := Draw(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheFleetIsShown(t *testing.T) {
	got := draw(t, view())
	for _, want := range []string{
		"This planner leads", "Last cycle 3 s ago, took 12 ms", `<a href="/service/shop/web">shop/web</a>`, "held: frozen", "Frozen: everything", "until 12:00, by ana: sale",
		`<td class="bad">silent</td>`, "no node", "42 %", `class="spark"`, `<html lang="en">`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(got, "<script>alert") || strings.Contains(got, "ZgotmplZ") {
		t.Error("a text of others is not escaped, or one of ours is refused")
	}
}

func TestAServiceIsShown(t *testing.T) {
	v := view()
	v.One = &v.Services[0]
	got := draw(t, v)
	for _, want := range []string{
		`<a href="/">scaled</a> / shop/web`, "(7 ready)", `class="chart"`, `role="img"`, "size from 4 to 8, demand from 0.0 to 6.2 Erlangs", "a: 5", "the demand of the last minute",
		"more &lt;b&gt;load&lt;/b&gt;", "2026-09-21 14:22:20 UTC",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(got, "<b>load</b>") {
		t.Error("a decision's words are not escaped")
	}
}

func TestWithoutALeaderThePageSaysSo(t *testing.T) {
	got := draw(t, View{Title: "scaled", Now: time.Unix(1, 0), Failed: "consul does not answer"})
	for _, want := range []string{"Nobody leads", "No cycle yet", "The last cycle failed:</b> consul does not answer", "no service has a scale section"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

func TestCurvesStayInTheirFrame(t *testing.T) {
	points := []Point{{At: 0, Size: 1}, {At: 10, Size: 3, Demand: math.NaN()}, {At: 20, Size: 2, Demand: math.Inf(1)}}
	f := frame{from: 0, to: 20, top: highest(points), left: 0, bottom: 100, width: 200, height: 100}
	if f.top != 5 {
		t.Errorf("top %g", f.top)
	}
	if got := f.path(points, lines()[2]); got != "M0.0 80.0H100.0V40.0H200.0V60.0" {
		t.Errorf("steps %s", got)
	}
	if got := f.path(points, lines()[0]); got != "M0.0 100.0L200.0 0.0" {
		t.Errorf("a curve with holes %s", got)
	}
	if Chart(Service{}, 100, 100) == "" || Spark(Service{}, 10, 10) != "" {
		t.Error("without points there is a word, and no spark")
	}
}
