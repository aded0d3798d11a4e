package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/tool"
)

// intention is one thing that dev would do.
type intention struct {
	Do     string `json:"do"`
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// intentions prints what dev would do. It asks and touches nothing.
func (d *dev) intentions(ctx context.Context) error {
	engine, err := d.w.Docker(ctx, d.s)
	if err != nil {
		return err
	}
	defer engine.Close()
	agent, err := d.agentIntention(ctx, engine)
	if err != nil {
		return err
	}
	plan := []intention{agent}
	image, err := engine.Image(ctx, d.now.ref)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		files, bytes := d.now.tree.Size()
		plan = append(plan, intention{"build", d.now.ref, fmt.Sprintf("this engine has no image of the folder as it is: %d files, %s", files, tool.Bytes(bytes))})
	case err != nil:
		return err
	default:
		plan = append(plan, intention{"use", d.now.ref, "it was built from the folder as it is"})
	}
	if image.WorkDir == "" {
		image.WorkDir = "/app" // of a generated Dockerfile
	}
	for _, v := range d.services {
		s, _ := d.now.app.Service(v.key)
		how := "its source is mounted: a change restarts it"
		if target, why := mountAt(d.now.app, s, image); target == "" {
			how = "a change is built and replaces it: " + why
		} else if r, _ := react([]string{"a file"}, standing{mounted: true, running: true, master: s.Master}); r == doReload {
			how = "its source is mounted: a change reloads it by HUP"
		}
		plan = append(plan, intention{"start", d.app + "/" + v.key, how})
	}
	return d.s.Result(map[string]any{"changed": false, "plan": plan}, func(out io.Writer) {
		for n, i := range plan {
			fmt.Fprintf(out, "%d. %s %s: %s\n", n+1, i.Do, i.What, i.Reason)
		}
	})
}

func (d *dev) agentIntention(ctx context.Context, engine *docker.Engine) (intention, error) {
	client, err := d.w.Consul(d.s)
	if err != nil {
		return intention{}, err
	}
	if !d.ownAgent {
		agent, err := client.Self(ctx)
		switch {
		case err == nil:
			return intention{"use", "the Consul agent at " + client.Address(), "it answers as " + agent.Node}, nil
		case fault.KindOf(err) != fault.Unreachable:
			return intention{}, err
		}
	}
	program, err := consulProgram(d.consulPath)
	if err != nil {
		return intention{}, err
	}
	if program != "" {
		return intention{"start", program + " agent -dev", "no agent is to be shared, or none answers"}, nil
	}
	for _, ref := range consulImages() {
		if _, err := engine.Image(ctx, ref); err == nil {
			return intention{"start", "a Consul agent from image " + ref, "no agent answers, and there is no program consul"}, nil
		}
	}
	return intention{"skip", "names in DNS", "no agent answers, and there is neither a program consul nor an image of it"}, nil
}
