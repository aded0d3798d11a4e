package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"svckit/lib/docker"
	"svckit/lib/dockerfile"
	"svckit/lib/fleet"
	"svckit/lib/source"
	"svckit/lib/tool"
)

// content is a source folder as an image is made of it.
type content struct {
	folder
	tree *source.Tree
	ref  string // svckit-dev/APP:HASH, by what the folder holds
}

// read lists the folder and names its image.
func (d *dev) read(ctx context.Context) (content, error) {
	f, err := readFolder(d.file)
	if err != nil {
		return content{}, err
	}
	c := content{folder: f}
	text, err := dockerfile.For(os.DirFS(f.dir), d.file, f.app)
	if err != nil {
		return content{}, err
	}
	if c.tree, err = source.Scan(ctx, f.dir, f.app.Build.Dockerfile, text); err != nil {
		return content{}, err
	}
	var args strings.Builder
	all := source.MergeArgs(f.app.Build.Args, d.buildArgs)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args.WriteString(strconv.Quote(name+"="+all[name]) + "\n")
	}
	hash, err := c.tree.Hash(ctx, []byte(args.String()))
	if err != nil {
		return content{}, err
	}
	c.ref = devImages + f.app.Name + ":" + hash[:12]
	return c, nil
}

// image returns the image of the content, building it when this engine does not have it.
func (d *dev) image(ctx context.Context, c content) (fleet.Image, error) {
	image, err := d.base.Engine.Image(ctx, c.ref)
	if !errors.Is(err, fleet.ErrNotFound) {
		return image, err
	}
	secrets, err := source.ReadSecrets(d.secrets, c.app.Build.Secrets, d.w.Getenv)
	if err != nil {
		return fleet.Image{}, err
	}
	for _, value := range secrets {
		d.s.Hide(string(value))
	}
	if rel, err := filepath.Rel(c.dir, d.envFile); err == nil && c.tree.Holds(filepath.ToSlash(rel)) {
		d.s.Say("note: %s is not in .dockerignore, so it becomes a part of the image", rel)
	}
	files, bytes := c.tree.Size()
	d.s.Say("build: %d files, %s", files, tool.Bytes(bytes))
	var progress fleet.Progress
	done := func() {}
	if d.s.Terminal() {
		progress, done = d.s.Progress("build")
	}
	defer done()
	_, err = d.base.Engine.Build(ctx, docker.BuildRequest{
		Context: c.tree.Files(), Dockerfile: c.tree.Dockerfile(), Tags: []string{c.ref},
		Args: source.MergeArgs(c.app.Build.Args, d.buildArgs), Secrets: secrets,
		Out: d.s.Lines(), Every: d.s.Verbose, Progress: progress,
	})
	if err != nil {
		return fleet.Image{}, err
	}
	return d.base.Engine.Image(ctx, c.ref)
}

// forget removes the app's older images; the one of now makes the next start quick.
func (d *dev) forget(ctx context.Context) {
	if d.now.ref == "" {
		return
	}
	if _, err := d.base.Engine.Prune(ctx, devImages+d.app, map[string]bool{d.now.ref: true}, 1); err != nil {
		d.s.Log.Warn("old images not removed", "error", err)
	}
}

// readable reports whether the user of an image can read a folder of this machine.
func readable(dir string, image fleet.Image) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	user, _, _ := strings.Cut(image.User, ":")
	return user == "" || user == "0" || user == "root" || info.Mode().Perm()&0o005 == 0o005
}

// inputs are the files that more than the code of a service is made of.
func (d *dev) inputs() []string {
	out := []string{filepath.Base(d.file), ".dockerignore"}
	if rel, err := filepath.Rel(d.now.dir, d.envFile); err == nil && filepath.IsLocal(rel) {
		out = append(out, filepath.ToSlash(rel))
	}
	if f := d.now.app.Build.Dockerfile; f != "" {
		out = append(out, filepath.ToSlash(filepath.Clean(f)))
	}
	for name := range d.now.templates {
		out = append(out, filepath.ToSlash(filepath.Clean(name)))
	}
	slices.Sort(out)
	return out
}
