package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Push pushes repo:tag with the credentials of the Docker settings and returns the
// digest that the engine names (sha256:…): by an aux message (graph drivers) or only in
// its last status line (the containerd store). The registry is asked by others.
func (e *Engine) Push(ctx context.Context, ref string, p fleet.Progress) (digest string, err error) {
	auth, err := registryAuth(ref)
	if err != nil {
		return "", err
	}
	stream, err := e.api.ImagePush(ctx, ref, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		return "", pushError(ctx, ref, err)
	}
	defer stream.Close()
	progress := newPushProgress(p)
	var aux, status string
	err = eachMessage(stream, func(m message) error {
		if d := auxDigest(m.Aux); d != "" {
			aux = d
		}
		if d := statusDigest(m.Status); d != "" && m.ID == "" {
			status = d
		}
		progress.add(m)
		return nil
	})
	if err != nil {
		return "", pushError(ctx, ref, err)
	}
	if aux == "" {
		aux = status
	}
	if aux == "" {
		return "", fmt.Errorf("push %s: the engine named no digest", ref)
	}
	return aux, nil
}

func auxDigest(raw json.RawMessage) string {
	var result struct{ Digest string }
	if len(raw) == 0 || json.Unmarshal(raw, &result) != nil || !wholeDigest.MatchString(result.Digest) {
		return ""
	}
	return result.Digest
}

var (
	wholeDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	digestLine  = regexp.MustCompile(`^\S+: digest: (sha256:[0-9a-f]{64}) size: \d+$`)
)

// statusDigest reads "TAG: digest: sha256:… size: N".
func statusDigest(line string) string {
	if m := digestLine.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

func pushError(ctx context.Context, ref string, err error) error {
	text := err.Error()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("push %s: %w", ref, context.Cause(ctx))
	case client.IsErrConnectionFailed(err):
		return fault.New(fault.Unreachable, "push %s: %w", ref, err)
	case containsAny(text, "denied", "unauthorized", "no basic auth credentials", "authentication required"):
		return fault.WithHint(fmt.Errorf("push %s: %w", ref, err), "docker login %s", registryOf(ref))
	case containsAny(text, "server gave HTTP response to HTTPS client"):
		return fault.WithHint(fmt.Errorf("push %s: %w", ref, err),
			"the registry speaks plain HTTP: add %s to insecure-registries in the engine's daemon.json", registryOf(ref))
	case containsAny(text, "connection refused", "no such host", "i/o timeout", "no route to host", "EOF", "connection reset"):
		return fault.New(fault.Unreachable, "push %s: %w", ref, err)
	}
	return fmt.Errorf("push %s: %w", ref, err)
}

// pushProgress adds up the layers of one push.
type pushProgress struct {
	report fleet.Progress
	layers map[string]progressDetail
}

func newPushProgress(p fleet.Progress) *pushProgress {
	return &pushProgress{report: p, layers: map[string]progressDetail{}}
}

func (p *pushProgress) add(m message) {
	if m.ID == "" {
		return
	}
	layer := p.layers[m.ID]
	if m.Progress != nil && m.Progress.Total > 0 {
		layer = progressDetail{Current: min(m.Progress.Current, m.Progress.Total), Total: m.Progress.Total}
	}
	if m.Status == "Pushed" || m.Status == "Layer already exists" {
		layer.Current = layer.Total
	}
	p.layers[m.ID] = layer
	var done, total int64
	for _, l := range p.layers {
		done, total = done+l.Current, total+l.Total
	}
	what := m.Status
	if what == "" {
		what = "push"
	}
	p.report.Report(what, done, total)
}
