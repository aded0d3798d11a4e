package docker

import (
	"cmp"
	"context"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"

	"svckit/lib/fleet"
)

// kindService is the value of svckit.kind on the containers that Instances lists.
const kindService = "service"

// Instances lists the containers of a service, running or not, sorted by
// CreatedAt, then Name. "" means every app, or every service of an app. A
// container whose labels make no sense is listed too: see Instance.Bad.
func (e *Engine) Instances(ctx context.Context, app, service string) ([]fleet.Instance, error) {
	return e.instances(ctx, app, service, nil)
}

// InstancesSince is Instances of every app, for who asks often: a container that
// ran before and still does is not looked into again. What others changed of it
// since, its cores for one, is then not seen, nor a restart between the two calls.
func (e *Engine) InstancesSince(ctx context.Context, before []fleet.Instance) ([]fleet.Instance, error) {
	known := make(map[string]fleet.Instance, len(before))
	for _, i := range before {
		if i.State == fleet.Running {
			known[i.ID] = i
		}
	}
	return e.instances(ctx, "", "", known)
}

// inspectAtOnce is how many containers the engine is asked about at the same time: it answers each in a
// few milliseconds, most of which nobody works in.
const inspectAtOnce = 8

func (e *Engine) instances(ctx context.Context, app, service string, known map[string]fleet.Instance) ([]fleet.Instance, error) {
	want := filters.NewArgs(filters.Arg("label", fleet.LabelKind+"="+kindService))
	if app != "" {
		want.Add("label", fleet.LabelApp+"="+app)
	}
	if service != "" {
		want.Add("label", fleet.LabelService+"="+service)
	}
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: want})
	if err != nil {
		return nil, e.wrap(err, "list containers")
	}
	found := make([]fleet.Instance, len(list)) // without an ID: removed since it was listed
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inspectAtOnce)
	for n, c := range list {
		if i, ok := known[c.ID]; ok && c.State == string(fleet.Running) {
			found[n] = i
			continue
		}
		group.Go(func() error {
			raw, err := e.api.ContainerInspect(ctx, c.ID)
			switch {
			case cerrdefs.IsNotFound(err):
				return nil
			case err != nil:
				return e.wrap(err, "inspect container %s", short(c.ID))
			}
			found[n] = instanceOf(raw)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(found, func(i fleet.Instance) bool { return i.ID == "" })
	slices.SortFunc(out, func(a, b fleet.Instance) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Instance reads one container by id or name, whatever it is for.
// Without one it is fleet.ErrNotFound.
func (e *Engine) Instance(ctx context.Context, id string) (fleet.Instance, error) {
	raw, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return fleet.Instance{}, e.wrap(err, "inspect container %s", short(id))
	}
	return instanceOf(raw), nil
}
