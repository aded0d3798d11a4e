package fleet

import "time"

// Container is everything the engine must know to create one container.
type Container struct {
	Name       string            // unique on the node
	Image      string            // repo@sha256:… or an image id
	Command    []string          // empty: the image's own
	Env        map[string]string //
	Labels     map[string]string // the Label* keys
	Network    string            // bridge | host | name of a Docker network
	Ports      []PortMap         // bridge only
	Mounts     []Mount           //
	Links      map[string]string // symbolic links made in the container's own layer: path → target
	Over       string            // the one of Links that may take the place of a folder of the image; "": none
	DNS        []string          // nameservers; empty: the engine's default
	StopSignal string            // with SIG, e.g. SIGTERM
	StopWait   time.Duration     //
	Restart    string            // always | on-failure | no
	CPU        float64           // quota in cores; 0: none
	Cores      []int             // cpuset; nil: none
	Memory     int64             // bytes; 0: none
}

// PortMap publishes a container port on a host address.
type PortMap struct {
	Host      string // address; "" is every address
	HostPort  int
	Container int
}

// Mount is a bind mount (Source absolute) or a named volume.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// The labels of a container of ours: the books from which everything is derived.
const (
	LabelApp       = "svckit.app"
	LabelService   = "svckit.service"
	LabelRelease   = "svckit.release"
	LabelImage     = "svckit.image"
	LabelShape     = "svckit.shape"
	LabelEnv       = "svckit.env" // the names of the variables that svc-run set, comma-separated
	LabelAddress   = "svckit.address"
	LabelPort      = "svckit.port"
	LabelCPU       = "svckit.cpu"
	LabelCores     = "svckit.cores" // e.g. 0,1
	LabelExclusive = "svckit.exclusive"
	LabelDir       = "svckit.dir"
	LabelOwner     = "svckit.owner"  // a Holder as JSON: the process that the container ends with
	LabelKind      = "svckit.kind"   // service | test | dev: what the container is for
	LabelRun       = "svckit.run"    // id of the run of a cron service that the container is for
	LabelPrefix    = "svckit.prefix" // SVC_PREFIX of the run that made it
)
