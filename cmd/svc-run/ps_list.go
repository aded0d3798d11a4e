package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rollout"
	"svckit/lib/tool"
)

// The words for what Consul cannot say of an instance itself.
const (
	unregistered = "unregistered"
	unknown      = "unknown"
	ghost        = "ghost"
)

// psRow is one instance, as ps prints it.
type psRow struct {
	App      string    `json:"app"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"`  // first 8 digits of the container id
	Node     string    `json:"node"`      //
	Zone     string    `json:"zone"`      //
	Release  string    `json:"release"`   //
	State    string    `json:"state"`     // of the container; ghost: it is gone; "" when another node's
	Health   string    `json:"health"`    // passing, warning, critical, maintenance, unregistered, unknown
	Address  string    `json:"address"`   // host:port, or host alone
	DNS      string    `json:"dns"`       // name that finds it
	FoundBy  string    `json:"found_by"`  // SRV: only with its port; A: an address is enough; "": it has no port, or it is not known
	Weight   int       `json:"weight"`    //
	Workers  int       `json:"workers"`   // 0: not told
	Restarts int       `json:"restarts"`  //
	CPU      float64   `json:"cpu"`       // cores declared; 0: no limit
	Memory   int64     `json:"memory"`    // bytes declared; 0: no limit
	Started  time.Time `json:"started"`   // zero when it does not run
	Uptime   float64   `json:"uptime"`    // seconds
	Note     string    `json:"note"`      // what is wrong, in words
	ID       string    `json:"container"` // the whole container id
}

// psList is the result of ps.
type psList struct {
	Node      string  `json:"node"` // "" with --fleet
	Fleet     bool    `json:"fleet"`
	Consul    string  `json:"consul"` // why health is not known; "" when it is
	Instances []psRow `json:"instances"`
}

// nodeList joins the containers of a node with their registrations.
func nodeList(seen seenNode, t here.Target, now time.Time) psList {
	list := psList{Node: seen.agent.Node, Instances: []psRow{}}
	if seen.consul != nil {
		list.Consul = seen.consul.Error()
	}
	known := map[string]fleet.Registration{}
	for _, r := range seen.registrations {
		known[r.Meta[fleet.MetaContainer]] = r
	}
	for _, i := range seen.instances {
		if i.Prefix != "" && i.Prefix != seen.prefix {
			continue
		}
		r, registered := known[i.ID]
		delete(known, i.ID)
		row := containerRow(i, now)
		row.Node, row.Zone = seen.agent.Node, seen.agent.Meta[fleet.MetaZone]
		switch {
		case registered:
			row.registered(r, seen.agent.Domain)
		case seen.consul != nil:
			row.Health = unknown
		case i.Run != "":
			row.Health, row.Note = "", join("run "+i.Run, row.Note)
		default:
			row.Health = unregistered
			if i.State == fleet.Running {
				row.Note = join(row.Note, "Consul does not know it")
			}
		}
		list.Instances = append(list.Instances, row)
	}
	for _, r := range known {
		if ghostOf(seen, t, r) {
			row := registeredRow(r, seen.agent.Domain)
			row.State, row.Note = ghost, "its container is gone"
			list.Instances = append(list.Instances, row)
		}
	}
	sortRows(list.Instances)
	return list
}

// ghostOf reports whether a registration without a container is one that the target means and this engine had.
func ghostOf(seen seenNode, t here.Target, r fleet.Registration) bool {
	if t.App != "" && r.Meta[fleet.MetaApp] != t.App || t.Service != "" && r.Meta[fleet.MetaService] != t.Service {
		return false
	}
	engine := r.Meta[fleet.MetaEngine]
	return engine == "" || seen.engine.ID == "" || engine == seen.engine.ID
}

// fleetList is the list of what the catalog knows.
func fleetList(found []fleet.Registration, agent fleet.Agent) psList {
	list := psList{Fleet: true, Instances: []psRow{}}
	for _, r := range found {
		list.Instances = append(list.Instances, registeredRow(r, agent.Domain))
	}
	sortRows(list.Instances)
	slices.SortStableFunc(list.Instances, func(a, b psRow) int { return cmp.Compare(a.Zone, b.Zone) })
	return list
}

func sortRows(rows []psRow) {
	slices.SortFunc(rows, func(a, b psRow) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Node, b.Node),
			a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
}

func containerRow(i fleet.Instance, now time.Time) psRow {
	row := psRow{
		App: i.App, Service: i.Service, Instance: i.Short(), ID: i.ID, Release: i.Release, State: string(i.State),
		Restarts: i.Restarts, CPU: i.CPU, Memory: i.Memory, Address: hostPort(i.Address, i.Port),
	}
	switch i.State {
	case fleet.Running, fleet.Paused, fleet.Restarting:
		row.Started = i.StartedAt
		row.Uptime = max(0, now.Sub(i.StartedAt).Seconds())
	default:
		row.Note = fmt.Sprintf("exit code %d", i.ExitCode)
		if i.State == fleet.Created {
			row.Note = "never ran"
		}
	}
	if i.OOMKilled {
		row.Note = join(row.Note, "out of memory")
	}
	if len(i.Bad) > 0 {
		row.Note = join(row.Note, "labels: "+strings.Join(i.Bad, "; "))
	}
	return row
}

