package here

import (
	"fmt"
	"io"

	"svckit/lib/rollout"
)

// Outcome is what a command that walks a plan prints.
type Outcome struct {
	App       string         `json:"app"`
	Service   string         `json:"service"`
	Release   string         `json:"release,omitempty"`
	Image     string         `json:"image,omitempty"`
	DNS       string         `json:"dns"`
	FoundBy   string         `json:"found_by"` // SRV: clients need the port of the answer; A: an address is enough; "": it has no port
	Changed   bool           `json:"changed"`
	DryRun    bool           `json:"dry_run,omitempty"`
	Promoted  bool           `json:"promoted,omitempty"`
	Steps     []rollout.Step `json:"steps"`
	Notes     []string       `json:"notes,omitempty"`
	Instances []Live         `json:"instances"`

	after map[string]rollout.After
}

// Live is one instance as a result shows it.
type Live struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Release string `json:"release"`
	State   string `json:"state"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	// After is what a reload left it in; "" where it was not reloaded.
	After rollout.After `json:"after,omitempty"`
}

// Text prints the outcome for people: the plan when it is a dry run, else what runs now.
func (o Outcome) Text(w io.Writer) {
	if o.DryRun {
		for n, s := range o.Steps {
			fmt.Fprintf(w, "%d. %s\n", n+1, s)
		}
		for _, n := range o.Notes {
			fmt.Fprintf(w, "note: %s\n", n)
		}
		if len(o.Steps) == 0 {
			fmt.Fprintf(w, "%s/%s: nothing to do\n", o.App, o.Service)
		}
		return
	}
	if !o.Changed {
		fmt.Fprintf(w, "%s/%s: nothing to do\n", o.App, o.Service)
	}
	for _, i := range o.Instances {
		at := ""
		if i.Port > 0 {
			at = fmt.Sprintf(" at %s:%d", i.Address, i.Port)
		}
		after := ""
		if i.After != "" {
			after = fmt.Sprintf(" (%s)", i.After)
		}
		fmt.Fprintf(w, "%s/%s: %s%s runs release %s%s, found as %s%s\n", o.App, o.Service, i.Name, after, i.Release, at, o.DNS, by(o.FoundBy))
	}
	if len(o.Instances) == 0 {
		fmt.Fprintf(w, "%s/%s: nothing runs on this node\n", o.App, o.Service)
	}
}

// by renders how clients find a service, for a line of text.
func by(found string) string {
	if found == "" {
		return ""
	}
	return " by " + found
}
