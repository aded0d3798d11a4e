package play

import (
	"maps"
	"testing"
)

func TestRecapCountsWhatChangedAndWhatFailed(t *testing.T) {
	r := read(`
PLAY RECAP *********************************************************************
dc2-node1                  : ok=29   changed=1    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
node1                      : ok=34   changed=13   unreachable=1    failed=2    skipped=1    rescued=0    ignored=0
`)
	if want := map[string]int{"dc2-node1": 1, "node1": 13}; !maps.Equal(r.Changed, want) {
		t.Errorf("changed %v, want %v", r.Changed, want)
	}
	if want := map[string]int{"dc2-node1": 0, "node1": 3}; !maps.Equal(r.Failed, want) {
		t.Errorf("failed %v, want %v", r.Failed, want)
	}
	if r.Total() != 14 {
		t.Errorf("in all %d, want 14", r.Total())
	}
}
