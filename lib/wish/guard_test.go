package wish

import (
	"testing"

	"svckit/lib/fleet"
	"svckit/lib/scale"
)

const mib = int64(1) << 20

func TestTheGuardNamesWhoIsFurthestOver(t *testing.T) {
	for _, row := range []struct {
		name string
		free int64 // MiB of 4096
		uses []Use
		want string
	}{
		{"enough", 400, []Use{{Name: "a/x", Used: 900 * mib}}, ""},
		{"nobody is over", 50, []Use{{Name: "a/x", Used: 900 * mib, Declared: 1000 * mib}}, ""},
		{"the furthest", 50, []Use{{Name: "a/x", Used: 900 * mib, Declared: 500 * mib}, {Name: "a/y", Used: 450 * mib}}, "a/y"},
		{"no vip first", 50, []Use{{Name: "a/v", VIP: true, Used: 2000 * mib}, {Name: "a/y", Used: 10 * mib}}, "a/y"},
		{"a vip last", 50, []Use{{Name: "a/v", VIP: true, Used: 2000 * mib}, {Name: "a/y", Used: 10 * mib, Declared: 20 * mib}}, "a/v"},
		{"by name", 50, []Use{{Name: "a/z", Used: 10 * mib}, {Name: "a/y", Used: 10 * mib}}, "a/y"},
	} {
		var g Guard
		var names []string
		for at := int64(1000); at < 1020; at++ {
			next, name, reason := g.Step(at, 4096*mib, (4096-row.free)*mib, row.uses)
			if g = next; name != "" {
				names = append(names, name)
			}
			if at < 1002 && reason != "" {
				t.Errorf("%s: said at once: %s", row.name, reason)
			}
		}
		if row.want == "" && len(names) > 0 || row.want != "" && (len(names) != 1 || names[0] != row.want) {
			t.Errorf("%s: named %v in 20 seconds, want %q once", row.name, names, row.want)
		}
	}
}

func TestWhoGivesUpAContainerDoesNotGetItBack(t *testing.T) {
	spare := func(a Ask) Ask { a.Spare, a.Short = 1, "memory is short"; return a }
	second := with(up(1), func(c *Container) { c.Name, c.ID = "b", "b" })
	ended := with(second, func(c *Container) { c.State, c.Entry = fleet.Exited, "" })
	frozen := spare(containers(2))
	frozen.Mode, frozen.Frozen = scale.NoDown, "frozen"
	away := spare(workers(4))
	away.Away = "no leader"
	for _, row := range []struct {
		name string
		ask  Ask
		here []Container
		want string
		held string
	}{
		{"the newest goes", spare(containers(2)), []Container{up(1), second}, "spare b 2 → 1: memory is short", "memory is short"},
		{"in a freeze too", frozen, []Container{up(1), second}, "spare b 2 → 1: memory is short", "memory is short"},
		{"the only one, without Consul", away, []Container{up(4)}, "spare a 1 → 0: memory is short", "memory is short"},
		{"it stays away", away, []Container{ended}, "", "memory is short"},
		{"what is left is cleared away", spare(containers(2)), []Container{up(1), ended}, "deploy 1 → 1: 1 that do not run are left over", "memory is short"},
		{"the others are looked after", spare(containers(3)), []Container{up(1)}, "deploy 1 → 2: 2 wanted on this node", "memory is short"},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, Next(row.ask, Service{Containers: row.here}), row.want, row.held)
		})
	}
}
