package cpuset

import (
	"reflect"
	"strings"
	"testing"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func bound(id string, cpu float64, exclusive int, cores ...int) Claim {
	return Claim{ID: id, Bound: true, CPU: cpu, Cores: cores, Exclusive: exclusive, Running: true}
}

func TestAllocate(t *testing.T) {
	unbound := Claim{ID: "u", Running: true}
	for _, row := range []struct {
		name    string
		cores   []int
		books   []Claim
		request Request
		want    Allocation
	}{
		{
			"whole cores come from the lowest up",
			[]int{0, 1, 2, 3},
			nil,
			Request{CPU: 2, Binding: true},
			Allocation{Bound: true, Cores: []int{0, 1}, Exclusive: 2, Quota: 2, Reason: "cores 0,1 alone"},
		},
		{
			"a fragment opens the highest free core",
			[]int{0, 1, 2, 3},
			nil,
			Request{CPU: 3.2, Binding: true},
			Allocation{Bound: true, Cores: []int{0, 1, 2, 3}, Exclusive: 3, Quota: 3.2, Reason: "cores 0,1,2 alone and 0.2 of core 3"},
		},
		{
			"a fragment goes where it fits tightest",
			[]int{0, 1, 2, 3},
			[]Claim{bound("a", 0.3, 0, 3), bound("b", 0.6, 0, 2)},
			Request{CPU: 0.4, Binding: true},
			Allocation{Bound: true, Cores: []int{2}, Quota: 0.4, Reason: "0.4 of core 2"},
		},
		{
			"a fragment that fits nowhere opens a core",
			[]int{0, 1, 2, 3},
			[]Claim{bound("a", 0.8, 0, 3), bound("b", 1, 1, 0)},
			Request{CPU: 1.3, Binding: true},
			Allocation{Bound: true, Cores: []int{1, 2}, Exclusive: 1, Quota: 1.3, Reason: "cores 1 alone and 0.3 of core 2"},
		},
		{
			"an unbound container runs on what nobody owns",
			[]int{0, 1, 2, 3},
			[]Claim{bound("a", 1.5, 1, 0, 3)},
			Request{CPU: 1.5},
			Allocation{Cores: []int{1, 2, 3}, Quota: 1.5, Reason: "not bound: cores 1,2,3, which nobody owns"},
		},
		{
			"without bound ones it runs everywhere",
			[]int{0, 1},
			[]Claim{unbound},
			Request{},
			Allocation{Reason: "not bound: every core"},
		},
		{
			"the whole node can be taken when nobody else needs a core",
			[]int{0, 1},
			nil,
			Request{CPU: 2, Binding: true},
			Allocation{Bound: true, Cores: []int{0, 1}, Exclusive: 2, Quota: 2, Reason: "cores 0,1 alone"},
		},
		{
			"cores of the books that the node does not have are ignored",
			[]int{0, 1},
			[]Claim{bound("a", 1, 1, 7)},
			Request{CPU: 1, Binding: true},
			Allocation{Bound: true, Cores: []int{0}, Exclusive: 1, Quota: 1, Reason: "cores 0 alone"},
		},
		{
			"a claim that contradicts itself counts as full",
			[]int{0, 1, 2},
			[]Claim{bound("a", 0.1, 0, 0, 1)},
			Request{CPU: 0.5, Binding: true},
			Allocation{Bound: true, Cores: []int{2}, Quota: 0.5, Reason: "0.5 of core 2"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Allocate(row.cores, 1, row.books, row.request)
			if err != nil || !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, %v\nexpected %+v", got, err, row.want)
			}
		})
	}
}

