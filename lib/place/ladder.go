package place

// ladder is a binary heap of the hosts that may get more work, smallest rank
// first. A host knows its place in it, so a change costs log n; looking for
// the k first ones costs k log k and changes nothing.
type ladder struct {
	heap []int32 // hosts
	edge []int32 // scratch of ascend: places of the heap, a heap itself
}

func (l *ladder) reset() { l.heap = l.heap[:0] }

// before orders hosts: smaller rank first, then by name.
func before(hosts []host, a, b int32) bool {
	la, lb := hosts[a].rank, hosts[b].rank
	return la < lb || la == lb && a < b
}

func (l *ladder) push(hosts []host, i int32) {
	hosts[i].rung = int32(len(l.heap))
	l.heap = append(l.heap, i)
	l.up(hosts, hosts[i].rung)
}

// fix puts the host at a place of the heap where it belongs after a change.
func (l *ladder) fix(hosts []host, at int32) {
	if at = l.up(hosts, at); int(2*at+1) < len(l.heap) {
		l.down(hosts, at)
	}
}

func (l *ladder) up(hosts []host, at int32) int32 {
	for at > 0 {
		parent := (at - 1) / 2
		if !before(hosts, l.heap[at], l.heap[parent]) {
			break
		}
		l.swap(hosts, at, parent)
		at = parent
	}
	return at
}

func (l *ladder) down(hosts []host, at int32) {
	for {
		child := 2*at + 1
		if int(child) >= len(l.heap) {
			return
		}
		if int(child+1) < len(l.heap) && before(hosts, l.heap[child+1], l.heap[child]) {
			child++
		}
		if !before(hosts, l.heap[child], l.heap[at]) {
			return
		}
		l.swap(hosts, at, child)
		at = child
	}
}

func (l *ladder) swap(hosts []host, a, b int32) {
	l.heap[a], l.heap[b] = l.heap[b], l.heap[a]
	hosts[l.heap[a]].rung, hosts[l.heap[b]].rung = a, b
}

// ascend calls yield with each host, smallest rank first, until it returns false.
// Nothing may be placed meanwhile.
func (l *ladder) ascend(hosts []host, yield func(i int32) bool) {
	if len(l.heap) == 0 {
		return
	}
	less := func(a, b int32) bool { return before(hosts, l.heap[a], l.heap[b]) }
	l.edge = append(l.edge[:0], 0)
	for len(l.edge) > 0 {
		at := l.edge[0]
		last := len(l.edge) - 1
		l.edge[0] = l.edge[last]
		l.edge = l.edge[:last]
		sink(l.edge, less)
		if !yield(l.heap[at]) {
			return
		}
		for child := 2*at + 1; child <= 2*at+2 && int(child) < len(l.heap); child++ {
			l.edge = append(l.edge, child)
			swim(l.edge, less)
		}
	}
}

func swim(heap []int32, less func(a, b int32) bool) {
	for at := len(heap) - 1; at > 0; {
		parent := (at - 1) / 2
		if !less(heap[at], heap[parent]) {
			return
		}
		heap[at], heap[parent] = heap[parent], heap[at]
		at = parent
	}
}

func sink(heap []int32, less func(a, b int32) bool) {
	for at := 0; ; {
		child := 2*at + 1
		if child >= len(heap) {
			return
		}
		if child+1 < len(heap) && less(heap[child+1], heap[child]) {
			child++
		}
		if !less(heap[child], heap[at]) {
			return
		}
		heap[at], heap[child] = heap[child], heap[at]
		at = child
	}
}
