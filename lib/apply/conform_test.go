package apply_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"svckit/lib/apply"
	"svckit/lib/fleet"
	"svckit/lib/rollout"
	"svckit/lib/spec"
)

// TestTheFakeNodeConforms holds the fake to what the real parts do: the suite
// is walked by both (see conform_real_test.go).
func TestTheFakeNodeConforms(t *testing.T) {
	node := newFakeNode()
	image := release("good")
	conform(t, stage{world: node.world(), image: image, app: "app", address: "10.0.0.1", port: 20000, runDir: "/run/svckit"})
}

// stage is where the suite plays.
type stage struct {
	world   apply.World
	image   string // can be pulled, is well on port 8000
	app     string // nobody else's
	address string
	port    int // free, and the next one too
	runDir  string
}

// job is one service of the stage, with a secret and a rendered file.
func (s stage) job() apply.Job {
	j := job("r1", 1, nil)
	j.Site.Address, j.Site.RunDir, j.Site.Name = s.address, s.runDir, "node1"
	j.Wanted.App, j.Wanted.Image, j.Wanted.Service.Name = s.app, s.image, s.app+"-web"
	j.Wanted.Secrets, j.Wanted.Files = true, []string{"/etc/app.json"}
	j.Values = spec.Values{Secrets: map[string]string{"KEY": "one"}, Files: []spec.Rendered{{To: "/etc/app.json", Content: []byte("{}")}}}
	return j
}

// conform says what package apply relies on.
func conform(t *testing.T, s stage) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w, j := s.world, s.job()
	j.Wanted.Names = []string{s.app + "-web-000009"}
	name := s.app + "-web-000001"
	dir := filepath.Join(s.runDir, name)

	expect(t, "an image that is not here", errors.Is(second(w.Images.Image(ctx, s.image)), fleet.ErrNotFound))
	nothing(t, "pull", w.Images.Pull(ctx, s.image, nil))
	nothing(t, "look at the image", second(w.Images.Image(ctx, s.image)))

	links, err := w.Files.Prepare(dir, j.Values)
	nothing(t, "prepare files", err)
	expect(t, "a link for the rendered file", len(links) == 1 && links["/etc/app.json"] != "")
	stale, err := w.Files.Differ(dir, j.Values)
	nothing(t, "compare files", err)
	expect(t, "a secret and a file that differ before they are delivered", len(stale) == 2)

	container := func(name string, port int) fleet.Container {
		return rollout.Container(j.Wanted, j.Site.Node, name, rollout.Seat{Port: port, Dir: dir}, links)
	}
	id, err := w.Containers.Create(ctx, container(name, s.port))
	nothing(t, "create", err)
	t.Cleanup(func() { _ = w.Containers.Remove(context.WithoutCancel(ctx), id) })
	expect(t, "a name that is in use is refused", second(w.Containers.Create(ctx, container(name, s.port+1))) != nil)
	missing := container(name+"x", s.port+1)
	missing.Image = "registry.invalid/none@sha256:" + fmt.Sprintf("%064x", 7)
	expect(t, "an image that nobody has", errors.Is(second(w.Containers.Create(ctx, missing)), fleet.ErrNotFound))

	uid, gid, err := w.Images.User(ctx, id)
	nothing(t, "look up the user", err)
	nothing(t, "deliver", w.Files.Deliver(dir, j.Values, uid, gid))
	stale, err = w.Files.Differ(dir, j.Values)
	expect(t, "nothing differs after delivery", err == nil && len(stale) == 0)

	made, err := w.Views.Instance(ctx, id)
	nothing(t, "look at the container", err)
	wanted := fleet.Instance{Name: name, App: s.app, Service: "web", Release: "r1", Image: s.image, Shape: spec.Shape(j.Wanted.Service), State: fleet.Created, Address: s.address, Port: s.port, Dir: dir}
	got := fleet.Instance{Name: made.Name, App: made.App, Service: made.Service, Release: made.Release, Image: made.Image, Shape: made.Shape, State: made.State, Address: made.Address, Port: made.Port, Dir: made.Dir}
	expect(t, fmt.Sprintf("the labels come back: %+v", got), fmt.Sprint(got) == fmt.Sprint(wanted))
	expect(t, "the variables come back", made.Env["SVC_RELEASE"] == "r1" && len(made.Env) == 1)
	expect(t, "nothing of the spec differs", len(rollout.Differing(j.Wanted, made)) == 0)

	nothing(t, "start", w.Containers.Start(ctx, id))
	made, err = w.Views.Instance(ctx, id)
	expect(t, "it runs", err == nil && made.State == fleet.Running)
	other, err := w.Containers.Create(ctx, container(name+"y", s.port))
	nothing(t, "create another on the same port", err)
	expect(t, "its port is taken", errors.Is(w.Containers.Start(ctx, other), fleet.ErrPortTaken))
	nothing(t, "remove it", w.Containers.Remove(ctx, other))

	s.conformRegistrar(ctx, t, j, made)

	nothing(t, "stop", w.Containers.Stop(ctx, id))
	nothing(t, "stop again", w.Containers.Stop(ctx, id))
	made, err = w.Views.Instance(ctx, id)
	expect(t, "it is stopped and stays so", err == nil && made.State == fleet.Exited)
	list, err := w.Views.Instances(ctx, s.app, "web")
	expect(t, "it is listed", err == nil && len(list) == 1 && list[0].ID == id)
	nothing(t, "start it again", w.Containers.Start(ctx, id))
	nothing(t, "remove it while it runs", w.Containers.Remove(ctx, id))
	nothing(t, "remove it again", w.Containers.Remove(ctx, id))
	nothing(t, "stop what is gone", w.Containers.Stop(ctx, id))
	expect(t, "it is gone", errors.Is(second(w.Views.Instance(ctx, id)), fleet.ErrNotFound))
	nothing(t, "remove its files", w.Files.Remove(dir))
	nothing(t, "remove its files again", w.Files.Remove(dir))
}

