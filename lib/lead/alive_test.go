package lead

import (
	"fmt"
	"testing"
	"time"

	"svckit/lib/fleet"
)

func TestANodeIsGoneOnlyAfterAWhile(t *testing.T) {
	p, told := presence{}, map[string]fleet.Want{"a": {}, "b": {}, "c": {}}
	start := time.Unix(1_790_000_000, 0)
	at := func(second int, list ...fleet.Monitor) string {
		out := ""
		for _, m := range p.look(start.Add(time.Duration(second)*time.Second), list, told) {
			out += fmt.Sprintf("%s %v %q, ", m.Node, m.Alive, m.Address)
		}
		return out
	}
	a, b := fleet.Monitor{Node: "a", Alive: true, Address: "x"}, fleet.Monitor{Node: "b", Alive: true, Address: "y"}
	dead := fleet.Monitor{Node: "b", Address: "y"}
	for _, row := range []struct {
		second int
		list   []fleet.Monitor
		want   string
	}{
		{0, []fleet.Monitor{a, b}, `a true "x", b true "y", c true "", `}, // c has left; who just began to look cannot know when
		{10, []fleet.Monitor{a, dead}, `a true "x", b true "", c true "", `},
		{14, []fleet.Monitor{a, dead}, `a true "x", b true "", c true "", `},
		{15, []fleet.Monitor{a, dead}, `a true "x", b false "y", c true "", `},
		{59, []fleet.Monitor{a, b}, `a true "x", b true "y", c true "", `},
		{60, []fleet.Monitor{b}, `a true "", b true "y", `},
		{118, []fleet.Monitor{b}, `a true "", b true "y", `},
		{119, []fleet.Monitor{b}, `b true "y", `},
	} {
		if got := at(row.second, row.list...); got != row.want {
			t.Errorf("after %d s: %s, want %s", row.second, got, row.want)
		}
	}
	if got := fmt.Sprint(presence{}.look(start, []fleet.Monitor{dead}, nil)); got != "[{b   y  false}]" {
		t.Errorf("one that was dead from the beginning: %s", got)
	}
}