func TestAllocateRefusesAndSaysWhatIsFree(t *testing.T) {
	books := []Claim{bound("a", 1.3, 1, 0, 3), bound("b", 1, 1, 1)}
	for _, row := range []struct {
		name        string
		granularity int
		books       []Claim
		request     Request
		kind        fault.Kind
		want        string
	}{
		{"too many whole cores", 1, books, Request{CPU: 2, Binding: true}, fault.Refused, "allocate 2 cores: 1 of 4 cores are free, 0.7 of core 3"},
		{"no core left for the fragment", 1, books, Request{CPU: 1.8, Binding: true}, fault.Refused, "allocate 1.8 cores: 1 of 4 cores are free, 0.7 of core 3"},
		{"more than the node has", 1, nil, Request{CPU: 4.5}, fault.Refused, "allocate 4.5 cores: the node has 4"},
		{
			"nothing left for unbound containers", 1,
			[]Claim{{ID: "u"}},
			Request{CPU: 4, Binding: true},
			fault.Refused,
			"allocate 4 cores: that leaves no core to the unbound containers of the node; 4 of 4 cores are free",
		},
		{
			"nothing left for an unbound one", 1,
			[]Claim{bound("a", 4, 4, 0, 1, 2, 3)},
			Request{CPU: 1},
			fault.Refused,
			"allocate cores: every core of the node belongs to a container alone",
		},
		{"finer than the granularity", 10, nil, Request{CPU: 1.25, Binding: true}, fault.Invalid, "allocate 1.25 cores: expected a multiple of 0.1"},
		{"finer than a hundredth", 1, nil, Request{CPU: 0.125, Binding: true}, fault.Invalid, "allocate cores: 0.125 is not a number of cores in hundredths"},
		{"negative", 1, nil, Request{CPU: -1}, fault.Invalid, "allocate cores: -1 is not a number of cores in hundredths"},
		{"binding without a number", 1, nil, Request{Binding: true}, fault.Invalid, "bind cores: the number of cores is not set"},
		{"odd granularity", 30, nil, Request{CPU: 1}, fault.Invalid, "allocate cores: granularity 30 does not divide a core of 100"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Allocate([]int{0, 1, 2, 3}, row.granularity, row.books, row.request)
			if err == nil || err.Error() != row.want || fault.KindOf(err) != row.kind {
				t.Errorf("got %v (%v)\nexpected %v (%v)", err, fault.KindOf(err), row.want, row.kind)
			}
		})
	}
}

func TestBooksCountWhatCouldRunAgainAndLeaveOutWhatIsGoing(t *testing.T) {
	got := Books([]fleet.Instance{
		{ID: "a", State: fleet.Running, CPU: 1.5, Cores: []int{2, 0}, Exclusive: 1},
		{ID: "b", State: fleet.Exited, CPU: 1, Cores: []int{1}, Exclusive: 1},
		{ID: "c", State: fleet.Running, Allowed: []int{0, 3}},
		{ID: "d", State: fleet.Removing, CPU: 1, Cores: []int{3}, Exclusive: 1},
		{ID: "e", State: fleet.Dead, CPU: 1, Cores: []int{3}, Exclusive: 1},
	})
	want := []Claim{
		{ID: "a", Bound: true, CPU: 1.5, Cores: []int{2, 0}, Exclusive: 1, Running: true},
		{ID: "b", Bound: true, CPU: 1, Cores: []int{1}, Exclusive: 1},
		{ID: "c", Cores: []int{0, 3}, Running: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nexpected %+v", got, want)
	}
}

func TestRemapMovesOnlyRunningUnboundContainersThatAreElsewhere(t *testing.T) {
	books := []Claim{
		bound("a", 1, 1, 0),
		{ID: "z", Running: true},                         // on every core
		{ID: "moved", Running: true, Cores: []int{2, 1}}, // already there
		{ID: "b", Running: true, Cores: []int{0, 1}},
		{ID: "stopped"},
	}
	want := []Change{{"b", []int{1, 2}}, {"z", []int{1, 2}}}
	if got := Remap([]int{2, 1, 0}, books); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
	if got := Shared([]int{0, 1, 2}, books); !reflect.DeepEqual(got, []int{1, 2}) {
		t.Errorf("shared cores %v, expected 1 and 2", got)
	}
	free := books[1:]
	if got := Remap([]int{0, 1, 2}, free); len(got) != 2 || strings.Join([]string{got[0].ID, got[1].ID}, " ") != "b moved" {
		t.Errorf("after the bound one is gone: %v, expected b and moved on every core", got)
	}
}