func (s stage) conformRegistrar(ctx context.Context, t *testing.T, j apply.Job, i fleet.Instance) {
	w := s.world
	r := rollout.Registration(j.Wanted, i, j.Site.Node, 3)
	for end := time.Now().Add(time.Minute); second(w.Probe(ctx, r.Check)) != nil && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // not well at its first check, it would be registered as passing and turn critical
	}
	nothing(t, "register", w.Registrar.Register(ctx, r))
	nothing(t, "wait for it", w.Registrar.Await(ctx, r.ID, r.Name, fleet.Passing))
	all, err := w.Registrar.Registrations(ctx)
	nothing(t, "list registrations", err)
	k := slices.IndexFunc(all, func(o fleet.Registration) bool { return o.ID == r.ID })
	expect(t, "it is listed", k >= 0)
	have := all[k]
	expect(t, fmt.Sprintf("it comes back as it was told: %+v", have), have.Name == r.Name && have.Address == r.Address &&
		have.Port == r.Port && have.Check == r.Check && have.Weight == 3 && have.Health == fleet.Passing && have.Meta[fleet.MetaContainer] == i.ID)
	plan, err := rollout.Up(j.Wanted, j.Site.Node, rollout.Seen{ImageHere: true, Instances: []fleet.Instance{i}, Registrations: []fleet.Registration{have}})
	expect(t, fmt.Sprintf("nothing is left to do: %v", plan.Steps), err == nil && len(plan.Steps) == 0)
	endpoints, _, err := w.Resolve(ctx, r.Name+".service.consul")
	expect(t, fmt.Sprintf("DNS shows it: %v, %v", endpoints, err), err == nil && len(endpoints) == 1 && endpoints[0].Port == r.Port)
	nothing(t, "deregister", w.Registrar.Deregister(ctx, r.ID))
	nothing(t, "deregister again", w.Registrar.Deregister(ctx, r.ID))
	s.forgotten(ctx, t, r.Name)
	r.Health, r.Reason = fleet.Maintenance, "the node is emptied"
	for range 2 { // once more changes nothing
		nothing(t, "register in maintenance", w.Registrar.Register(ctx, r))
	}
	nothing(t, "wait for it", w.Registrar.Await(ctx, r.ID, r.Name, fleet.Maintenance))
	r.Health, r.Reason, r.Weight = "", "", 2
	nothing(t, "register with another weight", w.Registrar.Register(ctx, r))
	all, err = w.Registrar.Registrations(ctx)
	k = slices.IndexFunc(all, func(o fleet.Registration) bool { return o.ID == r.ID })
	expect(t, fmt.Sprintf("it stays in maintenance: %+v, %v", all, err), k >= 0 && all[k].Health == fleet.Maintenance && all[k].Reason == "the node is emptied" && all[k].Weight == 2)
	s.forgotten(ctx, t, r.Name)
	nothing(t, "deregister", w.Registrar.Deregister(ctx, r.ID))
}

// forgotten waits until DNS shows nothing of a service.
func (s stage) forgotten(ctx context.Context, t *testing.T, name string) {
	w := s.world
	for gone := false; !gone; {
		endpoints, _, err := w.Resolve(ctx, name+".service.consul")
		nothing(t, "ask DNS for what is gone", err)
		nothing(t, "wait for DNS to forget", ctx.Err())
		gone = len(endpoints) == 0
	}
}

func nothing(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func expect(t *testing.T, what string, ok bool) {
	t.Helper()
	if !ok {
		t.Fatalf("not so: %s", what)
	}
}

func second[T any](_ T, err error) error { return err }
