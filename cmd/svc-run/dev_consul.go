package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"svckit/lib/consul"
	"svckit/lib/delivery"
	"svckit/lib/devagent"
	"svckit/lib/docker"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// names is how a developer's services are found by name.
type names struct {
	client *consul.Client // nil: they are not
	agent  fleet.Agent
	shared bool            // the agent was there before: others may use it too
	ended  <-chan struct{} // closed when an agent of our own has ended; nil otherwise
	stop   func()
}

// consulImages are the images that an agent is started from where there is no program.
func consulImages() []string { return []string{"hashicorp/consul", "consul"} }

// openNames uses the agent that answers, else starts one, else does without.
func (d *dev) openNames(ctx context.Context) (names, error) {
	client, err := d.w.Consul(d.s)
	if err != nil {
		return names{}, err
	}
	if !d.ownAgent {
		agent, err := client.Self(ctx)
		if err == nil {
			return names{client: client, agent: agent, shared: true, stop: func() {}}, nil
		}
		if fault.KindOf(err) != fault.Unreachable {
			return names{}, err
		}
	}
	program, err := consulProgram(d.consulPath)
	if err != nil {
		return names{}, err
	}
	if program != "" {
		return d.ownProgram(ctx, program)
	}
	for _, ref := range consulImages() {
		image, err := d.base.Engine.Image(ctx, ref)
		if errors.Is(err, fleet.ErrNotFound) {
			continue
		}
		if err != nil {
			return names{}, err
		}
		return d.ownContainer(ctx, ref, image)
	}
	d.s.Say("note: no Consul agent answers, there is no program `consul` and no image %s: nothing is found by name; `docker pull %[1]s` changes that", consulImages()[0])
	return names{stop: func() {}, agent: fleet.Agent{Node: hostname()}}, nil
}

// ownProgram starts an agent as a child of this process.
func (d *dev) ownProgram(ctx context.Context, program string) (names, error) {
	a, err := devagent.Start(ctx, program)
	if err != nil {
		return names{}, err
	}
	n, err := d.join(ctx, a.Ports)
	if err != nil {
		a.Stop()
		return names{}, err
	}
	d.s.Say("consul: no agent answered, so one runs in memory: http://%s", a.HTTPAddress())
	n.ended, n.stop = a.Done(), a.Stop
	return n, nil
}

// ownContainer starts an agent on the host's network from an image that is here.
func (d *dev) ownContainer(ctx context.Context, ref string, image fleet.Image) (names, error) {
	ports, err := devagent.ChoosePorts()
	if err != nil {
		return names{}, err
	}
	id, err := d.containers().Create(ctx, fleet.Container{
		Name: fmt.Sprintf("svckit-consul-%06x", d.base.World.Random()&0xffffff), Image: image.ID, Command: ports.Args(),
		Network: "host", StopSignal: "SIGKILL", StopWait: time.Second,
		Labels: map[string]string{
			fleet.LabelKind: "service", fleet.LabelApp: "svckit", fleet.LabelService: "consul", fleet.LabelRelease: devRelease,
			fleet.LabelImage: image.ID, fleet.LabelPrefix: d.base.Settings.Prefix,
		},
	})
	if err != nil {
		return names{}, err
	}
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), devEnd)
		defer cancel()
		if err := d.base.Engine.Remove(ctx, id); err != nil {
			d.s.Say("consul: %v", err)
		}
	}
	n, err := names{}, d.base.Engine.Start(ctx, id)
	if err == nil {
		err = d.readyContainer(ctx, id, ports)
	}
	if err == nil {
		n, err = d.join(ctx, ports)
	}
	if err != nil {
		e := &fault.Error{Kind: fault.KindOf(err), Msg: "start consul from image " + ref, Err: err}
		e.Detail, _ = d.base.Engine.Tail(context.WithoutCancel(ctx), id, 10)
		stop()
		return names{}, e
	}
	d.s.Say("consul: no agent answered, so one runs in memory, from image %s: http://%s", ref, ports.HTTPAddress())
	n.stop = stop
	return n, nil
}

// readyContainer waits until the agent takes writes, or its container has ended.
func (d *dev) readyContainer(ctx context.Context, id string, ports devagent.Ports) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if i, err := d.base.Engine.Instance(ctx, id); err == nil && i.State != fleet.Running {
				cancel()
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return devagent.Ready(ctx, ports)
}

// join opens the client of an agent of our own.
func (d *dev) join(ctx context.Context, p devagent.Ports) (names, error) {
	client, err := consul.OpenAt(p.HTTPAddress(), d.base.Settings.Prefix, d.s.Log)
	if err != nil {
		return names{}, err
	}
	agent, err := client.Self(ctx)
	return names{client: client, agent: agent}, err
}

// free refuses a name that others serve already: a developer's instance would
// get some of their requests.
func (n names) free(ctx context.Context, name string) error {
	if n.client == nil || !n.shared {
		return nil
	}
	all, err := n.client.Service(ctx, name)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Node != n.agent.Node {
			return fault.WithHint(fault.New(fault.Refused, "%s is served by node %s of datacenter %s: an instance of yours would get its requests", name, r.Node, n.agent.Datacenter),
				"--own-agent starts a Consul agent of your own")
		}
	}
	return nil
}

// question is how a person asks DNS for a name.
func (n names) question(name string) string {
	host, port, err := net.SplitHostPort(n.agent.DNS)
	if err != nil {
		return "its DNS is off"
	}
	return fmt.Sprintf("dig @%s -p %s %s SRV", host, port, name)
}

// sweep removes what killed runs of dev left on this engine.
func (d *dev) sweep(ctx context.Context, e *docker.Engine) error {
	all, err := e.Instances(ctx, "", "")
	if err != nil {
		return err
	}
	for _, i := range all {
		if !leftover(i, d.alive) {
			continue
		}
		d.s.Say("note: %s was left by a run that is gone: removed", i.Name)
		if err := e.Remove(ctx, i.ID); err != nil {
			return err
		}
		if i.Dir != "" {
			if err := (delivery.Folders{}).Remove(i.Dir); err != nil {
				d.s.Log.Warn("files left behind", "folder", i.Dir, "error", err)
			}
		}
	}
	return nil
}
