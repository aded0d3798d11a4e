package planner

import (
	"slices"
	"strings"
	"testing"

	"svckit/lib/place"
)

func share(node string, n int) place.Share { return place.Share{Name: "s/one", Node: node, Count: n} }

// A share moves from a to b in two stages, the second only when a is known to run none.
func TestAShareThatMayNotBeTwiceMovesInTwoStages(t *testing.T) {
	nodes := hosts("a", "b")
	for _, row := range []struct {
		name       string
		told, want []place.Share
		bounds     []Bound
		alive      bool
		raiseOnly  string
		result     []place.Share
		waits      string
	}{
		{"the first placement", nil, []place.Share{share("b", 1)}, nil, true, "", []place.Share{share("b", 1)}, ""},
		{"first it is taken away", []place.Share{share("a", 1)}, []place.Share{share("b", 1)}, []Bound{{Node: "a", Most: 1}}, true, "", []place.Share{share("a", 0), share("b", 0)}, "still runs elsewhere"},
		{"it is not confirmed yet", nil, []place.Share{share("b", 1)}, []Bound{{Node: "a", Unknown: "it holds its lease"}}, true, "", []place.Share{share("b", 0)}, "a may run some of it: it holds its lease"},
		{"confirmed, and still ending", nil, []place.Share{share("b", 1)}, []Bound{{Node: "a", Most: 1}}, true, "", []place.Share{share("b", 0)}, "still runs elsewhere"},
		{"then it is given", nil, []place.Share{share("b", 1)}, []Bound{{Node: "a"}}, true, "", []place.Share{share("b", 1)}, ""},
		{"a node that is gone is told, too", []place.Share{share("a", 1)}, []place.Share{share("b", 1)}, []Bound{{Node: "a", Most: 1, Unknown: "its lease is free for 5s"}}, false, "", []place.Share{share("a", 0), share("b", 0)}, "its lease is free"},
		{"a new leader lowers nothing", []place.Share{share("a", 1)}, []place.Share{share("b", 1)}, []Bound{{Node: "a", Most: 1}}, true, "a new planner leads", []place.Share{share("a", 1), share("b", 0)}, "a new planner leads"},
		{"more are wanted", []place.Share{share("a", 1)}, []place.Share{share("a", 1), share("b", 1)}, []Bound{{Node: "a", Most: 1}}, true, "", []place.Share{share("a", 1), share("b", 1)}, ""},
		{"as many as are free", nil, []place.Share{share("a", 2), share("b", 1)}, []Bound{{Node: "c", Most: 1}}, true, "", []place.Share{share("a", 2), share("b", 0)}, "still runs elsewhere"},
	} {
		t.Run(row.name, func(t *testing.T) {
			hosts := slices.Clone(nodes)
			hosts[0].Alive = row.alive
			out := Advance(StageInput{
				Told: row.told, Want: row.want, Hosts: hosts, RaiseOnly: row.raiseOnly,
				Services: map[string]Shape{"s/one": {Exact: true, NoOverlap: true}}, Bounds: map[string][]Bound{"s/one": row.bounds},
			})
			if !slices.Equal(out.Told, row.result) {
				t.Errorf("told %v, want %v", out.Told, row.result)
			}
			waits := ""
			for _, w := range out.Waits {
				waits += w.Reason
			}
			if (row.waits == "") != (waits == "") || !strings.Contains(waits, row.waits) {
				t.Errorf("waits for %q, want %q", waits, row.waits)
			}
		})
	}
}
