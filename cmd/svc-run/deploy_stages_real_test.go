//go:build real

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lab/load"
	"svckit/lib/consul"
	"svckit/lib/deploy"
)

// in is the part of a fleet that is in one datacenter.
func (f *deployFleet) in(dc string) *deployFleet {
	f.t.Helper()
	part := *f.Fleet
	part.Hosts = slices.DeleteFunc(slices.Clone(f.Hosts), func(h *lab.Host) bool { return h.DC() != dc })
	client, err := consul.OpenAt(part.Hosts[0].Addr()+":8500", "svc", hclog.NewNullLogger())
	if err != nil {
		f.t.Fatal(err)
	}
	return &deployFleet{Fleet: &part, t: f.t, consul: client, app: f.app}
}

func TestAReleaseGoesFromOneDatacenterToTheNextOnceItIsStable(t *testing.T) {
	f := newDeployFleet(t, lab.Datacenter{Name: "dev", Hosts: 1}, lab.Datacenter{Name: "beta", Hosts: 1})
	dev, beta := f.in("dev"), f.in("beta")
	// Deploys begin on the day after tomorrow only.
	day := strings.ToLower(time.Now().UTC().AddDate(0, 0, 2).Weekday().String()[:3])
	dev.release("r1", "good", strings.Replace(fleetSpec, "batch: 50%%", fmt.Sprintf(`batch: 1, window: [{days: [%s], from: "10:00", to: "11:00"}]`, day), 1))

	outside := dev.must(17, "deploy", "begin", f.app, "--release", "r1", "--nodes", dev.Hosts[0].Name())
	if !strings.Contains(outside.stderr, day+" from 10:00 to 11:00 UTC") || !strings.Contains(outside.stderr, "--override") {
		t.Errorf("said %s", outside.stderr)
	}
	early := beta.must(17, "deploy", "begin", f.app, "--release", "r1", "--from", "dev", "--nodes", beta.Hosts[0].Name(), "--override", "no")
	if !strings.Contains(early.stderr, "not stable in dev") {
		t.Errorf("said %s", early.stderr)
	}
	beta.must(12, "deploy", "begin", f.app, "--release", "r1", "--from", "nowhere", "--nodes", beta.Hosts[0].Name())

	dev.play(0, "--release", "r1", "--nodes", dev.Hosts[0].Name(), "--override", "the campaign begins tonight")
	if said := dev.must(0, "audit", f.app).stdout; !strings.Contains(said, "deploy begin") {
		t.Errorf("journal:\n%s", said)
	}
	if said := dev.must(0, "audit", f.app, "--json").stdout; !strings.Contains(said, "the campaign begins tonight") {
		t.Errorf("the journal does not have the reason:\n%s", said)
	}
	beta.play(0, "--release", "r1", "--from", "dev", "--nodes", beta.Hosts[0].Name(), "--override", "as in dev")
	there, err := dev.consul.Release(t.Context(), f.app, "r1")
	if err != nil {
		t.Fatal(err)
	}
	here, err := beta.consul.Release(t.Context(), f.app, "r1")
	if err != nil || here.Image != there.Image || here.Stable == nil || here.Spec != there.Spec {
		t.Errorf("%v, %+v", err, here)
	}
	if got := beta.runs(); got != "r1 passing" {
		t.Error(got)
	}
}

const fixedSpec = `
app: %s
build: {image: %s}
deploy: {batch: 100%%, canary: 0}
services:
  web:
    port: 8000
    publish: 8000
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 10s, drain: 500ms}
`

func TestWhatStopsBeforeItStartsIsNeverChangedEverywhereAtOnce(t *testing.T) {
	f := newDeployFleet(t, lab.Datacenter{Hosts: 3})
	var names []string
	for _, h := range f.Hosts {
		names = append(names, h.Name())
	}
	f.release("r1", "good", fixedSpec)
	f.release("r2", "good", fixedSpec)
	f.play(0, "--release", "r1", "--nodes", strings.Join(names, ","))
	plan := decode[deployView](t, f.must(0, "deploy", "begin", f.app, "--release", "r2", "--dry-run", "--json").stdout)
	if len(plan.Batches) != 2 || len(plan.Batches[0]) != 2 || plan.Floor != 1 || len(plan.Notes) == 0 || !plan.DryRun {
		t.Errorf("planned %q above %d, %q", plan.Batches, plan.Floor, plan.Notes)
	}
	if st := f.deployment(); st.Release != "r1" {
		t.Errorf("a dry run began a deploy of %s", st.Release)
	}
	var clients []*http.Client
	for _, h := range f.Hosts[:2] {
		clients = append(clients, load.PlainClient(h.DNS(), false))
	}
	l := load.StartAt(load.Steady, "http://"+f.app+"-web.service.consul:8000/", clients...)
	t.Cleanup(l.Stop)
	_, end := f.play(0, "--release", "r2")
	f.noLoss(l)
	if v := decode[deployView](t, end.stdout); v.Result != deploy.Stable {
		t.Errorf("%s", v.Result)
	}
	if got := f.runs(); got != "r2 passing, r2 passing, r2 passing" {
		t.Error(got)
	}
}
