package main

import (
	"context"
	"fmt"
	"reflect"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/scale"
	"svckit/lib/tool"
)

func setCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "set a size or bounds by hand, over those of the spec", ArgsUsage: "APP/SERVICE",
		Description: `--size is exactly so many, whatever the load says; --min and --max are bounds. Where a planner leads, it
carries it out in its next cycle; where none does, this call does so itself, with one cycle of planning.
--clear takes it back.`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "size", Usage: "exactly `N`"}, &cli.IntFlag{Name: "min", Usage: "at least `N`"}, &cli.IntFlag{Name: "max", Usage: "at most `N`"},
			&cli.BoolFlag{Name: "clear", Usage: "take back what was set"},
			lasts("take it back by itself after `TIME`"), why(), tool.DryRun(),
		},
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			name, err := serviceArg(s)
			if err != nil {
				return err
			}
			hand, words, err := handOf(w, c)
			if err != nil {
				return err
			}
			orders, err := readOrders(ctx, w, s)
			if err != nil {
				return err
			}
			o := order{Service: name, Words: name + ": " + words, given: len(orders.Bad) == 0 && sameHand(orders.Hands, name, hand)}
			err = give(ctx, w, s, o, func(ctx context.Context, k *consul.Client) (bool, error) {
				changed, err := k.SetHand(ctx, name, hand)
				return changed || hand != nil && err == nil, err
			})
			if err != nil || s.DryRun || o.given {
				return err
			}
			return carryOut(ctx, w, s)
		}),
	}
}

// handOf reads the flags of set; nil takes back.
func handOf(w *here.Node, c *cli.Context) (*scale.Hand, string, error) {
	any := c.IsSet("size") || c.IsSet("min") || c.IsSet("max")
	switch {
	case c.Bool("clear") && any:
		return nil, "", fault.New(fault.Usage, "expected either --clear or a number, found both")
	case c.Bool("clear"):
		return nil, "what was set by hand is taken back", nil
	case !any:
		return nil, "", fault.New(fault.Usage, "expected --size, --min, --max or --clear")
	case c.IsSet("size") && (c.IsSet("min") || c.IsSet("max")):
		return nil, "", fault.New(fault.Usage, "expected either --size or bounds, found both")
	}
	end, err := until(w, c)
	if err != nil {
		return nil, "", err
	}
	h := scale.Hand{Until: end, Who: who(w), Why: c.String("why")}
	words := ""
	for _, f := range []struct {
		name string
		into **int
	}{{"size", &h.Size}, {"min", &h.Min}, {"max", &h.Max}} {
		if c.IsSet(f.name) {
			n := c.Int(f.name)
			*f.into = &n
			words += fmt.Sprintf("%s %d ", f.name, n)
		}
	}
	return &h, words + ends(end), nil
}

// sameHand reports whether just that was set before. Who said it and why do not count, an end does.
func sameHand(hands map[string]scale.Hand, name string, hand *scale.Hand) bool {
	have, set := hands[name]
	if hand == nil || !set {
		return hand == nil && !set
	}
	have.Who, have.Why = hand.Who, hand.Why
	return reflect.DeepEqual(have, *hand)
}

// carryOut plans one cycle where no planner leads.
func carryOut(ctx context.Context, w *here.Node, s *tool.Session) error {
	out, err := once(ctx, w, s)
	if fault.KindOf(err) == fault.Conflict {
		return nil // somebody leads, and will
	}
	if err != nil {
		return fmt.Errorf("it is set, and no planner leads that would carry it out: %w", err)
	}
	for _, n := range out.Nodes {
		s.Say("no planner leads: told %s by this call", n.Node)
	}
	return nil
}
