package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/survey"
	"svckit/lib/tool"
)

func poolCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "pool", Usage: "show pools, and move nodes between them",
		Description: `A node is in the pool that its node meta names ("pool" in Consul's node_meta), else in "default", until
it is put elsewhere here or lent. What runs on a node that leaves is first raised elsewhere.`,
		Subcommands: []*cli.Command{poolList(w), poolAdd(w), poolRemove(w), poolLend(w), poolDrain(w)},
	}
}

// poolRow is one pool with all of its nodes.
type poolRow struct {
	place.Pool
	Nodes []poolNode `json:"nodes"`
}

type poolNode struct {
	planner.Member
	Alive bool `json:"alive"`
}

type poolRows struct {
	Pools []poolRow `json:"pools"`
}

func poolList(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "show pools and their nodes",
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			orders, err := readOrders(ctx, w, s)
			if err != nil {
				return err
			}
			client, err := w.Consul(s)
			if err != nil {
				return err
			}
			monitors, err := client.Monitors(ctx)
			if err != nil {
				return err
			}
			out := poolRows{Pools: poolsOf(orders.Pools, monitors)}
			return s.Result(out, func(w io.Writer) { out.write(w, s) })
		}),
	}
}

// poolsOf puts every node into its pool.
func poolsOf(pools []planner.Membership, monitors []fleet.Monitor) []poolRow {
	s := survey.Snapshot(survey.Facts{Pools: pools, Monitors: monitors})
	out := make([]poolRow, 0, len(s.Pools))
	for _, p := range s.Pools {
		row := poolRow{Pool: p, Nodes: []poolNode{}}
		for _, n := range s.Nodes {
			if n.Pool != p.Name {
				continue
			}
			m := planner.Member{Node: n.Name, Home: n.Home, Due: n.Due, Draining: n.Draining, Leaving: n.Leaving}
			for _, q := range pools {
				if k := slices.IndexFunc(q.Nodes, func(x planner.Member) bool { return x.Node == n.Name }); k >= 0 && q.Name == p.Name {
					m = q.Nodes[k]
				}
			}
			row.Nodes = append(row.Nodes, poolNode{m, n.Alive})
		}
		out = append(out, row)
	}
	return out
}

func (o poolRows) write(w io.Writer, s *tool.Session) {
	t := s.Table("POOL", "CLASS", "LOANS", "NODE", "ALIVE", "STATE", "WHY")
	for _, p := range o.Pools {
		class := cmp.Or(string(p.Class), string(place.Production))
		if len(p.Nodes) == 0 {
			t.Row(p.Name, class, strconv.Itoa(p.Loans), "-", "", "", "")
		}
		for _, n := range p.Nodes {
			var state []string
			if n.Home != "" && n.Home != p.Name {
				words := "on loan from " + n.Home
				if n.Due != 0 {
					words += " " + ends(n.Due)
				}
				state = append(state, words)
			}
			if n.Draining {
				state = append(state, "draining")
			}
			if n.Leaving {
				state = append(state, "leaving")
			}
			t.Row(p.Name, class, strconv.Itoa(p.Loans), n.Node, map[bool]string{true: "yes", false: "no"}[n.Alive], strings.Join(state, ", "), n.Why)
		}
	}
	t.Write(w)
}

func poolAdd(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "make or change a pool, and put nodes into it", ArgsUsage: "POOL [NODE…]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "class", Usage: "vip, production, stable, internal or free"},
			&cli.IntFlag{Name: "loans", Usage: "it may hold `N` nodes on loan"},
			&cli.IntFlag{Name: "reserve", Usage: "of a free pool: `N` nodes that only vip pools may take"},
			why(), tool.DryRun(),
		},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if len(s.Args) == 0 {
				return fault.New(fault.Usage, "expected a pool")
			}
			name, nodes := s.Args[0], s.Args[1:]
			o := order{Pool: name, Words: strings.TrimSpace("pool " + name + " " + strings.Join(nodes, " "))}
			return editPools(ctx, w, s, o, func(e *poolEdit) error {
				p := e.pool(name)
				if c.IsSet("class") {
					p.Class = place.Class(c.String("class"))
				}
				if c.IsSet("loans") {
					p.Loans = c.Int("loans")
				}
				if c.IsSet("reserve") {
					p.Reserve = c.Int("reserve")
				}
				for _, n := range nodes {
					m := e.take(n)
					m.Home, m.Due, m.Leaving, m.Who, m.Why = "", 0, false, who(w), c.String("why")
					e.put(name, m)
				}
				return nil
			})
		}),
	}
}

func poolRemove(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "let nodes go back to the pool of their own meta", ArgsUsage: "POOL NODE…",
		Flags: []cli.Flag{tool.DryRun()},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			if len(s.Args) < 2 {
				return fault.New(fault.Usage, "expected a pool and its nodes, found %d arguments", len(s.Args))
			}
			name, nodes := s.Args[0], s.Args[1:]
			o := order{Pool: name, Words: "out of pool " + name + ": " + strings.Join(nodes, " ")}
			return editPools(ctx, w, s, o, func(e *poolEdit) error {
				for _, n := range nodes {
					if at := e.poolOf(n); at != name {
						return fault.New(fault.NotFound, "node %s was not put into pool %s by hand or by a loan", n, name)
					}
					e.take(n)
				}
				return nil
			})
		}),
	}
}

