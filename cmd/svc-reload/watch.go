package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/notify"
	"svckit/lib/settle"
	"svckit/lib/systemd"
	"svckit/lib/tool"
)

func watchCommand(w *here.Node) *cli.Command {
	defaults := settle.Defaults()
	return &cli.Command{
		Name:  "watch",
		Usage: "follow the config keys of this node's services and bring what changes into them",
		Description: `Follows the keys of config and secrets of every service that runs on this node. When keys change and the
quiet period is over, the files of the release that runs here are rendered again. Only where bytes differ is
something done: what svc-reload does when it is called by hand. A variable cannot change in a container that lives,
so a changed one needs a new container, which comes in through the gate. A template that fails or a missing key
changes nothing, and the app's notify: is told once. While Consul is away nothing changes. What failed is tried
again with growing pauses, and no other service waits for it.`,
		Flags: []cli.Flag{
			tool.DryRun(),
			&cli.BoolFlag{Name: "once", Usage: "look at every service once and end, for cron"},
			&cli.DurationFlag{Name: "quiet-period", Value: defaults.Quiet, Usage: "act when no key of a service changed for `TIME`"},
			&cli.DurationFlag{Name: "longest-wait", Value: defaults.Longest, Usage: "act `TIME` after the first of many changes, quiet or not"},
			&cli.BoolFlag{Name: "replace", Value: true, Usage: "make new containers where a reload is not enough (the default); --replace=false only tells the app's notify:"},
			&cli.IntFlag{Name: "floor", DefaultText: "half of them, at least 1", Usage: "`N` instances of the fleet must pass beside one that is taken out of DNS; 0 accepts that clients wait"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("once") {
				return tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error { return watchOnce(ctx, w, s, c) })(c)
			}
			return tool.Daemon(func(ctx context.Context, s *tool.Session, c *cli.Context) error { return watch(ctx, w, s, c) })(c)
		},
	}
}

// watcher is everything that both ways of watching need.
type watcher struct {
	looker *looker
	actor  *actor
	book   *settle.Book
	memory memory
	queue  *notify.Queue
}

// newWatcher opens this node. Afterwards its parts may be used side by side.
func newWatcher(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) (*watcher, error) {
	if len(s.Args) > 0 {
		return nil, fault.New(fault.Usage, "watch takes no argument: it looks at every service of this node")
	}
	rules := settle.Defaults()
	rules.Quiet, rules.Longest = c.Duration("quiet-period"), c.Duration("longest-wait")
	if rules.Quiet < 0 || rules.Longest < rules.Quiet {
		return nil, fault.New(fault.Usage, "--quiet-period %s, --longest-wait %s: expected 0 or more, and the second no shorter than the first", rules.Quiet, rules.Longest)
	}
	if c.IsSet("floor") && c.Int("floor") < 0 {
		return nil, fault.New(fault.Usage, "--floor %d: expected 0 or more", c.Int("floor"))
	}
	settings, err := w.Settings(s)
	if err != nil {
		return nil, err
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return nil, err
	}
	consul, err := w.Consul(s)
	if err != nil {
		return nil, err
	}
	m := memory{dir: settings.StateDir}
	told, err := m.load()
	if err != nil {
		s.Log.Warn("what was told earlier is not known: it may be told again", "error", err)
	}
	a := &actor{node: w, session: s, floor: floor(c), replace: c.Bool("replace")}
	a.reload = a.reloaded
	return &watcher{
		looker: newLooker(settings.Prefix, func(ctx context.Context) ([]fleet.Instance, error) { return engine.Instances(ctx, "", "") }, consul.Layers),
		actor:  a,
		book:   settle.NewBook(rules, told),
		memory: m,
		queue:  notify.New(s.Program).Queue(s.Log),
	}, nil
}

// watch runs until ctx ends: a looker, a follower that wakes it, a loop that
// decides and has services reloaded, and a queue of messages.
func watch(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	watcher, err := newWatcher(ctx, w, s, c)
	if err != nil {
		return err
	}
	unit, err := systemd.Open()
	if err != nil {
		return err
	}
	consul, err := w.Consul(s)
	if err != nil {
		return err
	}
	l := &loop{
		book: watcher.book, looks: make(chan sight), act: watcher.actor.act, tell: watcher.queue.Put, unit: unit, every: unit.Every,
		beat: watcher.looker.lastBeat, save: watcher.memory.save, log: s.Log, chance: rand.Float64,
	}
	if s.DryRun {
		l.tell, l.save = func([]string, notify.Message) {}, func(map[string]string) error { return nil }
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	follower := consul.FollowKeys(ctx, func(app string, _ error) { watcher.looker.mark(app) })
	watcher.looker.follow = follower.Apps

	var actors sync.WaitGroup
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	actors.Go(func() { watcher.looker.run(ctx, l.looks) })
	actors.Go(func() { watcher.queue.Run(sending) })
	l.run(ctx)    // ends when ctx does and nothing is being worked on
	stopSending() // what waits is sent, for a few seconds
	actors.Wait()
	follower.Wait()
	return ctx.Err()
}

// How often, and how long at most, the looker takes.
const (
	lookEvery  = 15 * time.Second       // what runs here is asked of the engine this often; what svc-run starts has its config already
	lookPause  = 200 * time.Millisecond // between two looks, however many changes are told
	lookLimit  = 30 * time.Second       // of one question to the engine or to Consul
	firstRetry = time.Second            // after Consul or the engine did not answer; doubled each time
	lastRetry  = 10 * time.Second
)
