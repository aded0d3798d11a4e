package main

import (
	"os"
	"path/filepath"
	"time"

	"svckit/lib/consul"
	"svckit/lib/node"
	"svckit/lib/tool"
)

// world is what commands need of this node.
type world struct {
	getenv func(string) string
	now    func() time.Time
}

// here is the node that the process runs on.
func here() *world { return &world{getenv: os.Getenv, now: time.Now} }

func (w *world) settings(s *tool.Session) (node.Settings, error) {
	path := s.Config
	if path == "" {
		path = node.DefaultPath
	}
	return node.Load(path, w.getenv)
}

func (w *world) consul(s *tool.Session, n node.Settings) (*consul.Client, error) {
	return consul.Open(n.Prefix, s.Log)
}

// runDir is beside the run folder of the other programs, e.g. /run/svckit-dns:
// those mount a tmpfs on theirs, which would hide what is in it.
func runDir(n node.Settings) string { return n.RunDir + "-dns" }

// controlPath is where a running svc-dns answers `lookup`; handoverPath is where
// it gives its sockets to the next one.
func controlPath(n node.Settings) string  { return filepath.Join(runDir(n), "control.sock") }
func handoverPath(n node.Settings) string { return filepath.Join(runDir(n), "handover.sock") }
func snapshotPath(n node.Settings) string { return filepath.Join(n.StateDir, "svc-dns.json") }
