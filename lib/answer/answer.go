// Package answer decides what svc-dns says: which records a question gets out of
// what Consul is known to hold, in which order, and how many. It is pure: facts,
// time and randomness are arguments; a reply is bytes appended to a buffer.
//
// A question is parsed (ParseName), the subject it is about is looked up by the
// caller, and Resolve turns both into a Packed reply. A Packed reply does not
// change any more; Append writes it for one client, in a new order each time.
package answer

import (
	"net/netip"
	"strings"

	"svckit/lib/fleet"
)

// Record types, response codes and classes (RFC 1035, 2782, 3596), as numbers on the wire.
const (
	TypeA     = 1
	TypeNS    = 2
	TypeCNAME = 5
	TypeSOA   = 6
	TypeTXT   = 16
	TypeAAAA  = 28
	TypeSRV   = 33
	TypeOPT   = 41
	TypeIXFR  = 251
	TypeAXFR  = 252
	TypeANY   = 255
	ClassIN   = 1

	Success        = 0
	FormatError    = 1
	ServerFailure  = 2
	NameError      = 3
	NotImplemented = 4
	Refused        = 5
)

// Subject is one thing in Consul that answers are made from.
type Subject struct {
	Node       bool   // a node; else a service
	Name       string // lower case
	Datacenter string // never ""
}

// String names the subject for people: "service web in dc1".
func (s Subject) String() string {
	if s.Node {
		return "node " + s.Name + " in " + s.Datacenter
	}
	return "service " + s.Name + " in " + s.Datacenter
}

// State is what the catalog holds of a subject. The zero value is a subject that does not exist.
type State struct {
	Instances []Instance `json:"instances,omitempty"` // of a service, sorted by node and ID
	Node      *Node      `json:"node,omitempty"`      // of a node
}

// Instance is one instance of a service.
type Instance struct {
	ID          string       `json:"id"`
	Node        string       `json:"node"`
	Datacenter  string       `json:"datacenter"`
	Address     string       `json:"address,omitempty"` // the instance's own; "" means its node's
	NodeAddress string       `json:"node_address"`
	Port        int          `json:"port"`
	Passing     int          `json:"passing"` // weight while passing
	Warning     int          `json:"warning"` // weight while warning
	Health      fleet.Health `json:"health"`
	Why         string       `json:"why,omitempty"` // what makes it other than passing: output of the worst check, reason of a maintenance
	Tags        []string     `json:"tags,omitempty"`
	Zone        string       `json:"zone,omitempty"` // of the instance, else of its node
	// Unchecked: it is critical only because checks that the agent runs have not
	// run yet, as after a restart of the agent.
	Unchecked bool `json:"unchecked,omitempty"`
	// NodeDown: it is critical only because its node's agent does not answer the gossip.
	NodeDown bool `json:"node_down,omitempty"`
	// NodeGone: it is held, and had left the catalog together with its node.
	NodeGone bool `json:"node_gone,omitempty"`
	// Held: Consul shows it as gone or critical, and Hold keeps it for a moment.
	Held bool `json:"held,omitempty"`
}

// Node is a node of the catalog.
type Node struct {
	Name       string            `json:"name"`
	Datacenter string            `json:"datacenter"`
	Address    string            `json:"address"`
	Meta       map[string]string `json:"meta,omitempty"`
}

// Weight is the instance's share in its present health; 0 is as little as possible.
func (i Instance) Weight() int {
	switch i.Health {
	case fleet.Passing:
		return max(i.Passing, 0)
	case fleet.Warning:
		return max(i.Warning, 0)
	}
	return 0
}

// Reached is the address that the instance is found at: an IP address, else a host name.
func (i Instance) Reached() string {
	if i.Address != "" {
		return i.Address
	}
	return i.NodeAddress
}

// IP is Reached as an address; it is not valid for a host name.
func (i Instance) IP() netip.Addr {
	a, err := netip.ParseAddr(i.Reached())
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// hasTag compares as Consul does, without regard to case.
func (i Instance) hasTag(tag string) bool {
	for _, t := range i.Tags {
		if strings.EqualFold(t, tag) {
			return true
		}
	}
	return false
}

// Policy is how this node answers.
type Policy struct {
	Domain      string // lower case, without the last dot: consul
	Datacenter  string // the agent's own
	Zone        string // this node's; "" does not prefer any
	TTL         uint32 // seconds, of records
	Negative    uint32 // seconds, of "no such name" and "no such record"
	Limit       int    // most addresses in an A or AAAA answer; 0: all
	Scale       int    // SRV weights are multiplied by it; 0: by 1
	OnlyPassing bool   // leave out instances in warning
	Serial      uint32 // of the SOA record
}
