package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/node"
	"svckit/lib/source"
	"svckit/lib/spec"
	"svckit/lib/tool"
	"svckit/lib/watch"
)

func devCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "dev", Usage: "run the app of this folder for yourself: build, start, reload on change, until Ctrl-C", ArgsUsage: "[SERVICE]",
		Description: `Builds the image when the folder changed, starts the service (without SERVICE: all of the app but cron),
prints its URL and its name in DNS, shows its output, and follows changes of files: mounted source is
reloaded by HUP (gunicorn, uwsgi) or a restart, everything else is built anew and replaced, start first.
Code that does not load or build is told, what ran goes on where it can, and the next change tries again.

Where no Consul agent answers, one is started in memory: from the program consul, else from an image
hashicorp/consul that is here; else it runs without names. Config comes from Consul's KV and over it from
dev.env (KEY=VALUE lines, secrets too), which belongs into .gitignore and .dockerignore.

Ctrl-C takes containers, registrations and the agent away. One image per app stays: the next start is quick.`,
		Flags: []cli.Flag{
			tool.DryRun(),
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Value: here.SpecFile, Usage: "the spec `FILE`; its folder is the source"},
			&cli.StringFlag{Name: "env-file", Usage: "config over Consul's, KEY=VALUE lines in `FILE` (default: dev.env beside the spec, if there is one)"},
			&cli.IntFlag{Name: "port", Usage: "serve at http://127.0.0.1:`PORT` (default: the service's own, or one of the next that is free)"},
			&cli.StringFlag{Name: "consul", Usage: "start the agent with the program at `PATH`", EnvVars: []string{"SVC_CONSUL"}},
			&cli.BoolFlag{Name: "own-agent", Usage: "start a Consul agent also when one answers"},
			&cli.StringSliceFlag{Name: "build-arg", Usage: "build argument `NAME=VALUE`, over build.args of the spec"},
			&cli.StringSliceFlag{Name: "secret", Usage: "build secret `id=ID,src=FILE|env=NAME`"},
		},
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			d, err := newDev(w, s, c)
			if err != nil {
				return err
			}
			// A terminal that is closed ends it as Ctrl-C does.
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
			defer stop()
			return d.run(ctx)
		}),
	}
}

// dev is one call of dev.
type dev struct {
	w *here.Node
	s *tool.Session

	file, envFile string // absolute
	envGiven      bool
	port          int
	consulPath    string
	ownAgent      bool
	buildArgs     map[string]string
	secrets       []source.Secret

	base      *here.Deploy // engine and site; each service has a copy
	owner     fleet.Holder
	ownerText string
	alive     func(fleet.Holder) bool
	names     names
	app       string  // its name, which stays
	now       content // as it was read last
	services  []*devService
	out, err  *shared
	shows     shows
	exits     chan string // ids of containers whose output ended
	watcher   *watch.Watcher
}

func newDev(w *here.Node, s *tool.Session, c *cli.Context) (*dev, error) {
	if s.JSON && !s.DryRun {
		return nil, fault.WithHint(fault.New(fault.Usage, "dev shows the output of programs, there is no --json for it"), "--dry-run has one")
	}
	d := &dev{
		w: w, s: s, port: c.Int("port"), consulPath: c.String("consul"), ownAgent: c.Bool("own-agent"), alive: node.Alive,
		out: newShared(s.Stdout), err: newShared(s.Stderr), exits: make(chan string, 64), shows: shows{ends: map[string]chan struct{}{}},
	}
	if d.port < 0 || d.port > 65535 {
		return nil, fault.New(fault.Usage, "--port %d: expected 1 to 65535", d.port)
	}
	var err error
	if d.file, err = filepath.Abs(filepath.Join(w.Folder, c.String("file"))); err != nil {
		return nil, err
	}
	d.envFile, d.envGiven = filepath.Join(filepath.Dir(d.file), devEnv), c.IsSet("env-file")
	if d.envGiven {
		if d.envFile, err = filepath.Abs(c.String("env-file")); err != nil {
			return nil, err
		}
	}
	if d.buildArgs, err = source.ParseArgs(c.StringSlice("build-arg")); err != nil {
		return nil, err
	}
	d.secrets, err = source.ParseSecrets(c.StringSlice("secret"))
	return d, err
}

