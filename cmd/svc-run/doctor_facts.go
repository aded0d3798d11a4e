package main

import (
	"io/fs"
	"time"

	"svckit/lib/code"
	"svckit/lib/fleet"
	"svckit/lib/node"
)

// facts are what the doctor knows of a node. Every part may be missing: then
// its error says why, and both are zero where nothing was asked.
type facts struct {
	now         time.Time
	settings    node.Settings
	settingsErr error

	engine    fleet.Engine
	engineErr error
	instances []instanceFact

	agent            fleet.Agent
	agentErr         error
	leader           string // host:port of the servers' leader; "" is none
	leaderErr        error
	leaves           *bool // leave_on_terminate; nil: not known
	registrations    []fleet.Registration
	registrationsErr error

	dns          []dnsFact // what svc-run asks, then what containers ask
	containerDNS []dnsFact

	ephemeral node.Range // net.ipv4.ip_local_port_range; zero: not known
	reserved  []node.Range
	listening []int // TCP ports that somebody listens on; nil: not known

	paths      []pathFact
	disks      []diskFact
	clock      clockFact
	registries []registryFact
}

// instanceFact is a container of ours with what runs in it.
type instanceFact struct {
	fleet.Instance
	master    string          // of its release's spec; "" when not known
	code      string          // code.mount of its release's spec
	codeState code.State      //
	codeErr   error           // fleet.ErrNotFound: there is none on this node
	processes []fleet.Process // nil: not known
}

// supervised reports whether a master serves it, which takes signals.
func (i instanceFact) supervised() bool { return i.master != "" && i.master != "none" }

// dnsFact is the answer of one DNS server for the name of the Consul servers.
type dnsFact struct {
	server  string // host:port
	name    string
	missing bool // it says that there is no such name
	err     error
}

// pathFact is one file or folder of ours.
type pathFact struct {
	what  string // run folder, state folder, settings, docker socket
	path  string
	mode  fs.FileMode
	uid   int
	tmpfs bool // it, or where it is not there the nearest folder above it
	gone  bool // it is not there
	err   error
}

// diskFact is one file system that we write to.
type diskFact struct {
	what, path  string   // what is kept there, and one place of it
	id          [2]int32 // of the file system
	free, total uint64   // bytes
	nodes, left uint64   // inodes; 0: the file system has no count
	err         error
}

// clockFact is what is known of the clock.
type clockFact struct {
	unsynced bool // the kernel was not told that somebody keeps its clock right
	err      error
	offsets  []clockOffset
}

// clockOffset is how far this clock is ahead of another machine's, by the Date of its answer.
type clockOffset struct {
	from  string
	ahead time.Duration
}

// registryFact is how one registry answers.
type registryFact struct {
	host     string
	plain    bool // it speaks HTTP without TLS
	insecure bool // the engine was told to accept that
	err      error
}
