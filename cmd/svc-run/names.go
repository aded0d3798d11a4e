package main

import (
	"context"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"svckit/lib/consul"
	"svckit/lib/node"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// serviceNames completes APP/SERVICE, and SERVICE where the folder has an app.yaml.
func serviceNames(w *world) cli.BashCompleteFunc {
	return tool.Names(func(ctx context.Context, c *cli.Context, want tool.Want) []string {
		if want.Flag == "release" {
			return releaseNames(ctx, w, c, want.Args)
		}
		if want.Flag != "" || len(want.Args) > 0 {
			return nil
		}
		var names []string
		if local, err := w.local(); err == nil && local != nil {
			for _, s := range local.Services {
				names = append(names, s.Key, local.Name+"/"+s.Key)
			}
		}
		client := quietConsul(w, c)
		if client == nil {
			return names
		}
		apps, _ := client.Apps(ctx)
		for _, app := range apps {
			if prefix, _, whole := strings.Cut(want.Prefix, "/"); !whole || prefix != app {
				names = append(names, app)
				continue
			}
			if newest, _, err := client.Releases(ctx, app); err == nil && len(newest) > 0 {
				decoded, _ := spec.Decode("", []byte(newest[0].Spec))
				for _, s := range decoded.Services {
					names = append(names, app+"/"+s.Key)
				}
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	})
}

// appNames completes APP and, after it, RELEASE.
func appNames(w *world) cli.BashCompleteFunc {
	return tool.Names(func(ctx context.Context, c *cli.Context, want tool.Want) []string {
		switch client := quietConsul(w, c); {
		case client == nil:
			return nil
		case len(want.Args) == 1 && c.Command != nil:
			return releaseNames(ctx, w, c, want.Args)
		case len(want.Args) == 0 && (want.Flag == "" || want.Flag == "app"):
			apps, _ := client.Apps(ctx)
			return apps
		}
		return nil
	})
}

func releaseNames(ctx context.Context, w *world, c *cli.Context, args []string) []string {
	client := quietConsul(w, c)
	if client == nil || len(args) == 0 {
		return nil
	}
	app, _, _ := strings.Cut(args[0], "/")
	list, _, err := client.Releases(ctx, app)
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range list {
		about := r.BuiltAt.Format("2006-01-02 15:04")
		if r.Stable != nil {
			about += " stable"
		}
		names = append(names, r.Name+"\t"+about)
	}
	return names
}

// quietConsul opens Consul for a completion, where nothing may be said.
func quietConsul(w *world, c *cli.Context) *consul.Client {
	path := c.String("config")
	if path == "" {
		path = node.DefaultPath
	}
	settings, err := node.Load(path, w.getenv)
	if err != nil {
		return nil
	}
	client, err := consul.Open(settings.Prefix, hclog.NewNullLogger())
	if err != nil {
		return nil
	}
	return client
}
