//go:build real

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/cron"
	"svckit/lib/docker"
	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/rights"
	"svckit/lib/scale"
)

// cronNode is a daemon with a token of its own, and a cron service whose keys lie
// below a prefix of its own. So many of them live beside each other on one agent.
type cronNode struct {
	name string // of the service
	root *consul.Client
	p    *program
}

const rightsApp = "clock"

// newCronNode starts a daemon with rights that rules makes for a prefix. The tick of the
// minute before is there to be begun.
func newCronNode(t *testing.T, a *lab.Agent, image string, rules func(prefix string) []string) *cronNode {
	t.Helper()
	n := &cronNode{name: rightsApp + "/tick"}
	prefix := fmt.Sprintf("svc%06x", rand.Uint32()&0xffffff) // the prefix is in labels, too: others' containers are not ours
	var err error
	if n.root, err = consul.Open(prefix, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	appOfImage(t, n.root, image, rightsApp, "tick", "    kind: cron\n    schedule: \"* * * * *\"\n    cron: {timeout: 1m}\n    config: {env: [JOB_SLEEP]}\n")
	cur, err := n.root.Current(t.Context(), rightsApp)
	if err == nil {
		now := cur.Services["tick"]
		now.At = now.At.Add(-2 * time.Minute)
		cur.Services["tick"] = now
		err = n.root.SetCurrent(t.Context(), rightsApp, cur)
	}
	if err != nil {
		t.Fatal(err)
	}
	// What cannot be read is only noticed where something is there.
	err = n.root.Freeze(t.Context(), "elsewhere", scale.Freeze{Mode: scale.Observe, Who: "test", Why: "test"})
	if err == nil {
		err = n.root.SetPool(t.Context(), planner.Membership{Pool: place.Pool{Name: "elsewhere"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	var none any
	asRootText(t, a, "/v1/kv/"+prefix+"/shared/config/JOB_SLEEP", "10ms", &none)
	env := []string{
		"CONSUL_HTTP_TOKEN=", "CONSUL_HTTP_TOKEN_FILE=" + granted(t, a, rules(prefix)), "SVC_CONFIG=", "SVC_PREFIX=" + prefix, "NOTIFY_SOCKET=",
		"SVC_RUN_DIR=" + lab.RunDir(t), "SVC_STATE_DIR=" + t.TempDir(), "SVC_CODE_DIR=" + t.TempDir(), "SVC_PORTS=" + lab.PortRange(t),
	}
	n.p = start(t, env, "node", "--listen", fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0]))
	return n
}

// done is nil when a run of the service ended well and is recorded.
func (n *cronNode) done(t *testing.T) error {
	runs, err := n.root.Runs(t.Context(), n.name)
	if err == nil && !slices.ContainsFunc(runs, func(r cron.Run) bool { return r.Result == cron.Done }) {
		err = fmt.Errorf("runs %+v; it says:\n%s", runs, n.p.says())
	}
	return err
}

// refused are the lines about something that it may not do, of cron services alone or of all.
func (n *cronNode) refused(of string) (out []string) {
	for line := range strings.Lines(n.p.says()) {
		if strings.Contains(line, of) && (strings.Contains(line, "ermission denied") || strings.Contains(line, "not allowed")) {
			out = append(out, line)
		}
	}
	return out
}

// Cron services run with exactly the rights of their book; without any one of them
// none is run, or its end is not recorded, and the log says which right is missing. With
// what acl.md and `svc-run acl node` give a node there is no complaint at all.
func TestCronServicesNeedTheRightsOfTheirBook(t *testing.T) {
	a := lab.Consul(t, "-hcl", `acl { enabled = true, default_policy = "deny", tokens { initial_management = "`+lab.RootToken+`", agent = "`+lab.RootToken+`" } }`)
	for name, value := range map[string]string{"CONSUL_HTTP_ADDR": a.URL(), "CONSUL_HTTP_TOKEN": lab.RootToken, "DOCKER_HOST": lab.DockerHost(t)} {
		t.Setenv(name, value)
	}
	image := lab.AppImage(t, lab.Registry(t), rightsApp, "r1", "job")
	t.Cleanup(func() { removeAll(t, rightsApp) })
	book := func(file, after string) func(prefix string) []string {
		return func(prefix string) []string { return rulesOf(t, file, after, rightsApp, a.Node, prefix) }
	}
	whole := map[string]*cronNode{
		"cron.md": newCronNode(t, a, image, book("cron.md", "## In Consul")),
		"acl.md": newCronNode(t, a, image, func(prefix string) []string {
			return append(book("acl.md", "## scaled node")(prefix), book("acl.md", "### Cron services")(prefix)...)
		}),
		"svc-run acl node": newCronNode(t, a, image, func(prefix string) []string {
			return strings.Split(rights.OfDaemon(rights.Node, prefix, a.Node, []string{rightsApp}), "\n")
		}),
	}
	less := map[string]*cronNode{}
	for k, rule := range book("cron.md", "## In Consul")("svc") {
		less[rule] = newCronNode(t, a, image, func(prefix string) []string {
			all := book("cron.md", "## In Consul")(prefix)
			return slices.Delete(all, k, k+1)
		})
	}
	for from, n := range whole {
		soon(t, 5*time.Minute, "a run with the rights of "+from, func() error { return n.done(t) })
		of := ""
		if from == "cron.md" { // all else that a node does needs more
			of = "scaled.cron"
		}
		n.p.end(t)
		if refused := n.refused(of); len(refused) > 0 {
			t.Errorf("with the rights of %s it may not\n%s", from, strings.Join(refused, ""))
		}
	}
	for rule, n := range less {
		var said []string
		soon(t, 5*time.Minute, "it says what it may not do without "+rule, func() error {
			select {
			case <-n.p.done: // a node that does not know itself does not stay
				said = n.refused("")
			default:
				said = n.refused("scaled.cron")
			}
			if len(said) == 0 {
				return errors.New(n.p.says())
			}
			return nil
		})
		if err := n.done(t); err == nil {
			t.Errorf("without %s a run was done and recorded", rule)
		}
		t.Logf("without %s: %s", rule, said[0])
	}
}

// removeAll removes the containers of an app, whatever prefix they are of.
func removeAll(t *testing.T, app string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	engine, err := docker.Open(ctx, hclog.NewNullLogger())
	if err != nil {
		t.Error(err)
		return
	}
	defer engine.Close()
	list, err := engine.Instances(ctx, app, "")
	for _, i := range list {
		err = errors.Join(err, engine.Remove(ctx, i.ID))
	}
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		t.Error(err)
	}
}
