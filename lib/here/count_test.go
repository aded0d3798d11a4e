package here

import (
	"testing"

	"svckit/lib/fleet"
)

func TestAWishSaysHowManyContainersRunHere(t *testing.T) {
	w := fleet.Want{Services: []fleet.Allotment{
		{Name: "shop/batch", Unit: "instances", Count: 3},
		{Name: "shop/gone", Unit: "instances"},
		{Name: "shop/left", Unit: "workers"},
		{Name: "shop/web", Unit: "workers", Count: 6},
	}}
	for _, row := range []struct {
		service string
		n       int
		placed  bool
	}{
		{"shop/batch", 3, true}, {"shop/gone", 0, true}, {"shop/left", 0, true}, {"shop/web", 1, true}, {"shop/other", 1, false},
	} {
		if n, placed := placedHere(w, row.service); n != row.n || placed != row.placed {
			t.Errorf("%s: %d, %v", row.service, n, placed)
		}
	}
}
