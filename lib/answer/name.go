package answer

import (
	"encoding/hex"
	"net/netip"
	"strings"
)

// Kind says who can answer a question.
type Kind uint8

// The kinds of names.
const (
	Outside  Kind = iota // not in Consul's domain
	Service              // an answer from the state of a service
	NodeName             // an answer from the state of a node
	Address              // the name says the address itself: 7f000001.addr.consul
	Nothing              // in Consul's domain, and no name that Consul gives
	Agent                // only the agent knows: prepared queries, connect, peers, reverse names
)

// Name is a question's name, taken apart.
type Name struct {
	Kind    Kind
	Subject Subject    // of Service and NodeName
	Tag     string     // of Service; "" is every instance
	Address netip.Addr // of Address
}

// ParseName takes a question's name apart as Consul 1.22 does (agent/dns.go,
// dispatch). The name is in lower case, with or without its last dot, without
// escapes; the type matters because an SRV name may leave out "service".
func ParseName(name string, kind uint16, p Policy) Name {
	name = strings.TrimSuffix(name, ".")
	switch rest, inside := strings.CutSuffix(name, "."+p.Domain); {
	case strings.HasSuffix(name, ".arpa"):
		return Name{Kind: Agent}
	case name == p.Domain:
		return apex(kind)
	case !inside:
		return Name{Kind: Outside}
	case kind == TypeSOA || kind == TypeNS:
		return Name{Kind: Agent}
	default:
		return parseInside(strings.Split(rest, "."), kind, p)
	}
}

// apex is the domain's own name: the agent knows its servers.
func apex(kind uint16) Name {
	if kind == TypeSOA || kind == TypeNS {
		return Name{Kind: Agent}
	}
	return Name{Kind: Nothing}
}

func parseInside(labels []string, kind uint16, p Policy) Name {
	for i := len(labels) - 1; i >= 0; i-- {
		before, after := labels[:i], labels[i+1:]
		switch labels[i] {
		case "service":
			return serviceName(before, after, p)
		case "node":
			return nodeName(before, after, p)
		case "addr":
			return addressName(before)
		case "connect", "virtual", "ingress", "query":
			return Name{Kind: Agent}
		}
		if kind == TypeSRV && strings.HasPrefix(labels[i], "_") {
			return serviceName(labels[:i+1], after, p)
		}
	}
	return Name{Kind: Nothing}
}

func serviceName(labels, suffix []string, p Policy) Name {
	dc, kind := datacenter(suffix, p)
	n := len(labels)
	if n < 1 || kind == Nothing {
		return Name{Kind: Nothing}
	}
	name, tag := labels[n-1], strings.Join(labels[:n-1], ".")
	if n == 2 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_") { // RFC 2782
		name, tag = labels[0][1:], labels[1][1:]
		if tag == "tcp" {
			tag = ""
		}
	}
	if kind == Agent || !plain(name, false) {
		return Name{Kind: Agent}
	}
	return Name{Kind: Service, Subject: Subject{Name: name, Datacenter: dc}, Tag: tag}
}

func nodeName(labels, suffix []string, p Policy) Name {
	dc, kind := datacenter(suffix, p)
	name := strings.Join(labels, ".")
	switch {
	case len(labels) < 1 || kind == Nothing:
		return Name{Kind: Nothing}
	case kind == Agent || !plain(name, true):
		return Name{Kind: Agent}
	}
	return Name{Kind: NodeName, Subject: Subject{Node: true, Name: name, Datacenter: dc}}
}

// datacenter reads what may follow "service" or "node": nothing, dc1, or dc1.dc. Peers and named ports are left to the agent.
func datacenter(labels []string, p Policy) (dc string, kind Kind) {
	dc = p.Datacenter
	switch len(labels) {
	case 0:
	case 1:
		dc = labels[0]
	case 2, 4, 6:
		for i := 0; i < len(labels); i += 2 {
			switch labels[i+1] {
			case "dc":
				dc = labels[i]
			case "peer", "port":
				kind = Agent
			default:
				return "", Nothing
			}
		}
	default:
		return "", Nothing
	}
	if kind != Agent && !plain(dc, false) {
		kind = Nothing
	}
	return dc, kind
}

func addressName(labels []string) Name {
	if len(labels) != 1 || len(labels[0]) != 8 && len(labels[0]) != 32 {
		return Name{Kind: Nothing}
	}
	raw, err := hex.DecodeString(labels[0])
	if err != nil {
		return Name{Kind: Nothing}
	}
	address, _ := netip.AddrFromSlice(raw)
	return Name{Kind: Address, Address: address}
}

// plain reports whether a name can stand in a path of Consul's API as it is.
func plain(s string, dots bool) bool {
	if s == "" || len(s) > 253 || strings.Contains(s, "..") {
		return false
	}
	for _, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || dots && c == '.'
		if !ok {
			return false
		}
	}
	return true
}
