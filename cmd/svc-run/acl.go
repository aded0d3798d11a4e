package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/rights"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

func aclCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "acl", Usage: "print the rights in Consul that a role needs, as the rules of a policy", ArgsUsage: "ROLE [APP|NODE]",
		Description: `owner APP       everything of the app: its config and secrets, its releases, what runs
member APP      releases of the app, and its reload; reads its config and secrets, changes neither
scaler          scaled run, and orders to it
node NODE       the daemons of a node: scaled node, svc-reload watch, svc-run restore
dns NODE        svc-dns

    svc-run acl member shop | consul acl policy create -name shop-member -rules -

Nothing is written. The names of an app's services come from the app.yaml of the folder, else from its newest release.`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "apps", Usage: "with node: only these `APPS` (comma-separated) may be registered there", DefaultText: "all"}},
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			role, of := rights.Role(s.Args[0]), ""
			if len(s.Args) > 1 {
				of = s.Args[1]
			}
			if !slices.Contains(rights.Roles(), role) {
				return fault.New(fault.Usage, "no role %q: expected owner, member, scaler, node or dns", role)
			}
			if (of == "") != (role == rights.Scaler) {
				return fault.WithHint(fault.New(fault.Usage, "role %s: %s", role, map[bool]string{true: "takes no name", false: "a name is missing"}[of != ""]),
					"svc-run acl --help")
			}
			out, err := aclOf(ctx, w, s, role, of, c.String("apps"))
			if err != nil {
				return err
			}
			return s.Result(out, func(to io.Writer) { fmt.Fprint(to, out.Rules) })
		}),
	}
}

// aclResult is what acl prints.
type aclResult struct {
	Role  rights.Role `json:"role"`
	Of    string      `json:"of"`    // app or node
	Rules string      `json:"rules"` // HCL
}

func aclOf(ctx context.Context, w *here.Node, s *tool.Session, role rights.Role, of, apps string) (aclResult, error) {
	settings, err := w.Settings(s)
	if err != nil {
		return aclResult{}, err
	}
	out := aclResult{Role: role, Of: of}
	if role != rights.Owner && role != rights.Member {
		if strings.ContainsAny(of+apps, "\"\\\n{}") {
			return out, fault.New(fault.Usage, "%q is no name", of+apps)
		}
		out.Rules = rights.OfDaemon(role, settings.Prefix, of, strings.FieldsFunc(apps, func(r rune) bool { return r == ',' }))
		return out, nil
	}
	if _, _, err := spec.ParseRef(of + "/web"); err != nil {
		return out, err
	}
	local, err := w.Spec()
	if err != nil {
		return out, err
	}
	app := spec.App{Name: of}
	if local != nil && local.Name == of {
		app = *local
	} else if app, err = newestSpec(ctx, w, s, app); err != nil {
		return out, err
	}
	out.Rules = rights.OfApp(role, settings.Prefix, app)
	return out, nil
}

// newestSpec is the spec of an app's newest release; an app without one has a name alone.
func newestSpec(ctx context.Context, w *here.Node, s *tool.Session, app spec.App) (spec.App, error) {
	client, err := w.Consul(s)
	if err != nil {
		return app, err
	}
	list, _, err := client.Releases(ctx, app.Name)
	switch {
	case errors.Is(err, fleet.ErrNotFound), err == nil && len(list) == 0:
		s.Say("note: no release of %s yet: services with a name: of their own are not among the rules", app.Name)
		return app, nil
	case err != nil:
		return app, err
	}
	return apply.SpecOf(list[0])
}
