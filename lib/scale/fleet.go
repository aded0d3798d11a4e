package scale

// FleetInput is what the guard over all services sees. VIP services and normal
// ones are given to it apart.
type FleetInput struct {
	At       int64          `json:"at"`
	Services []FleetService `json:"services"`
	Pools    []PoolHealth   `json:"pools"`
}

// FleetService is one service in the eyes of the fleet guard.
type FleetService struct {
	Name      string `json:"name"`
	Workers   int    `json:"workers"`
	Collapsed int64  `json:"collapsed,omitempty"` // State.Guard.Since
}

// PoolHealth says how many nodes of a pool report.
type PoolHealth struct {
	Pool   string `json:"pool"`
	Nodes  int    `json:"nodes"`
	Silent int    `json:"silent"`
}

// FleetState is what the fleet guard remembers.
type FleetState struct {
	Since int64 `json:"since,omitempty"` // 0: not active
	Clear int64 `json:"clear,omitempty"` // since when its cause is gone
}

// FleetVerdict is the fleet guard's word: Freeze goes into the Input of every service it was asked about.
type FleetVerdict struct {
	Freeze    Freeze   `json:"freeze"`
	Collapsed float64  `json:"collapsed"`       // share of the workers whose services collapsed within 2 minutes
	Pools     []string `json:"pools,omitempty"` // pools that went silent, sorted
	Page      bool     `json:"page,omitempty"`  // a person must look
}

// Fleet freezes lowering everywhere when more than 30 % of the services (by
// workers), and at least 3 of them, collapse within 2 minutes, or when more than 45 % and more than 3
// nodes of a pool are silent.
func Fleet(s FleetState, in FleetInput) (FleetVerdict, FleetState) {
	return fleet(s, in)
}

// Candidate is one service of a pass.
type Candidate struct {
	Name   string `json:"name"` // app/service
	Policy Policy `json:"policy"`
	State  State  `json:"state"`
	Input  Input  `json:"input"`
}

// Outcome is what a pass decided for one service.
type Outcome struct {
	Name     string   `json:"name"`
	VIP      bool     `json:"vip,omitempty"`
	Decision Decision `json:"decision"`
	State    State    `json:"state"`
}

// Pass decides all services: VIP ones first and apart, each group sorted by
// name and under a fleet guard of its own, so that trouble of the normal ones
// never reaches a VIP service. pools are the same for both.
func Pass(s PassState, at int64, all []Candidate, pools []PoolHealth) ([]Outcome, [2]FleetVerdict, PassState) {
	return pass(s, at, all, pools)
}

// PassState is what a pass leaves for the next one beside the State of each service.
type PassState struct {
	VIP    FleetState `json:"vip"`
	Normal FleetState `json:"normal"`
}
