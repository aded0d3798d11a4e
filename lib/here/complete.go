package here

import (
	"context"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/consul"
	"svckit/lib/node"
	"svckit/lib/spec"
	"svckit/lib/tool"
)

// ServiceNames completes APP/SERVICE, and SERVICE where the folder has an app.yaml.
// config is the file of the node's settings, "" for the default place.
func (w *Node) ServiceNames(ctx context.Context, config string, want tool.Want) []string {
	if want.Flag == "release" {
		return w.releaseNames(ctx, config, want.Args)
	}
	if want.Flag != "" || len(want.Args) > 0 {
		return nil
	}
	var names []string
	if local, err := w.Spec(); err == nil && local != nil {
		for _, s := range local.Services {
			names = append(names, s.Key, local.Name+"/"+s.Key)
		}
	}
	client := w.quietConsul(config)
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
}

// AppNames completes APP and, after it, RELEASE. config is as for ServiceNames.
func (w *Node) AppNames(ctx context.Context, config string, want tool.Want) []string {
	switch client := w.quietConsul(config); {
	case client == nil:
		return nil
	case len(want.Args) == 1:
		return w.releaseNames(ctx, config, want.Args)
	case len(want.Args) == 0 && (want.Flag == "" || want.Flag == "app"):
		apps, _ := client.Apps(ctx)
		return apps
	}
	return nil
}

func (w *Node) releaseNames(ctx context.Context, config string, args []string) []string {
	client := w.quietConsul(config)
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
func (w *Node) quietConsul(config string) *consul.Client {
	path := first(config, node.DefaultPath)
	settings, err := node.Load(path, w.Getenv)
	if err != nil {
		return nil
	}
	client, err := consul.Open(settings.Prefix, hclog.NewNullLogger())
	if err != nil {
		return nil
	}
	return client
}
