// Package here opens what a command needs of the node that it runs on: settings,
// engine, agent, and all of it together for a change of one service.
package here

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

// Node is what commands need of this node. Each part is opened when it is
// first asked for, so that a command needs no more of the node than it uses.
type Node struct {
	Getenv func(string) string
	Now    func() time.Time
	Folder string // where app.yaml is looked for

	settings *node.Settings
	consul   *consul.Client
	docker   *docker.Engine
}

// This is the node that the process runs on.
func This() *Node { return &Node{Getenv: os.Getenv, Now: time.Now, Folder: "."} }

// Settings returns the node's own settings.
func (w *Node) Settings(s *tool.Session) (node.Settings, error) {
	if w.settings == nil {
		path := s.Config
		if path == "" {
			path = node.DefaultPath
		}
		settings, err := node.Load(path, w.Getenv)
		if err != nil {
			return node.Settings{}, err
		}
		w.settings = &settings
	}
	return *w.settings, nil
}

// Use makes these the settings, whatever file and variables say.
func (w *Node) Use(settings node.Settings) { w.settings = &settings }

// Consul returns the client of the local agent. It asks nothing yet.
func (w *Node) Consul(s *tool.Session) (*consul.Client, error) {
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
func (w *Node) Docker(ctx context.Context, s *tool.Session) (*docker.Engine, error) {
	if w.docker == nil {
		engine, err := docker.Open(ctx, s.Log)
		if err != nil {
			return nil, err
		}
		w.docker = engine
	}
	return w.docker, nil
}

// Journal is where an audit record goes.
type Journal interface {
	Record(ctx context.Context, a fleet.Audit) error
	Token(ctx context.Context) (string, error)
}

// Record writes what a mutating command did. The command's own result does not
// depend on it: a record that cannot be written is told. It is written even
// when ctx has ended.
func (w *Node) Record(ctx context.Context, s *tool.Session, j Journal, a fleet.Audit) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	a.Schema, a.Program, a.Command = 1, s.Program, s.Command
	a.Who = node.Who(w.Getenv)
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
