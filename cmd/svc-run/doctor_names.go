package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// checkNames warns of names that plain addresses are not enough for: an A answer
// has no port and merges the instances of one address.
func checkNames(f facts) []finding {
	type place struct{ name, address string }
	instances := map[place]int{}
	for _, r := range f.registrations {
		if r.Port > 0 {
			instances[place{r.Name, r.Address}]++
		}
	}
	byName := func(a, b place) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.address, b.address)) }
	var out []finding
	for _, p := range slices.SortedFunc(maps.Keys(instances), byName) {
		if n := instances[p]; n > 1 {
			out = append(out, is(warn, "let its clients ask for SRV, which has the ports; or give instances addresses of their own (network: macvlan:NAME)",
				"%d instances of %s share the address %s: a client that asks for plain addresses sees one, without its port", n, p.name, p.address))
		}
	}
	if len(out) == 0 && len(instances) > 0 {
		return ok("%s", fmt.Sprintf("no two instances of a name share an address (%s)", count(len(instances), "name")))
	}
	return out
}
