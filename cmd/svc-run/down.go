package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"svckit/lib/apply"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func downCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name:      "down",
		Usage:     "end a service on this node: out of Consul, drained, stopped, removed",
		ArgsUsage: "[APP/]SERVICE",
		Description: `Volumes stay, unless --volumes is given. Then each named volume of the service is saved first, as FILE.tar.gz with
its checksum beside it, read back from the disk, and only then removed; where that fails, it stays. When the disk lacks room, or another
container uses the volume, nothing is touched (exit 17). Folders of the node that a service mounts always stay.`,
		Flags: append(deployFlags(),
			&cli.BoolFlag{Name: "volumes", Usage: "save the named volumes of the service, and remove them"},
			&cli.StringFlag{Name: "to", Usage: "with --volumes: save them in `DIR`", DefaultText: "saved in the node's state_dir"},
		),
		BashComplete: serviceNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			return down(ctx, w, s, c)
		}),
	}
}

func down(ctx context.Context, w *here.Node, s *tool.Session, c *cli.Context) error {
	if c.String("to") != "" && !c.Bool("volumes") {
		return fault.New(fault.Usage, "--to needs --volumes")
	}
	d, err := open(ctx, w, s, c)
	if err != nil {
		return err
	}
	d.Plan = apply.PlanDown
	leaving := func(ctx context.Context) (apply.Job, error) { return here.Leaving(ctx, d) }
	if !c.Bool("volumes") {
		return d.Run(ctx, leaving)
	}
	dir := c.String("to")
	if dir == "" {
		dir = filepath.Join(d.Settings.StateDir, "saved")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return downWithVolumes(ctx, d, dir, leaving)
}

// downResult is what down --volumes prints.
type downResult struct {
	here.Outcome
	Volumes []string     `json:"volumes"` // that are to be saved and removed
	Saved   []here.Saved `json:"saved"`
}

// downWithVolumes ends a service, then saves its volumes and removes them, one after the other.
func downWithVolumes(ctx context.Context, d *here.Deploy, dir string, leaving here.MakeJob) error {
	list, err := d.World.Views.Instances(ctx, d.App, d.Service)
	if err != nil {
		return err
	}
	release, service, err := d.Described(ctx, list)
	if err != nil {
		return fault.WithHint(err, "without --volumes the service goes and its volumes stay")
	}
	volumes, err := d.Named(ctx, service, list)
	if err != nil {
		return err
	}
	out := downResult{Volumes: []string{}, Saved: []here.Saved{}}
	for _, v := range volumes {
		out.Volumes = append(out.Volumes, v.Name)
	}
	if !d.Session.DryRun && len(volumes) > 0 {
		if err := here.Room(dir, volumes); err != nil {
			return err
		}
	}
	d.Then = func(ctx context.Context, _ apply.Job) (bool, error) {
		return saveAll(ctx, d, volumes, release, dir, &out)
	}
	if out.Outcome, err = d.Work(ctx, leaving); err != nil {
		return err
	}
	out.Promoted = false // nothing is: that word is of another command's last step
	out.Changed = out.Changed || d.Session.DryRun && len(volumes) > 0
	return d.Session.Result(out, func(to io.Writer) { out.write(to, dir) })
}

// saveAll saves each volume and removes it then; it reports whether any is gone.
func saveAll(ctx context.Context, d *here.Deploy, volumes []fleet.Volume, release fleet.Release, dir string, out *downResult) (bool, error) {
	for _, v := range volumes {
		saved, err := d.Save(ctx, v, release.Image, dir, d.Node.Now())
		if err == nil {
			d.Session.Say("volume %s is saved in %s", v.Name, saved.File)
			err = d.Engine.RemoveVolume(ctx, v.Name)
		}
		if err != nil {
			return len(out.Saved) > 0, fault.WithHint(&fault.Error{Kind: fault.Partial, Err: err, Msg: "the service has ended"}, "call again: volumes that are not saved are there")
		}
		out.Saved = append(out.Saved, saved)
	}
	return len(out.Saved) > 0, nil
}

func (r downResult) write(to io.Writer, dir string) {
	r.Text(to)
	if r.DryRun {
		for _, v := range r.Volumes {
			fmt.Fprintf(to, "would save volume %s in %s, and remove it\n", v, dir)
		}
		return
	}
	for _, v := range r.Saved {
		fmt.Fprintf(to, "volume %s is in %s (%s, sha256 %s)\n", v.Volume, v.File, tool.Bytes(v.Bytes), v.SHA256)
	}
}
