package place

// After returns the input of the next plan once everything in this one has been
// reached: shares, loans, and what is remembered.
func After(in Input, p Plan) Input {
	out := in
	out.State = p.State
	out.Shares = make([]Share, 0, len(in.Shares))
	for _, s := range p.Services {
		for _, t := range s.Nodes {
			if t.Want > 0 {
				out.Shares = append(out.Shares, Share{s.Name, t.Node, t.Want})
			}
		}
	}
	out.Shares = append(out.Shares, p.Unasked...)
	at := make(map[string]int, len(in.Hosts))
	out.Hosts = make([]Host, len(in.Hosts))
	for i, h := range in.Hosts {
		at[h.Name], out.Hosts[i] = i, h
	}
	for _, l := range p.Loans {
		h := &out.Hosts[at[l.Node]]
		if h.Home == "" {
			h.Home = h.Pool
		}
		switch l.Kind {
		case Borrow:
			h.Pool, h.Leaving = l.To, false
		case Leave, Recall:
			h.Leaving = true
		case Keep:
			h.Leaving = false
		case Return:
			h.Pool, h.Leaving = l.To, false
			if l.To == h.Home {
				h.Due = 0
			}
		}
	}
	return out
}
