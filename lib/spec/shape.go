package spec

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// shape is what a container cannot change while it lives. A field that is zero
// is left out, so a svckit that knows more fields reads old shapes as unchanged.
//
// Not in it, since they change without a new container: the name, tags, check,
// drain, overlap, scale and master (the registration and svc-run's own doing),
// which env keys and secrets are required and what templates say (values are
// compared by themselves, files are rendered again).
type shape struct {
	Command   []string  `json:"command,omitempty"`
	Port      int       `json:"port,omitempty"`      // the inner side of the port mapping
	Network   string    `json:"network,omitempty"`   // as in app.yaml
	Publish   string    `json:"publish,omitempty"`   // bridge with a port only: auto or the host port
	Stop      stopShape `json:"stop,omitzero"`       // the engine keeps both in the container
	Code      string    `json:"code,omitempty"`      // a mount
	Files     []string  `json:"files,omitempty"`     // targets: links made when the container is created
	Secrets   bool      `json:"secrets,omitempty"`   // whether /run/secrets is mounted; which ones is a matter of files
	Resources resShape  `json:"resources,omitzero"`  // cpuset and quota are decided once, when it is created
	Volumes   []string  `json:"volumes,omitempty"`   // mounts
	Scheduled bool      `json:"scheduled,omitempty"` // kind cron: another restart policy
	Exactly   bool      `json:"exactly,omitempty"`   // another restart policy, too
}

type stopShape struct {
	Signal  string `json:"signal,omitempty"`
	Timeout int64  `json:"timeout,omitempty"` // seconds
}

type resShape struct {
	CPU        float64 `json:"cpu,omitempty"`
	Memory     int64   `json:"memory,omitempty"`
	CPUBinding bool    `json:"cpu_binding,omitempty"`
}

// Shape is the canonical JSON of the part of the spec that a container cannot
// change while it lives: equal shapes give equal text. It holds nothing secret.
func Shape(s Service) string {
	sh := shape{
		Command: s.Command, Port: s.Port, Network: s.Network.String(), Code: s.Code.Mount,
		Stop:      stopShape{Signal: s.Stop.Signal, Timeout: int64(s.Stop.Timeout.Seconds())},
		Secrets:   len(s.Config.Secrets) > 0,
		Resources: resShape{CPU: s.Resources.CPU, Memory: s.Resources.Memory, CPUBinding: s.Resources.CPUBinding},
		Volumes:   volumeTexts(s.Volumes),
		Scheduled: s.Kind == Cron, Exactly: s.Scale.Exactly,
	}
	if s.Network.Mode == Bridge && s.Port > 0 {
		sh.Publish = publishText(s.Publish)
	}
	for _, f := range s.Config.Files {
		sh.Files = append(sh.Files, f.To)
	}
	slices.Sort(sh.Files)
	slices.Sort(sh.Volumes)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(sh); err != nil {
		return "{}" // not reached: only finite numbers and texts
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// maxShape bounds a label that anybody could have written.
const maxShape = 256 << 10

// DiffShape names the fields in which two shapes differ, sorted: command,
// resources.memory. A shape that cannot be read differs as a whole: "shape".
func DiffShape(old, new string) []string {
	if old == new {
		return nil
	}
	a, okA := leaves(old)
	b, okB := leaves(new)
	if !okA || !okB {
		return []string{"shape"}
	}
	var out []string
	for k := range a {
		if a[k] != b[k] {
			out = append(out, k)
		}
	}
	for k := range b {
		if _, both := a[k]; !both {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// leaves reads a shape as two levels: field or field.field → its JSON.
func leaves(s string) (map[string]string, bool) {
	var top map[string]json.RawMessage
	if len(s) > maxShape || json.Unmarshal([]byte(s), &top) != nil || top == nil {
		return nil, false
	}
	out := map[string]string{}
	for k, raw := range top {
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) != nil || inner == nil {
			out[k] = compact(raw)
			continue
		}
		for _, ik := range slices.Sorted(maps.Keys(inner)) {
			out[k+"."+ik] = compact(inner[ik])
		}
	}
	return out, true
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
