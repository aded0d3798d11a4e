package fleet

import (
	"errors"
	"time"
)

// Errors that adapters return and deciding code asks for with errors.Is.
var (
	ErrNotFound  = errors.New("not found")
	ErrPortTaken = errors.New("port is already allocated")
	ErrNameTaken = errors.New("name is already in use")
	ErrConflict  = errors.New("changed by someone else")
)

// Engine says what container engine runs on this node.
type Engine struct {
	ID        string   // of this engine's data root
	Version   string   // e.g. 20.10.24
	API       string   // negotiated, e.g. 1.41
	CPUs      int      //
	Memory    int64    // bytes
	Root      string   // data root, e.g. /var/lib/docker
	Insecure  []string // registries and CIDRs that are spoken to without TLS
	UserNS    bool     // user namespaces remapped
	CgroupV2  bool     //
	LiveStore bool     // live-restore is on
}

// Agent says what Consul agent runs on this node.
type Agent struct {
	Node       string
	Datacenter string
	Address    string            // advertised
	Version    string            //
	Server     bool              //
	Meta       map[string]string // node meta, e.g. zone
	DNS        string            // address of its DNS, host:port; "" when it is off or unknown
	Domain     string            // e.g. consul
}

// Member is one machine of the fleet, as the catalog has it.
type Member struct {
	Node  string
	Zone  string
	Alive bool
}

// Image is what an image's config says.
type Image struct {
	ID         string   // sha256:…
	Digests    []string // repo@sha256:…
	User       string   // as in USER: name, uid, name:group …
	WorkDir    string   //
	Entrypoint []string //
	Command    []string //
	Labels     map[string]string
	Ports      []int // exposed TCP ports
	Size       int64 // bytes
}

// Volume is a named volume of the engine.
type Volume struct {
	Name  string
	Path  string   // on the node, where the engine keeps it there; "" or unreadable with other drivers
	Users []string // names of the containers that mount it, running or not
}

// Process is one process in a container, with pids of the host.
type Process struct {
	PID, Parent int
	Command     string
}

// Holder says who holds a lock. It is the value of the lock's key.
type Holder struct {
	Schema  int       `json:"schema"`
	Who     string    `json:"who"`     // user
	Node    string    `json:"node"`    // machine
	PID     int       `json:"pid"`     //
	Started string    `json:"started"` // start time of the process in the kernel's clock ticks: pids are used again
	Boot    string    `json:"boot"`    // boot id of the machine
	Space   string    `json:"space"`   // pid namespace of the process: in another one its pid means nothing
	Command string    `json:"command"` // e.g. "svc-run up shortener/web"
	Since   time.Time `json:"since"`
}

// Audit is one record of the journal.
type Audit struct {
	Schema  int       `json:"schema"`
	At      time.Time `json:"at"`
	Who     string    `json:"who"`             // user on the machine, and the Consul token's name where known
	Node    string    `json:"node"`            // machine it was called on
	Program string    `json:"program"`         // svc-run
	Command string    `json:"command"`         // up shortener/web --release 3f2c…; nothing secret
	App     string    `json:"app"`             //
	Service string    `json:"service"`         // "" when the whole app is meant
	Plan    []string  `json:"plan,omitempty"`  // the steps in words, bounded
	Result  string    `json:"result"`          // a fault.Kind's word
	Error   string    `json:"error,omitempty"` // bounded
	Changed bool      `json:"changed"`         //
	Seconds float64   `json:"seconds"`         //
}
