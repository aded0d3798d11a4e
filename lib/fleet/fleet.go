// Package fleet holds plain facts about what is there: instances on a node,
// registrations in Consul, releases. It has no behaviour beyond reading a fact.
package fleet

import "time"

// State is a container's state in the engine's own words.
type State string

// The states of a container.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Exited     State = "exited"
	Dead       State = "dead"
	Removing   State = "removing"
)

// Instance is one container of a service on this node, as the engine shows it.
type Instance struct {
	ID        string            // container id, 64 hex digits
	Name      string            // container name, without the leading slash
	App       string            //
	Service   string            // key in app.yaml
	Release   string            //
	Image     string            // repo@sha256:… that was asked for
	Command   []string          // as it was started: entrypoint and arguments
	PID       int               // of the node, of its first process; 0 when it does not run
	Shape     string            // canonical JSON of the part of the spec that a container cannot change while it lives
	Env       map[string]string // what svc-run set, without what the image brings
	State     State             //
	ExitCode  int               // of the last run
	OOMKilled bool              //
	Restarts  int               // restarts by the engine since it was started by hand
	StartedAt time.Time         //
	CreatedAt time.Time         //
	Address   string            // where it is reached from this node and others
	Port      int               // 0: has none
	CPU       float64           // cores it declared; 0: unlimited
	Cores     []int             // cores it is bound to, as its label lists them: exclusive ones first, then the fragment core; nil: none
	Exclusive int               // how many of Cores are its own alone
	Allowed   []int             // cores that the engine lets it run on now (its cpuset); nil: every core
	Memory    int64             // bytes; 0: unlimited
	Dir       string            // host folder with its rendered files and secrets; "" when it has none

	Run        string   // id of the run of a cron service; "": it is no run
	Prefix     string   // SVC_PREFIX of the run that made it
	Network    string   // bridge | host | name of a Docker network
	Restart    string   // restart policy
	StopSignal string   // as configured; "" is a trap: see docker.Engine.Signal
	Owner      *Holder  // the process that it runs for and ends with, as under `svc-run dev`; nil: it is the node's
	Bad        []string // labels that made no sense, each with a reason; their fields are empty
}

// Short returns the first 8 digits of the container id, as used in a registration's ID.
func (i Instance) Short() string {
	if len(i.ID) < 8 {
		return i.ID
	}
	return i.ID[:8]
}

// Health is the sum of a registration's checks, in Consul's words.
type Health string

// The health of a registration.
const (
	Passing     Health = "passing"
	Warning     Health = "warning"
	Critical    Health = "critical"
	Maintenance Health = "maintenance"
)

// Registration is one service instance in Consul's local agent or catalog.
type Registration struct {
	ID      string            // <app>-<service>-<node>-<8 of container id>
	Name    string            // Consul service name
	Node    string            //
	Address string            //
	Port    int               //
	Weight  int               // of a passing instance, ≥ 1
	Tags    []string          // sorted
	Meta    map[string]string // the Meta* keys, and nothing secret
	Check   Check             // as registered
	Health  Health            // read back, "" when not known; registered: maintenance with a reason, or passing
	Output  string            // the worst check's last output, bounded
	Reason  string            // of a maintenance
}

// Check is a health check as Consul is told to run it.
type Check struct {
	Type     string        // http | tcp | grpc | ttl | "" for none
	Target   string        // URL, host:port, or host:port/service
	Interval time.Duration // ttl: the TTL
	Timeout  time.Duration
}

// The meta keys of a registration of ours. MetaOwner marks it as ours.
const (
	MetaOwner     = "svckit"
	MetaApp       = "app"
	MetaService   = "service"
	MetaRelease   = "release"
	MetaWorkers   = "workers"
	MetaNode      = "node"
	MetaZone      = "zone"
	MetaContainer = "container" // the whole container id
	MetaEngine    = "engine"    // ID of the container engine: two engines may share one agent
	MetaFound     = "found_by"  // SRV: found only with its port; A: an address is enough
	MetaCheck     = "check"     // the check as registered, to notice a difference
)

// Release is one build that can be run, as kept in Consul KV.
type Release struct {
	App       string            // not part of the value: the key has it
	Name      string            // not part of the value: the key has it
	Image     string            // repo@sha256:…
	Tag       string            // repo:tag it was pushed as
	Spec      string            // app.yaml, byte for byte
	Templates map[string]string // path → text of every template that the spec names
	Git       Git               //
	BuiltBy   string            // user@machine
	BuiltAt   time.Time         // UTC
	Test      TestResult        //
	Stable    *Mark             // nil until marked; keeps its own digest when the release is pushed again
	Failed    *Mark             // nil unless a deploy of it failed
}

// Git is where the source came from; empty outside git.
type Git struct {
	Commit string // 40 hex digits
	Branch string
	Remote string // without credentials
	Dirty  bool
}

// TestResult is what the spec's test said in the built image.
type TestResult struct {
	Command []string
	Seconds float64
	Ran     bool // false: the spec has no test
}

// Mark is who said something of a release, when, and of which image.
type Mark struct {
	Image string
	By    string
	At    time.Time
	Why   string // of a failed mark: node, check and what it said last, in one line; may be empty
}

// Current is which release each service of an app should run.
type Current struct {
	Services map[string]Pointer // service key → pointer
	Index    uint64             // for check-and-set; 0: there is no key yet
}

// Pointer names a release and the one before it.
type Pointer struct {
	Release  string
	Previous string
	Image    string // set only where it is not the image of the release's record: that was pushed again since
	At       time.Time
	By       string
}

// Code is the code of a service on a volume of this node. The zero value: there is none.
type Code struct {
	Generation string    // name of what is current; "" when somebody put it there by hand
	Previous   string    // what was current before; "" when there is none
	Changed    time.Time // when it became current
}

// CodeAt is where a container sees the code of a volume. The zero value: its image holds the code.
type CodeAt struct {
	Mount    string // where the program expects its code: a link to what is current
	Versions string // the folder of all versions
	At       string // the version that is meant, where it is not the current one yet; "" for the current one
}

// Program is what is run in a container beside what runs there.
type Program struct {
	Command []string
	Dir     string   // "" is the container's own
	Env     []string // NAME=value, over the container's own
}

// Ran is what became of a program.
type Ran struct {
	Code   int
	Stdout []byte   // its first part, bounded
	Last   []string // the last lines of stdout and stderr, cleaned
	Errors []string // the last lines of stderr, cleaned
}

// Endpoint is one answer of service discovery.
type Endpoint struct {
	Address string
	Port    int // 0 in an A answer
	Weight  int
}

// Progress reports how far a long action is; total 0 means unknown. A nil Progress is allowed everywhere.
type Progress func(what string, done, total int64)

// Report calls p if there is one.
func (p Progress) Report(what string, done, total int64) {
	if p != nil {
		p(what, done, total)
	}
}
