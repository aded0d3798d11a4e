package main

import (
	"fmt"
	"io"
	"strings"

	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/tool"
)

// writePlan writes the plan of the whole fleet: what each service gets, then
// what is to be done for it.
func writePlan(w io.Writer, s *tool.Session, p planner.Plan) {
	sizes := map[string]*planner.Sized{}
	for i := range p.Services {
		sizes[p.Services[i].Name] = &p.Services[i]
	}
	if len(p.Place.Services) > 0 {
		t := s.Table("SERVICE", "SIZE", "WHY", "PLACED", "NODES", "PLACEMENT")
		for i := range p.Place.Services {
			x := &p.Place.Services[i]
			size, why := "held", ""
			if z := sizes[x.Name]; z != nil {
				size, why = change(z.Decision.From, z.Decision.Size), sizeWhy(&z.Decision)
			}
			placed := tool.Cell{Text: fmt.Sprint(x.Total)}
			if x.Total < x.Wanted {
				placed = tool.Cell{Text: fmt.Sprintf("%d of %d", x.Total, x.Wanted), Tint: tool.Bad}
			}
			t.Cells(tool.Cell{Text: x.Name}, tool.Cell{Text: size}, tool.Cell{Text: why}, placed, tool.Cell{Text: seats(x)}, tool.Cell{Text: notes(x)})
		}
		t.Write(w)
	}
	steps := 0
	for i, wave := range p.Place.Waves {
		fmt.Fprintf(w, "\nwave %d\n", i+1)
		t := s.Table()
		for _, x := range wave {
			steps++
			t.Row("  "+x.Name, x.Node, change(x.From, x.To), string(x.Reason))
		}
		t.Write(w)
	}
	writeLoans(w, s, p.Place.Loans)
	if len(p.Place.Short) > 0 {
		fmt.Fprintf(w, "\nwho goes short\n")
		t := s.Table()
		for _, x := range p.Place.Short {
			t.Cells(tool.Cell{Text: "  " + x.Name, Tint: tool.Bad}, tool.Cell{Text: fmt.Sprintf("%d of %d", x.Gets, x.Wanted)}, tool.Cell{Text: x.Reason})
		}
		t.Write(w)
	}
	writeAlarms(w, s, p)
	if len(p.Held) > 0 {
		fmt.Fprintf(w, "\nleft alone\n")
		t := s.Table()
		for _, h := range p.Held {
			t.Row("  "+h.Name, h.Reason)
		}
		t.Write(w)
	}
	fmt.Fprintf(w, "\n%d services, %d steps, %d workers move, %d go short\n", len(p.Place.Services), steps, p.Place.Moves, len(p.Place.Short))
}

func writeLoans(w io.Writer, s *tool.Session, loans []place.Loan) {
	if len(loans) == 0 {
		return
	}
	fmt.Fprintf(w, "\nnodes between pools\n")
	t := s.Table()
	for _, l := range loans {
		t.Row("  "+string(l.Kind), l.Node, l.From+" → "+l.To, l.Reason)
	}
	t.Write(w)
}

func writeAlarms(w io.Writer, s *tool.Session, p planner.Plan) {
	t, any := s.Table(), false
	for k, group := range []string{"vip services", "other services"} {
		if v := p.Fleet[k]; v.Page || v.Freeze.Mode != scale.NotFrozen {
			any = true
			t.Cells(tool.Cell{Text: "  " + group, Tint: tool.Bad}, tool.Cell{Text: "fleet"}, tool.Cell{Text: v.Freeze.Why})
		}
	}
	for i := range p.Services {
		for _, a := range p.Services[i].Decision.Alarms {
			any = true
			t.Cells(tool.Cell{Text: "  " + p.Services[i].Name, Tint: tool.Warn}, tool.Cell{Text: string(a.Code)}, tool.Cell{Text: missing(a)})
		}
	}
	if any {
		fmt.Fprintf(w, "\nalarms\n")
		t.Write(w)
	}
}

func missing(a scale.Alarm) string {
	if a.Missing == 0 {
		return ""
	}
	return fmt.Sprintf("%d missing", a.Missing)
}

// change renders e.g. "4 → 6", or "4" when nothing changes.
func change(from, to int) string {
	if from == to {
		return fmt.Sprint(to)
	}
	return fmt.Sprintf("%d → %d", from, to)
}

// seats renders where a service goes, e.g. "n1 4, n2 4 → 6"; many nodes are counted.
func seats(x *place.Placement) string {
	const most = 6
	var words []string
	nodes := 0
	for _, n := range x.Nodes {
		if n.Want > 0 {
			nodes++
		}
		if n.Now != n.Want || len(x.Nodes) <= most {
			words = append(words, n.Node+" "+change(n.Now, n.Want))
		}
	}
	if len(words) == 0 || len(words) > most {
		return fmt.Sprintf("%d nodes", nodes)
	}
	if len(x.Nodes) > most {
		words = append(words, fmt.Sprintf("%d nodes in all", nodes))
	}
	return strings.Join(words, ", ")
}

