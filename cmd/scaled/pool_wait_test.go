package main

import (
	"slices"
	"testing"

	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

func TestANodeIsEmptyWhenItReachedAWishForNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		want fleet.Want
		have fleet.Have
		left []string
	}{
		{"nothing was ever wanted", fleet.Want{}, fleet.Have{}, nil},
		{"it is to run something", fleet.Want{Gen: 1, Services: []fleet.Allotment{{Name: "a/b", Count: 2}}}, fleet.Have{Gen: 1}, []string{"a/b (2)"}},
		{"it has not heard yet", fleet.Want{Gen: 2, Services: []fleet.Allotment{{Name: "a/b"}}}, fleet.Have{Gen: 1}, []string{"a/b (told to go)"}},
		{"it has heard, and ends", fleet.Want{Gen: 2, Services: []fleet.Allotment{{Name: "a/b"}}}, fleet.Have{Gen: 2, Services: []fleet.Reached{{Name: "a/b", Ready: 1}}}, []string{"a/b (1 end)"}},
		{"it has ended", fleet.Want{Gen: 2, Services: []fleet.Allotment{{Name: "a/b"}}}, fleet.Have{Gen: 2, Services: []fleet.Reached{{Name: "a/b"}}}, nil},
	} {
		if got := remaining(row.want, row.have); !slices.Equal(got, row.left) {
			t.Errorf("%s: left %q, want %q", row.name, got, row.left)
		}
	}
}

func TestAnOrderGivenTwiceIsNoChange(t *testing.T) {
	two, three := 2, 3
	have := map[string]scale.Hand{"a/b": {Size: &two, Who: "ann"}}
	for _, row := range []struct {
		name string
		hand *scale.Hand
		same bool
	}{
		{"the same by somebody else", &scale.Hand{Size: ptr(2), Who: "bob", Why: "x"}, true},
		{"another size", &scale.Hand{Size: &three}, false},
		{"with an end", &scale.Hand{Size: ptr(2), Until: 7}, false},
		{"taken back", nil, false},
	} {
		if got := sameHand(have, "a/b", row.hand); got != row.same {
			t.Errorf("%s: same %t", row.name, got)
		}
	}
	if !sameHand(nil, "a/b", nil) {
		t.Error("what was never set was taken back")
	}

	pool := planner.Membership{Pool: place.Pool{Name: "p"}, Nodes: []planner.Member{{Node: "a"}, {Node: "b", Draining: true, Who: "ann"}}}
	turned := planner.Membership{Pool: pool.Pool, Nodes: []planner.Member{{Node: "b", Draining: true, Who: "bob"}, {Node: "a"}}}
	if !samePool(pool, turned) {
		t.Error("another order of nodes is another pool")
	}
	turned.Nodes[0].Draining = false
	if samePool(pool, turned) {
		t.Error("a node that is no longer drained is no change")
	}
}

func ptr[T any](v T) *T { return &v }
