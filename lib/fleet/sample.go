package fleet

// Sample is what the monitor of one node saw: what the planner pulls from it.
// Moments are unix seconds of the node's own clock.
type Sample struct {
	Schema int    `json:"schema"`
	Node   string `json:"node"`
	At     int64  `json:"at"`
	Epoch  uint64 `json:"epoch"` // of the wish that the node has applied last; 0: none yet
	Gen    uint64 `json:"gen"`   //

	CPUs     int             `json:"cpus"`
	Memory   int64           `json:"memory"`    // bytes
	CPUUsed  float64         `json:"cpu_used"`  // cores, mean of 10 s
	MemoryIn int64           `json:"memory_in"` // bytes in use, without caches
	Load     float64         `json:"load"`      // the kernel's, of one minute
	Services []ServiceSample `json:"services"`  // by name
}

// ServiceSample is one service on one node, summed over its instances there. A
// window is the last 1, 10 or 60 seconds; a mean covers only what was seen.
type ServiceSample struct {
	Name      string `json:"name"` // app/service
	Release   string `json:"release"`
	Instances int    `json:"instances"` // that run
	Ready     int    `json:"ready"`     // workers, or instances, that serve
	Starting  int    `json:"starting"`  // that will
	// Settling says why workers are in motion beside scaling, e.g. a deploy; "": they are not.
	Settling string `json:"settling,omitempty"`

	Requests *Requests `json:"requests,omitempty"` // nil: nothing tells of them
	Queue    *Queue    `json:"queue,omitempty"`    // nil: it has none
	CPU      float64   `json:"cpu"`                // cores used, mean of 10 s
	MemoryIn int64     `json:"memory_in"`          // bytes in use
	Errors   []string  `json:"errors,omitempty"`   // what could not be read, one line each, bounded
}

// Requests is the traffic of a service on one node. Rates are per second and
// count arrivals: a request that waits is in them.
type Requests struct {
	Since   int64   `json:"since"` // since when it is seen without a gap
	Rate1   float64 `json:"rate1"`
	Rate10  float64 `json:"rate10"`
	Rate60  float64 `json:"rate60"`
	Done10  float64 `json:"done10"`
	Done60  float64 `json:"done60"`
	Marks   bool    `json:"marks"` // busy workers are known
	Slots   float64 `json:"slots"` // requests that one worker takes at a time, mean: threads of gunicorn
	Busy    float64 `json:"busy"`  // requests that are being worked on: with one slot, busy workers
	Busy10  float64 `json:"busy10"`
	Busy60  float64 `json:"busy60"`
	Waiting float64 `json:"waiting"` // connections that no worker has taken
	Service float64 `json:"service"` // mean seconds of a request in 60 s; 0: not known
	CV2     float64 `json:"cv2"`     // its squared coefficient of variation; 0: not known
}

// Queue is a queue and its consumers, as one node sees it. Every node sees the
// same queue: its numbers are never summed over nodes.
type Queue struct {
	Source  string  `json:"source"` // e.g. redis://10.0.0.5:6379/0 list jobs, without credentials
	Since   int64   `json:"since"`
	Ready   float64 `json:"ready"`   // messages that no consumer has
	Unacked float64 `json:"unacked"` // that a consumer works on
	Rates   bool    `json:"rates"`   // false: In and Out are not known, only their difference; then one of them is 0
	In10    float64 `json:"in10"`    // published per second
	In60    float64 `json:"in60"`
	Out10   float64 `json:"out10"` // acknowledged per second
	Out60   float64 `json:"out60"`
}

// Monitor is a node with a monitor, as Consul knows it.
type Monitor struct {
	Node    string
	Zone    string // of the node's meta; "": it has none
	Pool    string // of the node's meta; "": it has none
	Address string // host:port where its samples are served; "": nobody knows now
	Scheme  string // http | https
	Alive   bool   // by Consul's own failure detector
}

// MonitorService is the name under which monitors are registered in Consul.
const MonitorService = "svckit-scaled-node"
