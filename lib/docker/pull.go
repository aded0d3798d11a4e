package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Pull fetches an image, whether it is here or not, and reports the bytes of all
// its layers as they are learnt of.
//
// Errors: fleet.ErrNotFound (fault.NotFound), fault.Unreachable for a registry
// that does not answer, fault.Failed with a hint when it asks for a login.
func (e *Engine) Pull(ctx context.Context, ref string, p fleet.Progress) error {
	auth, err := registryAuth(ref)
	if err != nil {
		return fault.New(fault.Failed, "pull %s: %w", oneLine(ref), err)
	}
	stream, err := e.api.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return e.pullError(ctx, ref, err)
	}
	defer stream.Close()
	if err := readTransfer(stream, ref, p); err != nil {
		return e.pullError(ctx, ref, err)
	}
	return nil
}

// PullFrom is Pull that asks mirrors (host[:port][/path], tried in order) before
// the image's own registry. It returns the reference the image has here. Only a
// reference with a digest is asked of a mirror: what comes is then the same image,
// whoever sends it.
func (e *Engine) PullFrom(ctx context.Context, ref string, mirrors []string, p fleet.Progress) (string, error) {
	for _, mirror := range mirrors {
		at, ok := Mirrored(ref, mirror)
		if !ok {
			continue
		}
		err := e.Pull(ctx, at, p)
		if err == nil {
			return at, nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		e.log.Warn("mirror has not given the image", "mirror", mirror, "image", ref, "error", err)
	}
	return ref, e.Pull(ctx, ref, p)
}

// Mirrored is ref as a mirror has it: the mirror in the place of the registry.
func Mirrored(ref, mirror string) (string, bool) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", false
	}
	digested, ok := named.(reference.Digested)
	if !ok {
		return "", false
	}
	return strings.TrimSuffix(mirror, "/") + "/" + reference.Path(named) + "@" + digested.Digest().String(), true
}

func (e *Engine) pullError(ctx context.Context, ref string, err error) error {
	what := "pull " + oneLine(ref)
	if ctx.Err() != nil {
		return e.wrap(ctx.Err(), "%s", what)
	}
	if mapped := e.wrap(err, "%s", what); fault.KindOf(mapped) == fault.Unreachable {
		return mapped // the engine itself does not answer
	}
	return registryError(what, ref, words(err))
}

// readTransfer reads an answer of pull or push to its end. The engine answers 200 before
// it begins, so a failure is a line of the answer.
func readTransfer(stream io.Reader, ref string, p fleet.Progress) error {
	seen := transfer{}
	decoder := json.NewDecoder(stream)
	for {
		var m jsonmessage.JSONMessage
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if seen.note(m) {
			done, total := seen.sum()
			p.Report(ref, done, total)
		}
	}
}

// transfer adds up the bytes of the layers of one pull or push.
type transfer map[string]struct{ done, total int64 }

// note takes one line in and reports whether the sum changed.
func (t transfer) note(m jsonmessage.JSONMessage) bool {
	layer, known := t[m.ID]
	switch {
	case m.ID == "":
		return false
	case (m.Status == "Downloading" || m.Status == "Pushing") && m.Progress != nil && m.Progress.Total > 0:
		layer.done, layer.total = min(m.Progress.Current, m.Progress.Total), m.Progress.Total
	case known && (m.Status == "Download complete" || m.Status == "Pull complete" || m.Status == "Pushed"):
		layer.done = layer.total
	default:
		return false
	}
	changed := layer != t[m.ID]
	t[m.ID] = layer
	return changed
}

func (t transfer) sum() (done, total int64) {
	for _, l := range t {
		done += l.done
		total += l.total
	}
	return done, total
}

// registryError gives what the engine says of a registry its kind. The engine
// passes on the registry's or the dialler's words, so there is only text to go by.
func registryError(what, ref, text string) error {
	has := func(words ...string) bool {
		low := strings.ToLower(text)
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	host := registryOf(ref)
	switch {
	case has("http response to https client"):
		return fault.WithHint(fault.New(fault.Unreachable, "%s: %s", what, text),
			"a registry without TLS must be listed in insecure-registries of /etc/docker/daemon.json: %q", host)
	case has("unauthorized", "denied", "no basic auth credentials", "authentication required", "incorrect username or password"):
		return fault.WithHint(fault.New(fault.Failed, "%s: %s", what, text), "`docker login %s`", host)
	case has("dial tcp", "connection refused", "connection reset", "no such host", "i/o timeout", "tls handshake", "x509:",
		"unexpected http status: 5", "toomanyrequests", "deadline exceeded", "client.timeout", "unexpected eof"):
		return fault.WithHint(fault.New(fault.Unreachable, "%s: %s", what, text), "is the registry %s up, and reached from this node?", host)
	case has("manifest unknown", "name unknown", "not found", "does not exist"):
		return fault.New(fault.NotFound, "%s: %w: %s", what, fleet.ErrNotFound, text)
	case has("no space left on device"):
		return fault.WithHint(fault.New(fault.Failed, "%s: %s", what, text), "the disk of Docker's data root is full: `docker system df`")
	}
	return fault.New(fault.Failed, "%s: %s", what, text)
}

func registryOf(ref string) string {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "of the image"
	}
	return reference.Domain(named)
}
