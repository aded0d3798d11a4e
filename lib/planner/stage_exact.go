package planner

import (
	"cmp"
	"fmt"
)

// exactly keeps the sum of what may run, on all nodes, within the size: what is to go
// elsewhere is taken from its node in one stage, and given to another in a later one,
// when the first is known to run none of it any more.
func (s *staging) exactly(seats []*seat, shape Shape, bounds []Bound) (wait string) {
	size := 0
	for _, x := range seats {
		size += x.want
	}
	for _, x := range seats {
		switch {
		case x.told <= x.want:
		case s.in.RaiseOnly != "" && x.alive:
			return s.in.RaiseOnly
		default:
			x.told = x.want
		}
	}
	sum := 0
	for _, b := range bounds {
		if b.Unknown != "" {
			wait = cmp.Or(wait, b.Node+" may run some of it: "+b.Unknown)
		}
		sum += b.Most
	}
	if wait != "" {
		return wait
	}
	free := size - sum
	for _, x := range seats {
		by := min(x.want-x.told, free, s.room(x.node, shape))
		if by > 0 {
			s.use(x.node, shape, by)
			x.told, free = x.told+by, free-by
		}
		if x.told < x.want {
			wait = cmp.Or(wait, fmt.Sprintf("what %s is to have still runs elsewhere, or has no room there", x.node))
		}
	}
	return wait
}
