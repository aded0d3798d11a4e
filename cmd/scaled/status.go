package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/planner"
	"svckit/lib/tool"
)

func statusCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show how large every service is, and why", ArgsUsage: "[APP/SERVICE]",
		Description:  "What the leader says in Consul, and what nodes reached. It works without a planner, too.",
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			only := ""
			if len(s.Args) > 0 {
				name, err := serviceArg(s)
				if err != nil {
					return err
				}
				only = name
			}
			out, err := readStatus(ctx, w, s, only)
			if err != nil {
				return err
			}
			return s.Result(out, func(to io.Writer) { out.write(to, s, w.Now()) })
		}),
	}
}

// fleetStatus is the state of the fleet as Consul has it.
type fleetStatus struct {
	Leader   *fleet.Leader    `json:"leader"` // null: nobody plans
	Frozen   []planner.Freeze `json:"frozen"`
	Services []serviceStatus  `json:"services"`
	Nodes    []nodeStatus     `json:"nodes"`
}

type serviceStatus struct {
	planner.Status
	Reached int            `json:"reached"` // ready, as nodes last said
	Zones   map[string]int `json:"zones"`   // ready in each zone, on nodes that Consul takes for alive
	Errors  []string       `json:"errors"`  // of nodes that cannot get there
}

type nodeStatus struct {
	Node  string    `json:"node"`
	Zone  string    `json:"zone"`
	Pool  string    `json:"pool"`
	Alive bool      `json:"alive"`
	Gen   uint64    `json:"gen"`     // told
	Have  uint64    `json:"have"`    // reached
	At    time.Time `json:"have_at"` // when it last said so
}

func readStatus(ctx context.Context, w *here.Node, s *tool.Session, only string) (fleetStatus, error) {
	client, err := w.Consul(s)
	if err != nil {
		return fleetStatus{}, err
	}
	out := fleetStatus{Services: []serviceStatus{}, Nodes: []nodeStatus{}, Frozen: []planner.Freeze{}}
	leader, err := client.Planner(ctx)
	switch {
	case err == nil:
		out.Leader = &leader
	case !errors.Is(err, fleet.ErrNotFound):
		return out, err
	}
	list, bad, err := client.Statuses(ctx)
	if err != nil {
		return out, err
	}
	haves, badHaves, err := client.Haves(ctx)
	if err != nil {
		return out, err
	}
	for _, m := range []map[string]string{bad, badHaves} {
		for key, why := range m {
			s.Say("unreadable: %s: %s", key, why)
		}
	}
	orders, err := readOrders(ctx, w, s)
	if err != nil {
		return out, err
	}
	out.Frozen = append(out.Frozen, orders.Freezes...)
	monitors, err := client.Monitors(ctx)
	if err != nil {
		return out, err
	}
	for _, x := range list {
		if only == "" || x.Name == only {
			out.Services = append(out.Services, reached(x, haves, monitors))
		}
	}
	if only != "" && len(out.Services) == 0 {
		return out, fault.WithHint(fault.New(fault.NotFound, "status of %s: the planner has said nothing of it yet", only), "it needs a scale section in its current release: svc-run releases")
	}
	wants, _, err := client.Wants(ctx)
	if err != nil {
		return out, err
	}
	out.Nodes = nodeStatuses(monitors, wants, haves)
	return out, nil
}

// reached adds what nodes say of a service.
func reached(x planner.Status, haves []fleet.Have, monitors []fleet.Monitor) serviceStatus {
	out := serviceStatus{Status: x, Zones: map[string]int{}, Errors: []string{}}
	for _, h := range haves {
		for _, r := range h.Services {
			if r.Name != x.Name {
				continue
			}
			out.Reached += r.Ready
			if k := slices.IndexFunc(monitors, func(m fleet.Monitor) bool { return m.Node == h.Node }); k >= 0 && monitors[k].Alive {
				out.Zones[monitors[k].Zone] += r.Ready
			} else if k >= 0 {
				out.Zones[monitors[k].Zone] += 0 // a zone that was lost is named
			}
			if r.Error != "" {
				out.Errors = append(out.Errors, h.Node+": "+r.Error)
			}
		}
	}
	return out
}