// run is the whole life of a dev: its end by a signal is its ordinary one.
func (d *dev) run(ctx context.Context) (err error) {
	if d.now, err = d.read(ctx); err != nil {
		return err
	}
	if err := d.choose(); err != nil {
		return err
	}
	d.app = d.now.app.Name
	if d.s.DryRun {
		return d.intentions(ctx)
	}
	if err := developerSettings(d.w, d.s); err != nil {
		return err
	}
	if d.owner, d.ownerText, err = owner(d.w, d.s); err != nil {
		return err
	}
	if d.base, err = here.OpenEngine(ctx, d.w, d.s, here.Target{App: d.app}); err != nil {
		return err
	}
	defer d.base.Engine.Close()
	if err := d.sweep(ctx, d.base.Engine); err != nil {
		return err
	}
	if d.names, err = d.openNames(ctx); err != nil {
		return d.ending(ctx, err)
	}
	defer d.names.stop()
	d.base.Agent = d.names.agent
	if err := d.base.Settle(ctx); err != nil {
		return err
	}
	d.base.Site.Trusted = true
	if d.watcher, err = watch.Open(d.now.dir, d.watching()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.watcher.Close()) }()
	defer func() { err = errors.Join(err, d.end(ctx)) }()
	if err := d.begin(ctx); err != nil {
		return d.ending(ctx, err)
	}
	return d.follow(ctx)
}

// ending is the error of a run that may have been ended by the user meanwhile.
func (d *dev) ending(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		d.s.Log.Debug("ended while starting", "error", err)
		return nil
	default:
		return err
	}
}

// choose makes the services that are to run, those of before kept.
func (d *dev) choose() error {
	var keys []string
	if len(d.s.Args) > 0 {
		one, err := d.now.service(d.s.Args)
		if err != nil {
			return err
		}
		if one.Kind == spec.Cron {
			return fault.New(fault.Usage, "run %s/%s: kind cron is started by its schedule", d.now.app.Name, one.Key)
		}
		keys = append(keys, one.Key)
	} else {
		for _, s := range d.now.app.Services {
			if s.Kind != spec.Cron {
				keys = append(keys, s.Key)
			}
		}
	}
	if len(keys) == 0 {
		return fault.New(fault.Usage, "%s has no service that runs all the time", d.now.app.Name)
	}
	var all []*devService
	for _, key := range keys {
		all = append(all, d.service(key))
	}
	d.services = all
	return nil
}

// service returns the service of that key, a new one when there is none yet.
func (d *dev) service(key string) *devService {
	for _, v := range d.services {
		if v.key == key {
			return v
		}
	}
	return &devService{d: d, key: key}
}

// watching is what of the folder counts.
func (d *dev) watching() watch.Options {
	return watch.Options{Ignore: d.now.tree.Ignored(), Always: d.inputs(), Quiet: 100 * time.Millisecond, Limit: 2 * time.Second}
}

// deployOf is the deploy of one service, with containers that belong to this process.
func (d *dev) deployOf(key string) here.Deploy {
	one := *d.base
	one.Service = key
	one.World.Containers = d.containers()
	one.World.Views = ownViews{views: d.base.Engine, app: d.app, owner: d.owner}
	one.World.Registrar = apply.Registrar(here.Alone{})
	if d.names.client != nil {
		one.World.Registrar = here.AgentOnly{Client: d.names.client}
	}
	if d.names.shared {
		one.Consul = d.names.client // its lock keeps `up` away
		one.World.Registrar = d.names.client
	}
	if d.names.client != nil {
		one.World.Resolve = one.Resolver()
	}
	return one
}

func (d *dev) containers() ownContainers {
	return ownContainers{engine: d.base.Engine, owner: d.ownerText, started: d.show, read: d.shows.wait}
}

// hasEnv reports whether there is a file of config for this machine.
func (d *dev) hasEnv() bool {
	if d.envGiven {
		return true
	}
	_, err := os.Stat(d.envFile)
	return err == nil
}
