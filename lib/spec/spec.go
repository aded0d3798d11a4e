// Package spec is the one home of app.yaml: decode, defaults, validation,
// merging of config, rendering of templates, and the hash of what was wanted.
// It reads no files and asks nobody: bytes in, values and problems out.
package spec

import "time"

// App is one decoded, defaulted and valid app.yaml.
type App struct {
	Name     string    // [a-z][a-z0-9-]{0,39}
	Notify   []Notify  // whom to tell when something goes wrong
	Build    Build     // how the image is made
	Deploy   Deploy    // how a release goes over the fleet
	Services []Service // sorted by Key; at least one
}

// Notify is one receiver of failure messages.
type Notify struct{ Webhook string }

// Build says how the image is made.
type Build struct {
	Dockerfile string            // path in the source folder; "" when Runtime is set
	Runtime    Runtime           // generated Dockerfile; "" when Dockerfile is set
	Image      string            // repository without tag or digest, e.g. registry.service.consul:5000/shortener; "" when not said
	Args       map[string]string // build arguments
	Secrets    []string          // ids of build secrets, given by `svc-build --secret id=ID,src=FILE|env=NAME`
	Test       []string          // runs in the built image before anything is pushed; empty: no test
}

// Runtime is a language with a generated Dockerfile.
type Runtime string

// The runtimes that svc-build can write a Dockerfile for.
const (
	Python Runtime = "python"
	Go     Runtime = "go"
	Node   Runtime = "node"
	Ruby   Runtime = "ruby"
	Static Runtime = "static"
)

// Kind says what sort of program a service is.
type Kind string

// The kinds of service.
const (
	Web    Kind = "web"     // answers HTTP
	RPC    Kind = "service" // answers other services
	Daemon Kind = "daemon"  // long-running, no port needed
	Cron   Kind = "cron"    // started by schedule
)

// Master is the process manager inside the container, which decides how it reloads.
type Master string

// The masters.
const (
	Gunicorn Master = "gunicorn"
	UWSGI    Master = "uwsgi"
	NoMaster Master = "none"
)

// Service is one entry of services: in app.yaml, with every default filled in.
type Service struct {
	App       string    // the app it belongs to
	Key       string    // its name in app.yaml, e.g. "web"
	Name      string    // its name in Consul, default "<app>-<key>"; a DNS label
	Kind      Kind      // default web
	Schedule  string    // cron expression; kind cron only
	Cron      CronRules // kind cron only
	Command   []string  // argv, never a shell line; empty: the image's own
	Master    Master    // default none
	Port      int       // port inside the container; 0: none (daemon, cron)
	Network   Network   // default bridge
	Publish   Publish   // default auto; bridge only
	Check     Check     //
	Smoke     Smoke     // tried by a deploy of the fleet, beside the check
	Stop      Stop      //
	Overlap   bool      // default true; false where the old must free its host port first: a fixed Publish.Port, or network host with a port
	Code      Code      //
	Config    Config    //
	Resources Resources //
	Volumes   []Volume  //
	Tags      []string  // sorted
	Scale     Scale     //
}

// CronRules are the rules of a service that is started by a schedule.
type CronRules struct {
	Zone      string        // IANA name of the zone whose clock the schedule means, default UTC
	Missed    string        // once (default) | skip: a tick that nobody could start in time
	Within    time.Duration // default 1h: how late a missed tick is still started; only with once
	Busy      string        // skip (default) | wait | kill: a tick that finds the run before still going on
	Timeout   time.Duration // default 1h: a run that takes longer is stopped
	Exclusive bool          // default false; true: a run ends when its node cannot show its lock any more, so that never two go on
}

// NetworkMode is how a container is attached.
type NetworkMode string

// The network modes.
const (
	Bridge  NetworkMode = "bridge"
	Host    NetworkMode = "host"
	Macvlan NetworkMode = "macvlan"
)

// Network is `network: bridge | host | macvlan:NAME`.
type Network struct {
	Mode NetworkMode
	Name string // Docker network of a macvlan
}

// Publish is `publish: auto | PORT`: the host port of a bridged container.
type Publish struct {
	Port int // 0: auto, a port of the node's range
}

// Auto reports whether the node chooses the host port.
func (p Publish) Auto() bool { return p.Port == 0 }

// CheckType is how an instance is asked whether it is well.
type CheckType string

// The check types. NoCheck is a daemon's: it is well while it runs.
const (
	NoCheck   CheckType = ""
	CheckHTTP CheckType = "http"
	CheckTCP  CheckType = "tcp"
	CheckGRPC CheckType = "grpc"
	CheckTTL  CheckType = "ttl"
)

