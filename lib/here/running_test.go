package here

import (
	"strings"
	"testing"

	"svckit/lib/fleet"
)

func container(id byte, image string, state fleet.State) fleet.Instance {
	return fleet.Instance{ID: strings.Repeat(string(id), 64), App: "shop", Service: "web", Image: image, Release: image, State: state}
}

func knownAs(i fleet.Instance) fleet.Registration {
	return fleet.Registration{Meta: map[string]string{fleet.MetaContainer: i.ID}}
}

func TestTheReleaseOfANodeIsTheOneThatServes(t *testing.T) {
	old, old2 := container('a', "r1", fleet.Exited), container('b', "r1", fleet.Exited)
	cut := container('c', "r2", fleet.Exited)
	half := container('d', "r3", fleet.Created)
	rows := []struct {
		name  string
		list  []fleet.Instance // oldest first
		known []fleet.Registration
		image string
		count int
	}{
		{"as many as there were", []fleet.Instance{old, old2}, []fleet.Registration{knownAs(old), knownAs(old2)}, "r1", 2},
		{"a newer one was not let in yet", []fleet.Instance{old, cut}, []fleet.Registration{knownAs(old)}, "r1", 1},
		{"nothing is registered: the newest", []fleet.Instance{old, cut}, nil, "r2", 1},
		{"both are registered: the newest", []fleet.Instance{old, cut}, []fleet.Registration{knownAs(old), knownAs(cut)}, "r2", 1},
		{"what never ran does not count", []fleet.Instance{old, half}, nil, "r1", 1},
		{"nothing ever ran", []fleet.Instance{half}, nil, "", 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if of, count := Last(row.list, row.known); of.Image != row.image || count != row.count {
				t.Errorf("%d of %q, want %d of %q", count, of.Image, row.count, row.image)
			}
		})
	}
}
