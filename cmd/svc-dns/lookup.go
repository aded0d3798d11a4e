package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/answer"
	"svckit/lib/fault"
	"svckit/lib/follow"
	"svckit/lib/node"
	"svckit/lib/tool"
)

func lookupCommand(w *world) *cli.Command {
	return &cli.Command{
		Name: "lookup", Usage: "explain what a name is answered with", ArgsUsage: "NAME",
		Description: `Shows every instance behind a name of Consul: whether it is answered and why, its
weight and its zone, and how old that knowledge is. A svc-dns that runs on this
node says what it answers; where it has not been asked for the name, or does not
run, Consul is asked.`,
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			n, err := w.settings(s)
			if err != nil {
				return err
			}
			e, err := w.explain(ctx, s, n, c.Args().First())
			if err != nil {
				return err
			}
			return s.Result(e, func(out io.Writer) { e.write(out, s) })
		}),
	}
}

// explained is what lookup prints.
type explained struct {
	follow.Explanation
	From string `json:"from"` // svc-dns or consul
}

func (w *world) explain(ctx context.Context, s *tool.Session, n node.Settings, name string) (explained, error) {
	if len(name) > 253 || strings.ContainsAny(name, " \t\\") {
		return explained{}, fault.New(fault.Usage, "look up %q: not a DNS name", name)
	}
	e, err := askRunning(ctx, n, name)
	if err != nil {
		return explained{}, err
	}
	if e.Known || e.Kind != "" && e.Subject == "" {
		return explained{e, "svc-dns"}, nil
	}
	client, err := w.consul(s, n)
	if err != nil {
		return explained{}, err
	}
	agent, err := client.Self(ctx)
	if err != nil {
		return explained{}, err
	}
	o := options{}
	o.follow.Policy.Zone = n.Zone
	o.know(agent, false)
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	parsed := answer.ParseName(name, answer.TypeSRV, o.follow.Policy)
	e = follow.Explanation{Name: name, Kind: follow.KindWord(parsed.Kind), Zone: o.follow.Policy.Zone}
	if parsed.Kind != answer.Service && parsed.Kind != answer.NodeName {
		return explained{e, "consul"}, nil
	}
	state, err := client.State(ctx, parsed.Subject)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return explained{}, err
	}
	e.Subject, e.Known, e.Node = parsed.Subject.String(), true, state.Node
	e.Choices = answer.Choose(parsed.Tag, state, o.follow.Policy)
	return explained{e, "consul"}, nil
}

// askRunning asks the svc-dns of this node; without one it returns nothing.
func askRunning(ctx context.Context, n node.Settings, name string) (follow.Explanation, error) {
	path := controlPath(n)
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://svc-dns/lookup?name="+url.QueryEscape(name), http.NoBody)
	if err != nil {
		return follow.Explanation{}, err
	}
	var e follow.Explanation
	res, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrPermission):
		return e, nil
	case err != nil:
		return e, fault.New(fault.Failed, "ask svc-dns at %s: %w", path, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(&e); err != nil {
		return e, fault.New(fault.Failed, "ask svc-dns at %s: %w", path, err)
	}
	return e, nil
}

func (e explained) write(w io.Writer, s *tool.Session) {
	fmt.Fprintf(w, "%s: %s\n", s.Paint(tool.Plain, e.Name), e.headline())
	if e.Node != nil {
		fmt.Fprintln(w, s.Paint(tool.Good, e.Node.Address))
	}
	if len(e.Choices) == 0 {
		return
	}
	total := 0
	for _, c := range e.Choices {
		if c.In {
			total += c.Instance.Weight()
		}
	}
	t := s.Table("ANSWERED", "ADDRESS", "WEIGHT", "SHARE", "ZONE", "NODE", "ID", "WHY")
	for _, c := range e.Choices {
		word, tint, share := "no", tool.Bad, ""
		if c.In {
			word, tint = "yes", tool.Good
			if total > 0 {
				share = fmt.Sprintf("%.1f%%", 100*float64(c.Instance.Weight())/float64(total))
			}
		}
		i := c.Instance
		t.Cells(tool.Cell{Text: word, Tint: tint}, tool.Cell{Text: net.JoinHostPort(i.Reached(), strconv.Itoa(i.Port))},
			tool.Cell{Text: strconv.Itoa(i.Weight())}, tool.Cell{Text: share}, tool.Cell{Text: i.Zone}, tool.Cell{Text: i.Node},
			tool.Cell{Text: i.ID}, tool.Cell{Text: c.Reason})
	}
	t.Write(w)
}

// headline says what the name is, and how good the knowledge is.
func (e explained) headline() string {
	switch e.Kind {
	case "outside":
		return "not in Consul's domain: the system's servers are asked"
	case "agent":
		return "only the agent knows: its DNS is asked"
	case "nothing":
		return "no name of Consul: NXDOMAIN"
	case "address":
		return "an address that the name itself says"
	}
	text := e.Subject
	if e.Node == nil && len(e.Choices) == 0 {
		text += ", which does not exist: NXDOMAIN"
	}
	switch {
	case e.From == "consul":
		return text + ", read from Consul now"
	case e.Stale:
		return fmt.Sprintf("%s, last good answer of %s ago: %s", text, time.Duration(e.Age*float64(time.Second)).Round(time.Second),
			cmp.Or(e.Problem, "Consul cannot confirm it"))
	case e.Watched:
		return text + ", followed by a blocking query"
	}
	return fmt.Sprintf("%s, read %s ago", text, time.Duration(e.Age*float64(time.Second)).Round(time.Millisecond))
}
