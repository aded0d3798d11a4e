package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/client"
	"github.com/moby/buildkit/identity"
	"github.com/tonistiigi/fsutil"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// BuildRequest is what one image is built from.
type BuildRequest struct {
	Context    fsutil.FS         // the build context; the engine asks for what it does not have yet
	Dockerfile string            // its path in the context
	Tags       []string          // repo:tag
	Args       map[string]string // build arguments
	Labels     map[string]string // labels of the image
	Secrets    map[string][]byte // build secrets by id; each at most 500 KB
	NoCache    bool              // run every step again
	Pull       bool              // ask the registry for a newer base image
	Out        io.Writer         // a line for each step that ended; nil: none
	Every      bool              // also a line for each that starts, and for all that they say
	Progress   fleet.Progress    // what runs now, and how many bytes of it; may be nil
}

// Build builds one image with BuildKit and returns its id (sha256:…). A step that fails
// gives a fault.Failed that names the step, with its last lines as detail. When ctx ends,
// so does the build on the engine.
func (e *Engine) Build(ctx context.Context, r BuildRequest) (imageID string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source := &remember{FS: r.Context}
	session, err := e.openSession(ctx, cancel, source, r.Secrets)
	if err != nil {
		return "", err
	}
	defer session.close()
	options := buildOptions(r, session.id(), identity.NewID())
	stop := context.AfterFunc(ctx, func() { e.cancelBuild(context.WithoutCancel(ctx), options.BuildID) })
	defer stop()
	res, err := e.api.ImageBuild(ctx, nil, options)
	if err != nil {
		return "", buildError(ctx, source, nil, err)
	}
	defer res.Body.Close()
	record := newBuildLog()
	show := newBuildShow(r)
	imageID, err = readBuild(res.Body, func(raw []byte) error {
		status, err := decodeTrace(raw)
		if err != nil {
			return err
		}
		record.update(status)
		show.update(status)
		return nil
	})
	if err == nil && imageID == "" {
		err = errors.New("the engine named no image at the end")
	}
	if err != nil {
		return "", buildError(ctx, source, record.failure(), err)
	}
	return imageID, nil
}

func buildOptions(r BuildRequest, session, id string) build.ImageBuildOptions {
	args := make(map[string]*string, len(r.Args))
	for _, k := range slices.Sorted(maps.Keys(r.Args)) {
		v := r.Args[k]
		args[k] = &v
	}
	return build.ImageBuildOptions{
		Version: build.BuilderBuildKit, BuildID: id, SessionID: session, RemoteContext: "client-session",
		Dockerfile: r.Dockerfile, Tags: r.Tags, BuildArgs: args, Labels: r.Labels,
		NoCache: r.NoCache, PullParent: r.Pull, Remove: true,
	}
}

// cancelBuild tells the engine too: closing the connection alone is noticed late
// while a step is silent.
func (e *Engine) cancelBuild(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := e.api.BuildCancel(ctx, id); err != nil {
		e.log.Debug("cancel build", "error", err)
	}
}

// message is one JSON message of a build, push or pull stream.
type message struct {
	ID       string          `json:"id"`
	Status   string          `json:"status"`
	Progress *progressDetail `json:"progressDetail"`
	Error    *messageError   `json:"errorDetail"`
	Aux      json.RawMessage `json:"aux"`
}

type progressDetail struct{ Current, Total int64 }

type messageError struct{ Message string }

// eachMessage reads a stream of the engine to its end: it is answered with 200 and may
// fail inside. The first error in it, or an unreadable message, ends the reading.
func eachMessage(r io.Reader, f func(message) error) error {
	d := json.NewDecoder(r)
	for {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != nil {
			return errors.New(strings.TrimSpace(m.Error.Message))
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// readBuild hands every trace to f and returns the image's id.
func readBuild(r io.Reader, f func(trace []byte) error) (imageID string, err error) {
	err = eachMessage(r, func(m message) error {
		switch m.ID {
		case "moby.buildkit.trace":
			var raw []byte // base64 in JSON
			if err := json.Unmarshal(m.Aux, &raw); err != nil {
				return fmt.Errorf("read build progress: %w", err)
			}
			return f(raw)
		case "moby.image.id":
			var result build.Result
			if err := json.Unmarshal(m.Aux, &result); err != nil {
				return fmt.Errorf("read image id: %w", err)
			}
			imageID = result.ID
		}
		return nil
	})
	return imageID, err
}

// buildError says what a build ended with: the caller's own end first, then a source
// that could not be read, then the step that failed, then what the engine said.
func buildError(ctx context.Context, source *remember, step *failedStep, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("build image: %w", context.Cause(ctx))
	}
	if source.failed() != nil {
		return &fault.Error{Kind: fault.KindOf(source.failed()), Msg: "build image", Hint: hintOf(source.failed()), Err: source.failed()}
	}
	if client.IsErrConnectionFailed(err) {
		return fault.New(fault.Unreachable, "build image: %w", err)
	}
	out := &fault.Error{Kind: fault.Failed, Msg: "build image", Err: err, Hint: buildHint(err.Error())}
	if step != nil {
		out.Err = fmt.Errorf("step %s: %s", step.name, step.message)
		out.Detail = step.lines
	}
	return out
}

func hintOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

func buildHint(text string) string {
	switch {
	case containsAny(text, "pull access denied", "401 Unauthorized", "403 Forbidden", "authorization failed", "no basic auth credentials"):
		return "docker login REGISTRY, or build.args in app.yaml with another base image"
	case containsAny(text, "no such host", "connection refused", "i/o timeout"):
		return "the engine cannot reach a registry: name a base image that it has or can reach, e.g. --build-arg BASE=…"
	case strings.Contains(text, "no space left on device"):
		return "docker system df shows what fills the engine's disk"
	}
	return ""
}

func containsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
}

// remember keeps the first error of reading the source: what the engine makes of it
// on the way says less.
type remember struct {
	fsutil.FS
	mu  sync.Mutex
	err error
}

func (r *remember) Open(path string) (io.ReadCloser, error) {
	f, err := r.FS.Open(path)
	if err != nil {
		r.keep(err)
		return nil, err
	}
	return &remembered{f, r}, nil
}

func (r *remember) keep(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *remember) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

type remembered struct {
	io.ReadCloser
	all *remember
}

func (f *remembered) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		f.all.keep(err)
	}
	return n, err
}
