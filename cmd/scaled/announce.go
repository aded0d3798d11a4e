package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/planner"
	"svckit/lib/scale"
	"svckit/lib/tool"
)

func announceCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "announce", Usage: "say that a load will come, so that workers are there before it", ArgsUsage: "APP/SERVICE",
		Description: `Give the load as requests per second, or as a factor of what it is now. Workers are raised at once, and
kept until the hold is over; then the service goes down as always. When nothing came, an alarm says so.`,
		Flags: []cli.Flag{
			&cli.Float64Flag{Name: "rps", Usage: "`N` requests per second will come"},
			&cli.Float64Flag{Name: "factor", Usage: "`N` times the load of now will come"},
			&cli.DurationFlag{Name: "in", Usage: "it comes in `TIME`; workers are there before"},
			&cli.DurationFlag{Name: "hold", Value: 30 * time.Minute, Usage: "keep the workers for `TIME` from its start"},
			&cli.StringFlag{Name: "id", Usage: "call it `NAME`; default is the time"},
			tool.DryRun(),
		},
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			a, err := announcement(w, s, c)
			if err != nil {
				return err
			}
			if a.Factor > 0 {
				if a.Base, err = demandNow(ctx, w, s, a.Service); err != nil {
					return err
				}
			}
			o := order{Service: a.Service, Words: fmt.Sprintf("announced %s for %s: %s, %s", a.ID, a.Service, loadWords(a), ends(a.Until))}
			return give(ctx, w, s, o, func(ctx context.Context, k *consul.Client) (bool, error) { return true, k.Announce(ctx, a) })
		}),
	}
}

// startsBefore is by how much workers are there before an announced load.
const startsBefore = time.Minute

func announcement(w *here.Node, s *tool.Session, c *cli.Context) (planner.Announcement, error) {
	name, err := serviceArg(s)
	if err != nil {
		return planner.Announcement{}, err
	}
	rps, factor := c.Float64("rps"), c.Float64("factor")
	if (rps > 0) == (factor > 0) || rps < 0 || factor < 0 {
		return planner.Announcement{}, fault.New(fault.Usage, "expected either --rps or --factor, above 0")
	}
	if c.Duration("in") < 0 || c.Duration("hold") < time.Second {
		return planner.Announcement{}, fault.New(fault.Usage, "--in %s --hold %s: expected 0 or more, and a second or more", c.Duration("in"), c.Duration("hold"))
	}
	now := w.Now()
	starts := now.Add(c.Duration("in"))
	from := starts.Add(-startsBefore)
	if from.Before(now) {
		from = now
	}
	id := cmp.Or(c.String("id"), now.UTC().Format("20060102-150405"))
	return planner.Announcement{Service: name, Announcement: scale.Announcement{
		ID: id, Who: who(w), From: from.Unix(), Until: starts.Add(c.Duration("hold")).Unix(), RPS: rps, Factor: factor,
	}}, nil
}

// demandNow is the demand that a factor is of.
func demandNow(ctx context.Context, w *here.Node, s *tool.Session, name string) (float64, error) {
	client, err := w.Consul(s)
	if err != nil {
		return 0, err
	}
	status, err := client.Status(ctx, name)
	if err != nil {
		return 0, fault.WithHint(err, "a factor needs a service that is planned already; else give --rps")
	}
	if status.Demand <= 0 {
		return 0, fault.WithHint(fault.New(fault.Refused, "announce for %s: it has no demand now that could be multiplied", name), "give --rps")
	}
	return status.Demand, nil
}

func loadWords(a planner.Announcement) string {
	if a.RPS > 0 {
		return strconv.FormatFloat(a.RPS, 'g', -1, 64) + " requests per second"
	}
	return fmt.Sprintf("%g times the demand of now, %.1f Erlangs", a.Factor, a.Base)
}

func announcementsCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "announcements", Usage: "list the loads that are announced", ArgsUsage: "[APP/SERVICE]",
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
			o, err := readOrders(ctx, w, s)
			if err != nil {
				return err
			}
			out := announced{Announcements: []planner.Announcement{}}
			for _, a := range o.Announced {
				if only == "" || a.Service == only {
					out.Announcements = append(out.Announcements, a)
				}
			}
			slices.SortFunc(out.Announcements, func(a, b planner.Announcement) int {
				return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
			})
			return s.Result(out, func(to io.Writer) { out.write(to, s, w.Now()) })
		}),
	}
}

type announced struct {
	Announcements []planner.Announcement `json:"announcements"`
}

func (o announced) write(w io.Writer, s *tool.Session, now time.Time) {
	if len(o.Announcements) == 0 {
		fmt.Fprintln(w, "nothing is announced")
		return
	}
	t := s.Table("SERVICE", "ID", "LOAD", "STATE", "ENDS", "WHO")
	for _, a := range o.Announcements {
		state := "holds"
		switch {
		case a.From > now.Unix():
			state = "comes in " + (time.Duration(a.From-now.Unix()) * time.Second).String()
		case a.Until <= now.Unix():
			state = "over"
		}
		t.Row(a.Service, a.ID, loadWords(a), state, ends(a.Until), a.Who)
	}
	t.Write(w)
}

func cancelCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "cancel", Usage: "take an announcement back", ArgsUsage: "APP/SERVICE ID",
		Flags:        []cli.Flag{tool.DryRun()},
		BashComplete: names(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, _ *cli.Context) error {
			if len(s.Args) != 2 {
				return fault.New(fault.Usage, "expected APP/SERVICE and the announcement's ID, found %d arguments", len(s.Args))
			}
			name, id := s.Args[0], s.Args[1]
			o := order{Service: name, Words: fmt.Sprintf("announcement %s of %s taken back", id, name)}
			return give(ctx, w, s, o, func(ctx context.Context, k *consul.Client) (bool, error) {
				there, err := k.Cancel(ctx, name, id)
				if err == nil && !there {
					err = fault.WithHint(fault.New(fault.NotFound, "cancel %s of %s: %w", id, name, fleet.ErrNotFound), "scaled announcements %s", name)
				}
				return there, err
			})
		}),
	}
}
