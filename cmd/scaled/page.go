package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"svckit/lib/lead"
	"svckit/lib/page"
	"svckit/lib/place"
	"svckit/lib/planner"
)

// How much of the past is kept for the page: an hour of each service, as far as all of them fit.
const (
	keepPoints = 720
	allPoints  = 1_000_000
)

// trail is what each service was like in the last cycles, oldest first.
type trail map[string][]page.Point

func (t trail) add(c lead.Cycle) {
	most := min(keepPoints, max(2, allPoints/max(len(c.Plan.Services), 1)))
	there := map[string]bool{}
	for _, v := range c.Plan.Services {
		there[v.Name] = true
		p := page.Point{At: v.Decision.At, Size: v.Decision.Size, Wish: v.Decision.Wish, Ready: c.Every[v.Name].Ready, Demand: v.Decision.Demand}
		list := append(t[v.Name], p)
		t[v.Name] = list[max(len(list)-most, 0):]
	}
	for name := range t {
		if !there[name] {
			delete(t, name)
		}
	}
}

// pages serves the page of the fleet and of each service.
func pages(s *seen) http.Handler {
	mux := http.NewServeMux()
	draw := func(w http.ResponseWriter, v page.View) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		// Style and script are in the page itself; nothing is fetched but the page.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = page.Draw(w, v)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { draw(w, s.view()) })
	mux.HandleFunc("GET /service/{app}/{service}", func(w http.ResponseWriter, r *http.Request) {
		v, name := s.view(), r.PathValue("app")+"/"+r.PathValue("service")
		at := slices.IndexFunc(v.Services, func(x page.Service) bool { return x.Name == name })
		if at < 0 {
			http.Error(w, "no such service is planned here", http.StatusNotFound)
			return
		}
		v.One, v.Title = &v.Services[at], name
		v.Alarms = slices.DeleteFunc(v.Alarms, func(a page.Alarm) bool { return a.Service != "" && a.Service != name })
		v.Frozen = slices.DeleteFunc(v.Frozen, func(z page.Frozen) bool { return strings.Contains(z.What, "/") && z.What != name })
		draw(w, v)
	})
	return mux
}

// view is what the page shows of the last cycle.
func (s *seen) view() page.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cycle
	v := page.View{Title: "scaled", At: c.At, Now: s.now(), Leading: s.leading, Failed: s.failed, Leader: s.leader, Took: s.took.Round(time.Millisecond).String()}
	if c.At.IsZero() {
		return v
	}
	for _, a := range c.Alarms {
		x := page.Alarm{Service: a.Service, Code: string(a.Code), Words: a.Words}
		if a.Since > 0 {
			x.Since = time.Unix(a.Since, 0).UTC().Format("15:04:05 MST")
		}
		v.Alarms = append(v.Alarms, x)
	}
	for _, z := range c.Snapshot.Freezes {
		if z.Until == 0 || z.Until > v.Now.Unix() {
			v.Frozen = append(v.Frozen, page.Frozen{What: cmp.Or(z.Name, "everything"), Mode: string(z.Mode), Ends: ends(z.Until), Who: z.Who, Why: z.Why})
		}
	}
	for _, x := range c.Plan.Services {
		v.Services = append(v.Services, shownService(x, c.Every[x.Name], s.trail[x.Name], c.Alarms))
	}
	v.Pools = shownPools(c.Snapshot, c.Stage.Told)
	return v
}

func shownService(x planner.Sized, status planner.Status, points []page.Point, alarms []lead.Alarm) page.Service {
	d := x.Decision
	out := page.Service{
		Name: x.Name, Pool: status.Pool, Reason: string(d.Reason), Words: d.Words(), Held: status.Held, Size: d.Size, Wish: d.Wish, Ready: status.Ready, Demand: d.Demand,
		Alarm: slices.ContainsFunc(alarms, func(a lead.Alarm) bool { return a.Service == x.Name }), Points: slices.Clone(points),
	}
	for _, n := range status.Nodes {
		out.Nodes = append(out.Nodes, page.Seat{Node: n.Node, Count: n.Count})
	}
	for _, e := range status.Last {
		out.Events = append(out.Events, page.Event{At: time.Unix(e.At, 0), From: e.From, To: e.Size, Reason: string(e.Reason), Words: e.Words})
	}
	for _, p := range d.Proposals {
		out.Proposals = append(out.Proposals, page.Proposal{Source: p.Source, Size: fmt.Sprint(p.Size), Why: strings.TrimPrefix(p.Words(), p.Source+": ")})
	}
	return out
}

func shownPools(s planner.Snapshot, told []place.Share) []page.Pool {
	services := map[string]int{}
	for _, x := range told {
		if x.Count > 0 {
			services[x.Node]++
		}
	}
	out := make([]page.Pool, 0, len(s.Pools))
	for _, p := range s.Pools {
		row := page.Pool{Name: p.Name, Class: cmp.Or(string(p.Class), string(place.Production))}
		for _, n := range s.Nodes {
			if n.Pool == p.Name {
				row.Nodes = append(row.Nodes, shownNode(n, services[n.Name]))
			}
		}
		out = append(out, row)
	}
	return out
}

func shownNode(n planner.Node, told int) page.Node {
	out := page.Node{Name: n.Name, Zone: n.Zone, Told: told, Bad: !n.Alive || n.Silent}
	state := []string{map[bool]string{true: "alive", false: "gone"}[n.Alive]}
	if n.Silent {
		state[0] = "silent"
	}
	if n.Home != "" && n.Home != n.Pool {
		state = append(state, "on loan from "+n.Home)
	}
	if n.Draining {
		state = append(state, "draining")
	}
	if n.Leaving {
		state = append(state, "leaving")
	}
	if out.State = strings.Join(state, ", "); n.Load > 0 {
		out.Load = fmt.Sprintf("%.0f %%", 100*n.Load)
	}
	return out
}
