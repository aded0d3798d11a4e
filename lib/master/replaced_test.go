package master

import (
	"testing"

	"svckit/lib/fleet"
)

func TestPlacesOfTheCodeAreRenamedWhereTheyStandWhole(t *testing.T) {
	volume := fleet.CodeAt{Mount: "/srv/app", Versions: "/code/versions", At: "/code/versions/b"}
	for _, row := range []struct {
		name, text string
		code       fleet.CodeAt
		want       string
	}{
		{"no code on a volume", "/srv/app", fleet.CodeAt{}, "/srv/app"},
		{"no text either", "", fleet.CodeAt{}, ""},
		{"whole", "/srv/app", volume, "/code/versions/b"},
		{"in a list", "/lib:/srv/app:/srv/app/more", volume, "/lib:/code/versions/b:/code/versions/b/more"},
		{"part of another name", "/srv/apple:/x/srv/app", volume, "/srv/apple:/x/srv/app"},
	} {
		if got := replaced(row.text, row.code); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