// Check is the health check of a service.
type Check struct {
	Type       CheckType
	Path       string        // http: path with query; grpc: service name, may be empty
	Interval   time.Duration // default 2s; for ttl the TTL
	Timeout    time.Duration // default 1s
	MinHealthy time.Duration // default 5s: passing this long without a break lets a release in
	Deadline   time.Duration // default 2m: from the start of the container to the end of the gate
}

// Stop says how an instance is ended.
type Stop struct {
	Signal  string        // name without SIG, default TERM
	Timeout time.Duration // default 30s, then KILL
	Drain   time.Duration // default 5s: between leaving DNS and the signal
}

// Code is code on a volume, when the image holds only the environment.
type Code struct {
	Mount string // absolute path in the container; "" when the image holds the code
}

// Config is what a service needs from Consul KV.
type Config struct {
	Env     []string // required keys, sorted
	Secrets []string // required secret keys, sorted; files under /run/secrets
	Files   []File   // rendered templates
}

// File is one rendered template.
type File struct {
	Template string // path in the source folder
	To       string // absolute path in the container
}

// Resources are the cgroup limits of an instance.
type Resources struct {
	CPU        float64 // cores, a multiple of 0.01; 0: unlimited
	Memory     int64   // bytes; 0: unlimited
	CPUBinding bool    // exclusive cores and at most one shared fragment core
}

// Volume is "SOURCE:TARGET[:ro]"; a source with a leading / is a path of the node, else a Docker volume.
type Volume struct {
	Source, Target string
	ReadOnly       bool
}

// Scale is the autoscaler's policy, kept and validated here, used by scaled.
type Scale struct {
	Unit      string        // workers | instances; default workers when there is a Master, else instances
	Strategy  string        // noop | busy_ratio | rps_ratio | queue; default noop
	Target    float64       // 0 < t ≤ 1; 0 when Wait is set; default 0.6 for busy_ratio and rps_ratio, else 0
	Wait      float64       // share of requests that wait longer than WaitOver, 0 < w < 1; 0 when Target is set
	WaitOver  time.Duration // default 0: any request that finds no free worker; only with Wait
	Min, Max  int           // defaults 1 and 0 (no bound by the spec); min 0: no worker while nothing comes
	MinNodes  int           // default 1, or 2 when Survive is not none
	Spread    string        // equal | balanced (default)
	Survive   string        // none (default) | node | zone
	Down      ScaleDown     //
	Pool      string        // default "default"
	Priority  string        // normal (default) | vip
	StartUp   time.Duration // default 15s: from the start of a worker until it serves, where it is not measured
	OnBlind   string        // hold | forecast (default) | max: what to do without metrics
	Seasonal  bool          // default true: earlier days count as a floor
	Drain     time.Duration // default 90s: strategy queue works a backlog off in this time
	Queue     Queue         // strategy queue only
	Schedules []Schedule    // sorted by name
	Worker    Worker        // unit workers only
	Exactly   bool          // never more than Min in the fleet, also while a node is cut off; strategy noop, unit instances, overlap false
	Set       bool          // false when app.yaml has no scale section
}

// Worker is what placement counts for one worker of a container: that many fit
// on a node. It limits nothing.
type Worker struct {
	CPU    float64 // cores, a multiple of 0.01; default 0.1
	Memory int64   // bytes; default 64 MiB
}

// Queue names the queue that a service consumes: one of List, Stream and RabbitMQ is set.
type Queue struct {
	From     string // name of the config or secret key that holds the server's URL
	List     string // Redis: key of a list
	Busy     string // Redis: list that a consumer moves a message to while it works on it; "": what is worked on is not known
	Done     string // Redis: counter that a consumer increments when a message is done; "": rates are not known
	Stream   string // Redis: key of a stream
	Group    string // its consumer group
	RabbitMQ string // name of a queue
}

// Schedule is bounds of their own at certain times of the week.
type Schedule struct {
	Name string   // a DNS label
	Days []string // mon … sun, of the beginning; none: every day
	From string   // 08:30
	To   string   // exclusive; not after From: ends on the next day
	Zone string   // IANA name, default UTC
	Min  int      // 0: no floor
	Max  int      // 0: no ceiling
}

// ScaleDown bounds how fast a service gets smaller.
type ScaleDown struct {
	After time.Duration // default 10m
	Step  float64       // share, default 0.10
}

// Problem is one thing that is wrong with a spec, a config or a template.
type Problem struct {
	File      string // as given to Decode
	Line, Col int    // 1-based; 0 when there is no place
	Path      string // e.g. services.web.check.interval
	Msg       string // what is wrong and what was expected
}

// Service returns the service with that key.
func (a App) Service(key string) (Service, bool) {
	for _, s := range a.Services {
		if s.Key == key {
			return s, true
		}
	}
	return Service{}, false
}
