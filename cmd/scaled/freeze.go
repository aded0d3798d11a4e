package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/tool"
)

func freezeCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "freeze", Usage: "forbid changes of a service, a pool or everything", ArgsUsage: "[SCOPE]",
		Description: `SCOPE is all, or an APP/SERVICE. no-down lets sizes grow only; no-change keeps them; observe has
decisions made and shown, and nothing carried out. Without arguments it lists what is frozen. Nodes see it within a second, also while no planner
runs.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "pool", Usage: "freeze this `POOL`"},
			&cli.StringFlag{Name: "mode", Value: string(scale.NoDown), Usage: "no-down, no-change or observe"},
			lasts("thaw by itself after `TIME`"), why(), tool.DryRun(),
		},
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if len(s.Args) == 0 && c.String("pool") == "" {
				return listFreezes(ctx, w, s)
			}
			name, o, err := frozenName(s, c)
			if err != nil {
				return err
			}
			mode := scale.FreezeMode(c.String("mode"))
			if mode != scale.NoDown && mode != scale.NoChange && mode != scale.Observe {
				return fault.New(fault.Usage, "--mode %q: expected no-down, no-change or observe", mode)
			}
			end, err := until(w, c)
			if err != nil {
				return err
			}
			orders, err := readOrders(ctx, w, s)
			if err != nil {
				return err
			}
			o.given = len(orders.Bad) == 0 && slices.ContainsFunc(orders.Freezes, func(f planner.Freeze) bool { return f.Name == name && f.Mode == mode && f.Until == end })
			o.Words = fmt.Sprintf("%s frozen (%s) %s", shownScope(name), mode, ends(end))
			return give(ctx, w, s, o, func(ctx context.Context, k *consul.Client) (bool, error) {
				return true, k.Freeze(ctx, name, scale.Freeze{Mode: mode, Until: end, Who: who(w), Why: c.String("why")})
			})
		}),
	}
}

func thawCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "thaw", Usage: "end a freeze", ArgsUsage: "[SCOPE]",
		Description:  "SCOPE is all, or an APP/SERVICE.",
		Flags:        []cli.Flag{&cli.StringFlag{Name: "pool", Usage: "thaw this `POOL`"}, tool.DryRun()},
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			name, o, err := frozenName(s, c)
			if err != nil {
				return err
			}
			orders, err := readOrders(ctx, w, s)
			if err != nil {
				return err
			}
			o.given = len(orders.Bad) == 0 && !slices.ContainsFunc(orders.Freezes, func(f planner.Freeze) bool { return f.Name == name })
			o.Words = shownScope(name) + " thawed"
			return give(ctx, w, s, o, func(ctx context.Context, k *consul.Client) (bool, error) { return k.Thaw(ctx, name) })
		}),
	}
}

// frozenName is what a freeze is of: "" for everything.
func frozenName(s *tool.Session, c *cli.Context) (string, order, error) {
	pool := c.String("pool")
	switch {
	case pool != "" && len(s.Args) > 0:
		return "", order{}, fault.New(fault.Usage, "expected either --pool or a service, found both")
	case pool != "":
		return pool, order{Pool: pool}, nil
	case len(s.Args) == 1 && s.Args[0] == "all":
		return "", order{}, nil
	}
	name, err := serviceArg(s)
	return name, order{Service: name}, err
}

func shownScope(name string) string {
	if name == "" {
		return "everything"
	}
	return name
}

// freezeList is what is frozen.
type freezeList struct {
	Freezes    []planner.Freeze  `json:"freezes"`
	Unreadable map[string]string `json:"unreadable,omitempty"`
}

func listFreezes(ctx context.Context, w *here.Node, s *tool.Session) error {
	o, err := readOrders(ctx, w, s)
	if err != nil {
		return err
	}
	out := freezeList{Freezes: append([]planner.Freeze{}, o.Freezes...), Unreadable: o.Bad}
	return s.Result(out, func(w io.Writer) {
		if len(out.Freezes) == 0 {
			fmt.Fprintln(w, "nothing is frozen")
			return
		}
		t := s.Table("SCOPE", "NAME", "MODE", "ENDS", "WHO", "WHY")
		for _, z := range out.Freezes {
			t.Row(z.Scope, z.Name, string(z.Mode), ends(z.Until), z.Who, z.Why)
		}
		t.Write(w)
	})
}

// readOrders reads what people told the planner, and says what of it cannot be read.
func readOrders(ctx context.Context, w *here.Node, s *tool.Session) (planner.Orders, error) {
	client, err := w.Consul(s)
	if err != nil {
		return planner.Orders{}, err
	}
	o, err := client.Orders(ctx)
	for key, why := range o.Bad {
		s.Say("unreadable: %s: %s", key, why)
	}
	return o, err
}
