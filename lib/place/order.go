package place

// motion is a service on its way from what it has to what it gets.
type motion struct {
	s      *service
	total  int // on alive hosts now
	least  int // may not fall below: the smaller of before and after
	most   int // may not rise above, where two may not run at once
	reason Code
	left   []left
}

// left is what is still to be done on a host: raise by n, or lower by -n.
type left struct {
	host int32
	at   int
	n    int
}

// order puts the steps into waves. A wave is begun when the one before is
// reached, so within one only that may happen for which there is room already.
// A service never has less than before and after on the way, and with
// NoOverlap never more; where hosts that are full must swap, the services that
// stand in each other's way take a step down first.
func (b *book) waves() []Wave {
	motions, used := b.motions()
	waves := []Wave{}
	if gone := b.forget(); len(gone) > 0 {
		waves = append(waves, gone)
	}
	for len(motions) > 0 {
		wave := Wave{}
		for _, lower := range []bool{true, false} {
			for i := range motions {
				m := &motions[i]
				for k := range m.left {
					if l := &m.left[k]; l.n != 0 && l.n < 0 == lower {
						wave = b.advance(m, l, used, wave, false)
					}
				}
			}
			if len(wave) > 0 {
				break // what a lowering frees is there when it is reached
			}
		}
		if len(wave) == 0 {
			wave = b.force(motions, used)
		}
		waves = append(waves, wave)
		rest := motions[:0]
		for _, m := range motions {
			if m.pending() {
				rest = append(rest, m)
			}
		}
		motions = rest
	}
	return waves
}

// motions lists the services that change, and what is used on each host now.
func (b *book) motions() ([]motion, []cost) {
	used := make([]cost, len(b.hosts))
	var out []motion
	for _, i := range b.order {
		s := &b.services[i]
		m := motion{s: s}
		after, changed := 0, false
		for _, t := range s.seats {
			if !b.hosts[t.host].Alive {
				continue
			}
			used[t.host] = used[t.host].plus(s.each, t.was)
			m.total, after = m.total+t.was, after+t.n
			changed = changed || t.n != t.was
		}
		if !changed {
			continue
		}
		m.least, m.most, m.reason = min(m.total, after), max(m.total, after), b.cause(s)
		for _, t := range s.seats {
			if t.n != t.was && b.hosts[t.host].Alive {
				m.left = append(m.left, left{t.host, t.was, t.n - t.was})
			}
		}
		out = append(out, m)
	}
	return out, used
}

// forget lists what goes with hosts that are gone.
func (b *book) forget() (gone Wave) {
	for _, i := range b.order {
		s := &b.services[i]
		for _, t := range s.seats {
			if h := &b.hosts[t.host]; !h.Alive && t.n != t.was {
				gone = append(gone, Step{s.Name, h.Name, t.was, t.n, Lost})
			}
		}
	}
	return gone
}

// advance does as much of one step as may be done now.
func (b *book) advance(m *motion, l *left, used []cost, wave Wave, force bool) Wave {
	h := &b.hosts[l.host]
	n := l.n
	if n < 0 {
		if !m.s.NoOverlap && !force {
			n = -min(-n, m.total-m.least)
		}
	} else {
		there := host{Host: h.Host, used: used[l.host]}
		n = there.room(m.s, n)
		if m.s.NoOverlap {
			n = min(n, m.most-m.total)
		}
	}
	if n == 0 || l.n > 0 && n < 0 || l.n < 0 && n > 0 {
		return wave
	}
	used[l.host] = used[l.host].plus(m.s.each, n)
	wave = append(wave, Step{m.s.Name, h.Name, l.at, l.at + n, m.reason})
	l.at, l.n, m.total = l.at+n, l.n-n, m.total+n
	return wave
}

// force lowers the last service in the order that is in the way; when nothing
// is left to lower, what cannot be raised is given up.
func (b *book) force(motions []motion, used []cost) Wave {
	wave := Wave{}
	for i := len(motions) - 1; i >= 0 && len(wave) == 0; i-- {
		m := &motions[i]
		for k := range m.left {
			if l := &m.left[k]; l.n < 0 {
				wave = b.advance(m, l, used, wave, true)
			}
		}
	}
	if len(wave) == 0 {
		for i := range motions {
			motions[i].left = nil
		}
	}
	return wave
}

func (m *motion) pending() bool {
	for _, l := range m.left {
		if l.n != 0 {
			return true
		}
	}
	return false
}

// cause is the one word for why a service changes, for its steps.
func (b *book) cause(s *service) Code {
	for _, c := range []struct {
		mark marks
		code Code
	}{
		{markCut, Cut},
		{markLost, Lost},
		{markDrained, Drained},
		{markHot, Rebalance},
		{markVacated, Vacated},
	} {
		if s.marks&c.mark != 0 {
			return c.code
		}
	}
	if before, after := s.before(), s.placed(); before != after {
		return Sized
	}
	return Evened
}

// before is how many workers s had, on hosts that are gone too.
func (s *service) before() (n int) {
	for _, t := range s.seats {
		n += t.was
	}
	return n
}
