package main

import (
	"context"
	"os"
	"time"

	"svckit/lib/consul"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/node"
	"svckit/lib/tool"
)

// world is what commands need of this node. Each part is opened when it is
// first asked for, so that a command needs no more of the node than it uses.
type world struct {
	getenv func(string) string
	now    func() time.Time
	folder string // where app.yaml is looked for

	settings *node.Settings
	consul   *consul.Client
	docker   *docker.Engine
}

// here is the node that the process runs on.
func here() *world { return &world{getenv: os.Getenv, now: time.Now, folder: "."} }

// Settings returns the node's own settings.
func (w *world) Settings(s *tool.Session) (node.Settings, error) {
	if w.settings == nil {
		path := s.Config
		if path == "" {
			path = node.DefaultPath
		}
		settings, err := node.Load(path, w.getenv)
		if err != nil {
			return node.Settings{}, err
		}
		w.settings = &settings
	}
	return *w.settings, nil
}

// Consul returns the client of the local agent. It asks nothing yet.
func (w *world) Consul(s *tool.Session) (*consul.Client, error) {
	if w.consul == nil {
		settings, err := w.Settings(s)
		if err != nil {
			return nil, err
		}
		if w.consul, err = consul.Open(settings.Prefix, s.Log); err != nil {
			return nil, err
		}
		w.consul.Alive = node.Alive
	}
	return w.consul, nil
}

// Docker returns the local engine, which has answered a first question.
func (w *world) Docker(ctx context.Context, s *tool.Session) (*docker.Engine, error) {
	if w.docker == nil {
		engine, err := docker.Open(ctx, s.Log)
		if err != nil {
			return nil, err
		}
		w.docker = engine
	}
	return w.docker, nil
}

// journal is where an audit record goes.
type journal interface {
	Record(ctx context.Context, a fleet.Audit) error
	Token(ctx context.Context) (string, error)
}

// record writes what a mutating command did. The command's own result does not
// depend on it: a record that cannot be written is told. It is written even
// when ctx has ended.
func (w *world) record(ctx context.Context, s *tool.Session, j journal, a fleet.Audit) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	a.Schema, a.Program, a.Command = 1, s.Program, s.Command
	a.Who = node.Who(w.getenv)
	if token, err := j.Token(ctx); err == nil && token != "" {
		a.Who += " token " + token
	}
	if a.Node == "" {
		a.Node, _ = os.Hostname()
	}
	if err := j.Record(ctx, a); err != nil {
		s.Log.Warn("no audit record", "error", err)
	}
}
