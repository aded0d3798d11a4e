package deploy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday

func image(digit string) string { return "r/shop@sha256:" + strings.Repeat(digit, 64) }

// wanted is a deploy of r2 on nodes "name zone", from r1.
func wanted(how string, nodes ...string) Wanted {
	w := Wanted{
		App: "shop", Release: "r2", Image: image("2"), Services: []string{"web"}, Run: "run1", Holder: "ann@ci", How: spec.DefaultDeploy(),
		Stable: map[string]Aim{"web": {"r1", image("1")}}, Nodes: map[string]string{},
	}
	for _, n := range nodes {
		name, zone, _ := strings.Cut(n, " ")
		w.Nodes[name] = zone
	}
	for part := range strings.FieldsSeq(how) {
		key, value, _ := strings.Cut(part, "=")
		share, _ := spec.ParseShare(value)
		switch key {
		case "batch":
			w.How.Batch = share
		case "canary":
			w.How.Canary = share.Count
		case "floor":
			w.How.Floor = share
		case "tight":
			w.Tight = []string{value}
		}
	}
	return w
}

func numbered(n int, zones ...string) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("n%d %s", i+1, zones[i%len(zones)]))
	}
	return out
}

func TestACanaryGoesFirstAndBatchesKeepToOneZone(t *testing.T) {
	for _, row := range []struct {
		name, how string
		nodes     []string
		want      string
	}{
		{"four nodes, a quarter each", "batch=25%", numbered(4, ""), "n1 | n2 | n3 | n4"},
		{"half of four", "batch=50%", numbered(4, ""), "n1 | n2 n3 | n4"},
		{"two of five, no canary", "batch=2 canary=0", numbered(5, ""), "n1 n2 | n3 n4 | n5"},
		{"all at once", "batch=100% canary=0", numbered(3, ""), "n1 n2 n3"},
		{"all at once, in two zones", "batch=100% canary=0", numbered(4, "a", "b"), "n1 n3 | n2 n4"},
		{"a canary and two zones", "batch=2", numbered(6, "b", "a"), "n2 | n4 n6 | n1 n3 | n5"},
		{"more canaries than a batch holds", "batch=1 canary=2", numbered(3, ""), "n1 | n2 | n3"},
		{"a canary alone", "", numbered(1, ""), "n1"},
		{"stops first: half must stay", "batch=100% canary=0 tight=web floor=50%", numbered(4, ""), "n1 n2 | n3 n4"},
		{"stops first: most must stay", "batch=100% canary=0 tight=web floor=75%", numbered(4, ""), "n1 | n2 | n3 | n4"},
		{"stops first, on one node", "tight=web floor=100%", numbered(1, ""), "n1"},
		{"stops first, all must stay: one after the other", "batch=100% canary=0 tight=web floor=100%", numbered(2, ""), "n1 | n2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := Plan(wanted(row.how, row.nodes...), noon)
			var got []string
			for _, b := range s.Batches {
				got = append(got, strings.Join(b, " "))
			}
			if strings.Join(got, " | ") != row.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " | "), row.want)
			}
		})
	}
}

func TestAPlanSaysWhatIsWorthKnowing(t *testing.T) {
	w := wanted("batch=100% canary=0 tight=web", numbered(4, "")...)
	w.Stable = nil
	_, notes := Plan(w, noon)
	want := []string{
		"batches of 2 instead of 4: web stops before it starts, and 2 nodes must go on serving",
		"web has no stable release: if this deploy fails, there is nothing to go back to",
	}
	if !reflect.DeepEqual(notes, want) {
		t.Errorf("got %q", notes)
	}
}

func TestADeployBeginsInItsWindowsOnly(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	local := func(zone string, at time.Time) (time.Time, bool) {
		switch zone {
		case "UTC":
			return at.UTC(), true
		case "Europe/Berlin":
			return at.In(berlin), true
		}
		return at, false
	}
	work := spec.Window{Days: []string{"mon", "thu"}, From: "09:00", To: "17:00", Zone: "Europe/Berlin"}
	night := spec.Window{Days: []string{"sun"}, From: "22:00", To: "02:00", Zone: "UTC"}
	for _, row := range []struct {
		name    string
		windows []spec.Window
		at      time.Time
		want    string // "" is open
	}{
		{"no windows", nil, noon, ""},
		{"in it", []spec.Window{work}, noon, ""},
		{"its first minute, by its own zone", []spec.Window{work}, time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), ""},
		{"a minute before", []spec.Window{work}, time.Date(2026, 3, 2, 7, 59, 0, 0, time.UTC), "it is Mon 07:59 UTC, and deploys may begin mon, thu from 09:00 to 17:00 Europe/Berlin"},
		{"its end is out", []spec.Window{work}, time.Date(2026, 3, 2, 16, 0, 0, 0, time.UTC), "it is Mon 16:00 UTC, and deploys may begin mon, thu from 09:00 to 17:00 Europe/Berlin"},
		{"another day", []spec.Window{work}, noon.AddDate(0, 0, 1), "it is Tue 12:00 UTC, and deploys may begin mon, thu from 09:00 to 17:00 Europe/Berlin"},
		{"over midnight, before it", []spec.Window{night}, time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC), ""},
		{"over midnight, after it", []spec.Window{night}, time.Date(2026, 3, 2, 1, 59, 0, 0, time.UTC), ""},
		{"over midnight, the night after", []spec.Window{night}, time.Date(2026, 3, 2, 23, 0, 0, 0, time.UTC), "it is Mon 23:00 UTC, and deploys may begin sun from 22:00 to 02:00 UTC"},
		{"one of two", []spec.Window{night, work}, noon, ""},
		{
			"a zone that is not known is never open",
			[]spec.Window{{From: "00:00", To: "23:59", Zone: "Mars/Base"}},
			noon,
			"it is Mon 12:00 UTC, and deploys may begin every day from 00:00 to 23:59 Mars/Base (this machine does not know that zone)",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := InWindow(row.windows, row.at, local)
			if got := fmt.Sprint(err); row.want == "" && err != nil || row.want != "" && got != row.want {
				t.Errorf("got  %v\nwant %s", err, row.want)
			}
			if err != nil && fault.KindOf(err) != fault.Refused {
				t.Errorf("kind %s", fault.KindOf(err))
			}
		})
	}
}