func poolLend(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "lend", Usage: "lend a node to another pool", ArgsUsage: "NODE POOL",
		Flags: []cli.Flag{lasts("it is emptied and goes home by itself after `TIME`"), why(), tool.DryRun()},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if len(s.Args) != 2 {
				return fault.New(fault.Usage, "expected a node and the pool it is lent to, found %d arguments", len(s.Args))
			}
			due, err := until(w, c)
			if err != nil {
				return err
			}
			name, to := s.Args[0], s.Args[1]
			o := order{Pool: to, Words: fmt.Sprintf("%s lent to pool %s %s", name, to, ends(due))}
			return editPools(ctx, w, s, o, func(e *poolEdit) error {
				home := e.home(name)
				if home == "" {
					return fault.WithHint(fault.New(fault.NotFound, "node %s has no monitor", name), "scaled pool list")
				}
				if home == to {
					return fault.New(fault.Refused, "node %s is of pool %s itself", name, to)
				}
				m := e.take(name)
				m.Home, m.Due, m.Who, m.Why = cmp.Or(m.Home, home), due, who(w), c.String("why")
				e.put(to, m)
				return nil
			})
		}),
	}
}

func poolDrain(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "drain", Usage: "empty a node: what runs there is raised elsewhere first", ArgsUsage: "NODE",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "undo", Usage: "let things be placed there again"},
			&cli.DurationFlag{Name: "wait", Usage: "wait up to `TIME` until nothing that the planner placed is left there"}, why(), tool.DryRun(),
		},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if len(s.Args) != 1 {
				return fault.New(fault.Usage, "expected a node, found %d arguments", len(s.Args))
			}
			name, drain := s.Args[0], !c.Bool("undo")
			words := map[bool]string{true: " is emptied", false: " takes part again"}[drain]
			o := order{Words: name + words}
			if drain && c.IsSet("wait") && !s.DryRun {
				o.await = func(ctx context.Context, k *consul.Client) error {
					return awaitEmpty(ctx, s, k, name, c.Duration("wait"))
				}
			}
			return editPools(ctx, w, s, o, func(e *poolEdit) error {
				at := cmp.Or(e.poolOf(name), e.home(name))
				if at == "" {
					return fault.WithHint(fault.New(fault.NotFound, "node %s has no monitor", name), "scaled pool list")
				}
				m := e.take(name)
				m.Draining, m.Who, m.Why = drain, who(w), c.String("why")
				if drain || m.Home != "" || at != e.home(name) {
					e.put(at, m)
				}
				return nil
			})
		}),
	}
}

// poolEdit changes pools as they were read; only what differs is written.
type poolEdit struct {
	pools    map[string]*planner.Membership
	monitors []fleet.Monitor
	changed  map[string]bool
}

func editPools(ctx context.Context, w *here.Node, s *tool.Session, o order, edit func(*poolEdit) error) error {
	client, err := w.Consul(s)
	if err != nil {
		return err
	}
	orders, err := readOrders(ctx, w, s)
	if err != nil {
		return err
	}
	e := &poolEdit{pools: map[string]*planner.Membership{}, changed: map[string]bool{}}
	before := orders.Pools
	if e.monitors, err = client.Monitors(ctx); err != nil {
		return err
	}
	for _, p := range orders.Pools {
		p.Nodes = slices.Clone(p.Nodes)
		e.pools[p.Name] = &p
	}
	if err := edit(e); err != nil {
		return err
	}
	for _, p := range before {
		if e.changed[p.Name] && samePool(p, *e.pools[p.Name]) {
			delete(e.changed, p.Name)
		}
	}
	o.given = len(e.changed) == 0
	return give(ctx, w, s, o, func(ctx context.Context, k *consul.Client) (bool, error) {
		// The pool that a node comes to is written before the one it leaves: cut in
		// between, it is in two, of which the planner takes the first by name.
		for _, name := range slices.SortedFunc(maps.Keys(e.changed), func(a, b string) int {
			return cmp.Or(cmp.Compare(len(e.pools[b].Nodes), len(e.pools[a].Nodes)), cmp.Compare(a, b))
		}) {
			if err := k.SetPool(ctx, *e.pools[name]); err != nil {
				return false, err
			}
		}
		return len(e.changed) > 0, nil
	})
}

func (e *poolEdit) pool(name string) *planner.Membership {
	if e.pools[name] == nil {
		e.pools[name] = &planner.Membership{Pool: place.Pool{Name: name}}
	}
	e.changed[name] = true
	return e.pools[name]
}

// poolOf is the pool that a node was put into; "": its meta says where it is.
func (e *poolEdit) poolOf(node string) string {
	for _, name := range slices.Sorted(maps.Keys(e.pools)) {
		if slices.ContainsFunc(e.pools[name].Nodes, func(m planner.Member) bool { return m.Node == node }) {
			return name
		}
	}
	return ""
}

// home is the pool of a node's own meta; "" for one without a monitor.
func (e *poolEdit) home(node string) string {
	for _, m := range e.monitors {
		if m.Node == node {
			return cmp.Or(m.Pool, survey.DefaultPool)
		}
	}
	return ""
}

// take removes a node from every pool, and returns what was said of it.
func (e *poolEdit) take(node string) planner.Member {
	out := planner.Member{Node: node}
	for _, name := range slices.Sorted(maps.Keys(e.pools)) {
		p := e.pools[name]
		if k := slices.IndexFunc(p.Nodes, func(m planner.Member) bool { return m.Node == node }); k >= 0 {
			out, e.changed[name] = p.Nodes[k], true
			p.Nodes = slices.Delete(p.Nodes, k, k+1)
		}
	}
	return out
}

func (e *poolEdit) put(pool string, m planner.Member) {
	p := e.pool(pool)
	p.Nodes = append(p.Nodes, m)
}