func notes(x *place.Placement) string {
	var words []string
	for _, r := range x.Reasons {
		words = append(words, r.Text)
	}
	return strings.Join(words, "; ")
}

// sizeWhy is one phrase for a size: what was done, and what won.
func sizeWhy(d *scale.Decision) string {
	out := string(d.Reason)
	if len(d.Proposals) > 0 && d.Reason != scale.Fixed && d.Reason != scale.ByHand {
		out += ": " + d.Proposals[0].Source
	}
	if n := len(d.Limits); n > 0 {
		out += ", limited by " + string(d.Limits[n-1].Code)
	}
	return out
}

// write writes all about one service.
func (p servicePlan) write(w io.Writer, s *tool.Session) {
	d := &p.Service.Decision
	if p.Held != "" {
		fmt.Fprintf(w, "%s is left alone: %s\n", p.Service.Name, p.Held)
	}
	if d.At != 0 {
		fmt.Fprintf(w, "%s: size %s (%s), in pool %s\n", p.Service.Name, change(d.From, d.Size), d.Reason, p.Pool)
		writeSize(w, s, &p.Service)
	}
	x := p.Placement
	fmt.Fprintf(w, "\nplaced %d of %d\n", x.Total, x.Wanted)
	t := s.Table("  NODE", "NOW", "WANT")
	for _, n := range x.Nodes {
		t.Row("  "+n.Node, fmt.Sprint(n.Now), fmt.Sprint(n.Want))
	}
	if len(x.Nodes) > 0 {
		t.Write(w)
	}
	for _, r := range x.Reasons {
		fmt.Fprintf(w, "  %s: %s\n", r.Code, r.Text)
	}
	if x.Loss.Need > 0 {
		fmt.Fprintf(w, "  after the loss of %s %s: %d left, %d needed\n", x.Loss.Of, x.Loss.Name, x.Loss.Remain, x.Loss.Need)
	}
	for i, wave := range p.Waves {
		for _, step := range wave {
			fmt.Fprintf(w, "  wave %d: %s %s (%s)\n", i+1, step.Node, change(step.From, step.To), step.Reason)
		}
	}
	if p.Short != nil {
		fmt.Fprintf(w, "  %s\n", s.Paint(tool.Bad, "goes short: "+p.Short.Reason))
	}
	writeLoans(w, s, p.Loans)
}

// writeSize tells what a size was made of: inputs, proposals with the winner first, limits.
func writeSize(w io.Writer, s *tool.Session, z *planner.Sized) {
	d := &z.Decision
	for i := range z.Input.Signals {
		fmt.Fprintf(w, "  %s\n", signal(&z.Input.Signals[i], z.Input.At))
	}
	fmt.Fprintf(w, "  %d ready, %d starting; its pool has room for %d\n", z.Input.Ready, z.Input.Starting, z.Input.Capacity)
	t := s.Table()
	for i, x := range d.Proposals {
		mark := " "
		if i == 0 {
			mark = "*"
		}
		t.Row("  "+mark, fmt.Sprint(x.Size), x.Words())
	}
	t.Write(w)
	for _, l := range d.Limits {
		fmt.Fprintf(w, "  limit %s: %d → %d\n", l.Code, l.From, l.To)
	}
	if z.Remain > 0 {
		fmt.Fprintf(w, "  at least %d must be left after a loss\n", z.Remain)
	}
	for _, a := range d.Alarms {
		fmt.Fprintf(w, "  alarm %s\n", strings.TrimSpace(string(a.Code)+" "+missing(a)))
	}
}

// signal tells what is seen of one signal.
func signal(x *scale.Signal, at int64) string {
	out := "signal " + x.Name
	switch {
	case x.Error != "":
		return out + ": missing: " + x.Error
	case x.Load != nil:
		out += fmt.Sprintf(": %.1f requests/s in 10 s, %.1f in 60 s; %.1f busy, %.0f waiting", x.Load.Rate10, x.Load.Rate60, x.Load.Busy, x.Load.Waiting)
	case x.Backlog != nil:
		out += fmt.Sprintf(": %.0f messages wait, %.0f are worked on; %.1f come and %.1f go a second", x.Backlog.Ready, x.Backlog.Unacked, x.Backlog.In60, x.Backlog.Out60)
	}
	return out + fmt.Sprintf("; %d s old, from %.0f%% of its workers", at-x.At, 100*x.Coverage)
}