func registeredRow(r fleet.Registration, domain string) psRow {
	row := psRow{
		App: r.Meta[fleet.MetaApp], Service: r.Meta[fleet.MetaService], ID: r.Meta[fleet.MetaContainer],
		Release: r.Meta[fleet.MetaRelease], Node: r.Node, Zone: r.Meta[fleet.MetaZone],
	}
	if row.Node == "" {
		row.Node = r.Meta[fleet.MetaNode]
	}
	row.Instance = fleet.Instance{ID: row.ID}.Short()
	row.registered(r, domain)
	return row
}

// registered adds what Consul says.
func (row *psRow) registered(r fleet.Registration, domain string) {
	row.Health = string(r.Health)
	if row.Health == "" {
		row.Health = unknown
	}
	row.Address = hostPort(r.Address, r.Port)
	row.Weight, row.FoundBy = r.Weight, foundBy(r)
	row.Workers, _ = strconv.Atoi(r.Meta[fleet.MetaWorkers])
	if domain != "" {
		row.DNS = r.Name + ".service." + domain
	}
	switch {
	case r.Health == fleet.Maintenance && r.Reason != "":
		row.Note = join(row.Note, r.Reason)
	case r.Health == fleet.Critical || r.Health == fleet.Warning:
		row.Note = join(row.Note, firstLine(r.Output))
	}
}

// foundBy is what a registration says of itself; it comes out of Consul.
func foundBy(r fleet.Registration) string {
	if by := r.Meta[fleet.MetaFound]; by == rollout.FoundBySRV || by == rollout.FoundByA {
		return by
	}
	return ""
}

func (l psList) write(w io.Writer, s *tool.Session) {
	if len(l.Instances) == 0 {
		s.Say("no instances")
		return
	}
	titles := []string{"SERVICE", "INSTANCE", "RELEASE", "STATE", "HEALTH", "ADDRESS", "DNS", "BY", "WEIGHT", "RESTARTS", "CPU", "MEMORY", "UP", "NOTE"}
	if l.Fleet {
		titles = []string{"ZONE", "NODE", "SERVICE", "INSTANCE", "RELEASE", "HEALTH", "ADDRESS", "DNS", "BY", "WEIGHT", "NOTE"}
	}
	t := s.Table(titles...)
	for _, r := range l.Instances {
		name, health := tool.Cell{Text: r.App + "/" + r.Service}, tool.Cell{Text: r.Health, Tint: healthTint(r.Health)}
		if l.Fleet {
			t.Cells(cell(r.Zone), cell(r.Node), name, cell(r.Instance), cell(r.Release), health, cell(r.Address), cell(r.DNS), cell(r.FoundBy), cell(weight(r)), cell(cut(r.Note, 60)))
			continue
		}
		state := tool.Cell{Text: r.State}
		if r.State != string(fleet.Running) {
			state.Tint = tool.Bad
		}
		t.Cells(name, cell(r.Instance), cell(r.Release), state, health, cell(r.Address), cell(r.DNS), cell(r.FoundBy), cell(weight(r)),
			cell(strconv.Itoa(r.Restarts)), cell(cores(r.CPU)), cell(memory(r.Memory)), cell(uptime(r)), cell(cut(r.Note, 60)))
	}
	t.Write(w)
}

func healthTint(h string) tool.Tint {
	switch h {
	case string(fleet.Passing):
		return tool.Good
	case string(fleet.Warning), string(fleet.Maintenance), unknown:
		return tool.Warn
	}
	return tool.Bad
}

func cell(text string) tool.Cell { return tool.Cell{Text: text} }

// weight renders e.g. "4", or "4 (8 workers)" where they differ.
func weight(r psRow) string {
	switch {
	case r.Weight == 0:
		return ""
	case r.Workers > 0 && r.Workers != r.Weight:
		return fmt.Sprintf("%d (%d workers)", r.Weight, r.Workers)
	}
	return strconv.Itoa(r.Weight)
}

func cores(n float64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(n, 'g', 4, 64)
}

func memory(n int64) string {
	if n == 0 {
		return ""
	}
	return tool.Bytes(n)
}

func uptime(r psRow) string {
	if r.Started.IsZero() {
		return ""
	}
	return age(time.Duration(r.Uptime * float64(time.Second)))
}

// age renders a duration with its two largest units, e.g. "3d4h", "5m12s".
func age(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s >= 86400:
		return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}
