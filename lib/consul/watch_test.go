package consul

import "testing"

func TestTheIndexOfABlockingQueryFollowsConsulsRules(t *testing.T) {
	for _, row := range []struct {
		name            string
		last, got, want uint64
	}{
		{"first answer", 0, 42, 42},
		{"no change", 42, 42, 42},
		{"change", 42, 43, 43},
		{"goes down after a restored snapshot", 42, 7, 0},
		{"zero would make a busy loop", 0, 0, 1},
		{"zero after an index", 42, 0, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := nextIndex(row.last, row.got); got != row.want {
				t.Errorf("nextIndex(%d, %d) = %d, want %d", row.last, row.got, got, row.want)
			}
		})
	}
}