// byZone is how much is ready in each zone, in words.
func (x serviceStatus) byZone() string {
	var words []string
	for _, zone := range slices.Sorted(maps.Keys(x.Zones)) {
		words = append(words, fmt.Sprintf("%s %d", cmp.Or(zone, "-"), x.Zones[zone]))
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}

func nodeStatuses(monitors []fleet.Monitor, wants []fleet.Want, haves []fleet.Have) []nodeStatus {
	out := []nodeStatus{}
	for _, m := range monitors {
		n := nodeStatus{Node: m.Node, Zone: m.Zone, Pool: m.Pool, Alive: m.Alive}
		if k := slices.IndexFunc(wants, func(w fleet.Want) bool { return w.Node == m.Node }); k >= 0 {
			n.Gen = wants[k].Gen
		}
		if k := slices.IndexFunc(haves, func(h fleet.Have) bool { return h.Node == m.Node }); k >= 0 {
			n.Have, n.At = haves[k].Gen, haves[k].At
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b nodeStatus) int { return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Node, b.Node)) })
	return out
}

func (o fleetStatus) write(w io.Writer, s *tool.Session, now time.Time) {
	if o.Leader == nil {
		fmt.Fprintln(w, s.Paint(tool.Bad, "nobody plans: nodes keep to what they were told last"))
	} else {
		fmt.Fprintf(w, "%s plans since %s (epoch %d)\n", o.Leader.Node, o.Leader.Since.Format(time.RFC3339), o.Leader.Epoch)
	}
	for _, z := range o.Frozen {
		fmt.Fprintf(w, "frozen: %s %s (%s) %s by %s: %s\n", z.Scope, z.Name, z.Mode, ends(z.Until), cmp.Or(z.Who, "?"), z.Why)
	}
	t := s.Table("SERVICE", "SIZE", "READY", "BY ZONE", "WISH", "DEMAND", "SAID", "WHY")
	for _, x := range o.Services {
		tint := tool.Good
		if x.Reached < x.Size || len(x.Alarms) > 0 {
			tint = tool.Warn
		}
		age := now.Sub(time.Unix(x.At, 0)).Round(time.Second)
		t.Cells(tool.Cell{Text: x.Name}, tool.Cell{Text: strconv.Itoa(x.Size)}, tool.Cell{Text: strconv.Itoa(x.Reached), Tint: tint}, tool.Cell{Text: x.byZone()}, tool.Cell{Text: strconv.Itoa(x.Wish)},
			tool.Cell{Text: fmt.Sprintf("%.1f", x.Demand)}, tool.Cell{Text: age.String() + " ago"}, tool.Cell{Text: cmp.Or(x.Held, x.Words)})
	}
	t.Write(w)
	for _, x := range o.Services {
		for _, a := range x.Alarms {
			fmt.Fprintf(w, "alarm: %s %s since %s\n", x.Name, a.Code, time.Unix(a.Since, 0).UTC().Format(time.RFC3339))
		}
		for _, e := range x.Errors {
			fmt.Fprintf(w, "%s: %s\n", x.Name, e)
		}
	}
	nodes := s.Table("ZONE", "NODE", "POOL", "ALIVE", "TOLD", "REACHED")
	for _, n := range o.Nodes {
		alive := tool.Cell{Text: "yes", Tint: tool.Good}
		if !n.Alive {
			alive = tool.Cell{Text: "no", Tint: tool.Bad}
		}
		nodes.Cells(tool.Cell{Text: n.Zone}, tool.Cell{Text: n.Node}, tool.Cell{Text: n.Pool}, alive, tool.Cell{Text: strconv.FormatUint(n.Gen, 10)}, tool.Cell{Text: strconv.FormatUint(n.Have, 10)})
	}
	nodes.Write(w)
}

func historyCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "show the last decisions that changed a service, newest first", ArgsUsage: "APP/SERVICE",
		Description:  "Consul keeps the last 20 of each service. All of them, with everything they were made from, are in the journal of the node that led: `scaled/journal.jsonl` in its state folder.",
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			name, err := serviceArg(s)
			if err != nil {
				return err
			}
			client, err := w.Consul(s)
			if err != nil {
				return err
			}
			status, err := client.Status(ctx, name)
			if err != nil {
				return err
			}
			out := pastList{Service: name, Decisions: append([]planner.Past{}, status.Last...)}
			return s.Result(out, func(w io.Writer) { out.write(w, s) })
		}),
	}
}

type pastList struct {
	Service   string         `json:"service"`
	Decisions []planner.Past `json:"decisions"`
}

func (o pastList) write(w io.Writer, s *tool.Session) {
	if len(o.Decisions) == 0 {
		fmt.Fprintln(w, "no decision has changed it yet")
		return
	}
	t := s.Table("WHEN", "FROM", "TO", "WHY")
	for _, d := range o.Decisions {
		t.Row(time.Unix(d.At, 0).UTC().Format(time.RFC3339), strconv.Itoa(d.From), strconv.Itoa(d.Size), d.Words)
	}
	t.Write(w)
}
