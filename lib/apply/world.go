// Package apply brings a node to what is wanted: it looks, lets package rollout
// plan, and walks the plan. It touches the world only through the small
// interfaces below, which the adapters and one fake fulfil.
package apply

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// Containers changes containers. Stop and Remove are nil for one that is gone;
// Start returns fleet.ErrPortTaken when its host port is held by something else.
type Containers interface {
	Create(ctx context.Context, c fleet.Container) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
}

// Views looks at containers. Instance returns fleet.ErrNotFound for one that is gone.
type Views interface {
	Instances(ctx context.Context, app, service string) ([]fleet.Instance, error)
	Instance(ctx context.Context, id string) (fleet.Instance, error)
	Processes(ctx context.Context, id string) ([]fleet.Process, error)
	Tail(ctx context.Context, id string, lines int) ([]string, error)
}

// Tuner changes a container that runs.
type Tuner interface {
	Signal(ctx context.Context, id, signal string) error
	UpdateCores(ctx context.Context, id string, cores []int) error
}

// Images brings images to the node. Image returns fleet.ErrNotFound for one that
// is not here. User is who a container's program runs as; it may not have started yet.
type Images interface {
	Pull(ctx context.Context, ref string, p fleet.Progress) error
	Image(ctx context.Context, ref string) (fleet.Image, error)
	User(ctx context.Context, container string) (uid, gid int, err error)
}

// Registrar makes instances known to the local Consul agent. Await waits until
// the agent's cluster shows the registration with that health; Deregister is
// nil for one that is gone. Register of one in maintenance never shows it as passing.
type Registrar interface {
	Register(ctx context.Context, r fleet.Registration) error
	Deregister(ctx context.Context, id string) error
	Registrations(ctx context.Context) ([]fleet.Registration, error)
	Await(ctx context.Context, id, name string, want fleet.Health) error
}

// Book reads what Consul KV holds about an app.
type Book interface {
	Layers(ctx context.Context, app, service string) (spec.Layers, error)
	Release(ctx context.Context, app, name string) (fleet.Release, error)
	Releases(ctx context.Context, app string) (list []fleet.Release, bad []string, err error)
	Current(ctx context.Context, app string) (fleet.Current, error)
}

// Files puts rendered files and secrets where a container finds them.
type Files interface {
	// Prepare makes the folders of one instance, empty, so that they can be mounted.
	// It returns the symbolic links that the container needs: a rendered file's
	// target → where it is delivered in the container.
	Prepare(dir string, v spec.Values) (links map[string]string, err error)
	// Deliver writes v into the folders, owned by uid and gid, each file at once.
	Deliver(dir string, v spec.Values, uid, gid int) error
	// Differ names the targets whose content is not what v says.
	Differ(dir string, v spec.Values) ([]string, error)
	// Remove takes the folders away; nil when they are gone.
	Remove(dir string) error
}

// Keeper holds the delivered files of a container so that they can be put back.
type Keeper interface {
	Keep(dir string) (putBack func() error, err error)
}

// Masters looks at the process managers in running containers and talks to them.
type Masters interface {
	// Look finds the master and its workers. It asks nobody in the container.
	Look(ctx context.Context, i fleet.Instance, kind spec.Master) (fleet.Master, error)
	// Examine is Look, and what the master can do, what speaks against telling it
	// anything, and whether the code loads in a process beside it.
	Examine(ctx context.Context, i fleet.Instance, s spec.Service, code fleet.CodeAt) (fleet.Master, error)
	// Tell makes the master reload.
	Tell(ctx context.Context, i fleet.Instance, m fleet.Master, way rollout.Way) error
	// Resize makes it start (1) or end (-1) one worker.
	Resize(ctx context.Context, i fleet.Instance, m fleet.Master, by int) error
}

// Volume is the code of services on a volume of this node. State returns
// fleet.ErrNotFound where there is none.
type Volume interface {
	State(app, service string) (fleet.Code, error)
	Switch(ctx context.Context, app, service, generation string) error
	// Restore takes back a Switch: what was current, and the one before.
	Restore(ctx context.Context, app, service string, was fleet.Code) error
}

// Loads remembers what the masters of containers were proven to have loaded.
type Loads interface {
	Stale(i fleet.Instance, code fleet.Code) ([]string, error)
	Loaded(i fleet.Instance, code fleet.Code, now time.Time) error
	Forget(id string) error
}

// Asides takes instances out of DNS for a while, and knows those of the whole fleet.
type Asides interface {
	Aside(ctx context.Context, id, reason string) error
	Return(ctx context.Context, id string) error
	Service(ctx context.Context, name string) ([]fleet.Registration, error)
}

// Shown asks an instance which generation of its code it runs; "" when it does not say.
type Shown func(ctx context.Context, c fleet.Check) (string, error)

// Resolver asks DNS for a service's endpoints. No endpoints and no error: the name is not known.
type Resolver func(ctx context.Context, name string) (endpoints []fleet.Endpoint, ttl time.Duration, err error)

// Prober asks an instance once whether it is well; output is what it said, bounded.
type Prober func(ctx context.Context, c fleet.Check) (output string, err error)

// World is everything a walk touches.
type World struct {
	Containers Containers
	Views      Views
	Tuner      Tuner
	Images     Images
	Registrar  Registrar
	Files      Files
	Keeper     Keeper
	Masters    Masters
	Volume     Volume
	Loads      Loads
	Asides     Asides // nil: nothing is taken aside, and the fleet is not known
	Shown      Shown
	Probe      Prober
	Resolve    Resolver // nil: DNS is not asked
	Log        hclog.Logger

	// Guard is held while ports and cores are chosen, so that two runs on one
	// node do not choose the same.
	Guard func(ctx context.Context) (release func(), err error)
	// PortFree reports whether a port of the node's address can be bound now.
	PortFree func(address string, port int) bool
	// Random gives digits for names.
	Random func() uint32
}

// Site is what is true of this node, complete: nothing is asked later.
type Site struct {
	rollout.Node
	Ports     [2]int        // first and last host port of `publish: auto`
	RunDir    string        // folder of delivered files, a tmpfs
	Cores     int           // cores of the machine
	Memory    int64         // of the machine, in bytes; 0: not known
	Margin    time.Duration // waited after DNS forgot an instance, on top of the TTL
	HostPaths []string      // paths of the host that a spec may mount; nil in local mode allows all
	Trusted   bool          // the spec comes from a file of this user, not out of KV
	Domain    string        // of Consul's DNS names, e.g. consul
}
