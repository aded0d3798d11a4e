//go:build real

package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func instance(id string, check fleet.Check) fleet.Registration {
	return fleet.Registration{
		ID: id, Name: "shop-web", Node: "node1", Address: "127.0.0.1", Port: 8000, Weight: 3, Tags: []string{"v1", "v2"},
		Meta: map[string]string{
			fleet.MetaOwner: "1", fleet.MetaApp: "shop", fleet.MetaService: "web", fleet.MetaRelease: "r1",
			fleet.MetaWorkers: "3", fleet.MetaNode: "node1",
		},
		Check: check,
	}
}

func cleanUp(t *testing.T, c *Client, id string) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Deregister(context.Background(), id); err != nil { // the test's own context has ended
			t.Error(err)
		}
	})
}

func ttl(d time.Duration) fleet.Check { return fleet.Check{Type: "ttl", Interval: d} }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestRegistrationsAgainstARealAgent(t *testing.T) {
	a := lab.Consul(t, "-node-meta=zone:north")
	c := connect(t, a, "svc", "")
	t.Run("an instance is found as it was registered, until it is deregistered", func(t *testing.T) { registerAndFind(t, a, c) })
	t.Run("each type of check is run by the agent", func(t *testing.T) { checkTypes(t, c) })
	t.Run("maintenance hides an instance and says why", func(t *testing.T) { maintenance(t, c) })
	t.Run("a ttl check says what it is told", func(t *testing.T) { ttlCheck(t, c) })
	t.Run("the same ID inherits maintenance and state", func(t *testing.T) { sameID(t, c) })
	t.Run("a check of another type replaces the old one", func(t *testing.T) { otherCheck(t, c) })
	t.Run("malformed and foreign registrations are left out", func(t *testing.T) { leftOut(t, a, c) })
	t.Run("waiting says what was seen last", func(t *testing.T) { awaitEnds(t, c) })
}

func registerAndFind(t *testing.T, a *lab.Agent, c *Client) {
	ctx := within(t, 2*time.Minute)
	want := instance("shop-web-node1-00000001", ttl(time.Minute))
	began := time.Now()
	if err := errors.Join(c.Register(ctx, want), c.Await(ctx, want.ID, want.Name, fleet.Passing)); err != nil {
		t.Fatal(err)
	}
	t.Logf("registered and shown as passing after %s", time.Since(began).Round(time.Millisecond))
	want.Meta[fleet.MetaCheck], want.Health = "ttl 1m0s 0s", fleet.Passing
	want.Output = "registered"
	local, err := c.Registrations(ctx)
	if err != nil || len(local) != 1 || !reflect.DeepEqual(local[0], want) {
		t.Errorf("local %+v, %v\nwant  %+v", local, err, want)
	}
	want.Meta[fleet.MetaZone] = "north" // of the node
	want.Output = ""                    // a change of the output alone reaches the servers minutes later
	catalog, err := c.Service(ctx, "shop-web")
	if err != nil || len(catalog) != 1 || !reflect.DeepEqual(catalog[0], want) {
		t.Errorf("catalog %+v, %v\nwant    %+v", catalog, err, want)
	}
	if text := raw(t, a, http.MethodGet, "/v1/agent/service/"+want.ID, ""); !strings.Contains(text, `"EnableTagOverride": false`) || !strings.Contains(text, `"Passing": 3`) {
		t.Errorf("agent has %s", text)
	}
	if err := errors.Join(c.Deregister(ctx, want.ID), c.Await(ctx, want.ID, want.Name, ""), c.Deregister(ctx, want.ID)); err != nil {
		t.Error(err)
	}
	if local, err := c.Registrations(ctx); err != nil || len(local) != 0 {
		t.Errorf("still there: %+v, %v", local, err)
	}
}

func checkTypes(t *testing.T, c *Client) {
	ctx := within(t, 2*time.Minute)
	var sick atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte("I am \x1b[31mhere"))
	}))
	defer web.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, state := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	state.SetServingStatus("cart", healthpb.HealthCheckResponse_SERVING)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	each := func(kind, target string) fleet.Check {
		return fleet.Check{Type: kind, Target: target, Interval: time.Second, Timeout: 10 * time.Second}
	}
	list := []fleet.Registration{
		instance("shop-web-node1-000000h1", each("http", web.URL+"/healthz")),
		instance("shop-web-node1-000000t1", each("tcp", strings.TrimPrefix(web.URL, "http://"))),
		instance("shop-web-node1-000000g1", each("grpc", listener.Addr().String()+"/cart")),
		instance("shop-web-node1-000000n1", fleet.Check{}),
	}
	for _, r := range list {
		if err := errors.Join(c.Register(ctx, r), c.Await(ctx, r.ID, r.Name, fleet.Passing)); err != nil {
			t.Fatal(err)
		}
		cleanUp(t, c, r.ID)
	}
	sick.Store(true)
	state.SetServingStatus("cart", healthpb.HealthCheckResponse_NOT_SERVING)
	for _, i := range []int{0, 2} {
		if err := c.Await(ctx, list[i].ID, list[i].Name, fleet.Critical); err != nil {
			t.Error(err)
		}
	}
	local, err := c.Registrations(ctx)
	if err != nil || len(local) != 4 {
		t.Fatalf("%+v, %v", local, err)
	}
	for _, r := range local {
		switch r.ID[len(r.ID)-2:] {
		case "h1":
			if r.Health != fleet.Critical || !strings.Contains(r.Output, "503 Service Unavailable Output: I am  [31mhere") || r.Check != list[0].Check {
				t.Errorf("http: %+v", r)
			}
		case "t1", "n1":
			if r.Health != fleet.Passing {
				t.Errorf("%+v", r)
			}
		case "g1":
			if r.Health != fleet.Critical || !strings.Contains(r.Output, "NOT_SERVING") || r.Check != list[2].Check {
				t.Errorf("grpc: %+v", r)
			}
		}
	}
}

func maintenance(t *testing.T, c *Client) {
	ctx := within(t, 2*time.Minute)
	r := instance("shop-web-node1-00000002", ttl(time.Minute))
	if err := errors.Join(c.Register(ctx, r), c.Maintain(ctx, r.ID, true, "reload of\nuwsgi"), c.Await(ctx, r.ID, r.Name, fleet.Maintenance)); err != nil {
		t.Fatal(err)
	}
	cleanUp(t, c, r.ID)
	local, err := c.Registrations(ctx)
	if err != nil || len(local) != 1 || local[0].Health != fleet.Maintenance || local[0].Reason != "reload of uwsgi" {
		t.Errorf("%+v, %v", local, err)
	}
	if err := errors.Join(c.Maintain(ctx, r.ID, false, ""), c.Await(ctx, r.ID, r.Name, fleet.Passing)); err != nil {
		t.Error(err)
	}
	if err := c.Maintain(ctx, "nobody", true, "x"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("unknown instance: %v", err)
	}
}

func ttlCheck(t *testing.T, c *Client) {
	ctx := within(t, 2*time.Minute)
	r := instance("shop-web-node1-00000003", ttl(time.Minute))
	if err := errors.Join(c.Register(ctx, r), c.UpdateTTL(ctx, r.ID, fleet.Warning, "queue is long"), c.Await(ctx, r.ID, r.Name, fleet.Warning)); err != nil {
		t.Fatal(err)
	}
	cleanUp(t, c, r.ID)
	local, err := c.Registrations(ctx)
	if err != nil || len(local) != 1 || local[0].Output != "queue is long" {
		t.Errorf("%+v, %v", local, err)
	}
	if err := c.UpdateTTL(ctx, "nobody", fleet.Passing, ""); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("unknown instance: %v", err)
	}
}

// sameID pins the facts because of which every container gets an ID of its own.
func sameID(t *testing.T, c *Client) {
	ctx := within(t, 2*time.Minute)
	r := instance("shop-web-node1-00000004", ttl(time.Minute))
	cleanUp(t, c, r.ID)
	if err := errors.Join(c.Register(ctx, r), c.UpdateTTL(ctx, r.ID, fleet.Critical, "broken"), c.Register(ctx, r)); err != nil {
		t.Fatal(err)
	}
	local, err := c.Registrations(ctx)
	if err != nil || len(local) != 1 {
		t.Fatal(local, err)
	}
	if local[0].Health != fleet.Critical || local[0].Output != "broken" {
		t.Errorf("a new registration as passing no longer inherits the old state: %+v", local[0])
	}
	if err := errors.Join(c.UpdateTTL(ctx, r.ID, fleet.Passing, ""), c.Maintain(ctx, r.ID, true, "old reason"), c.Register(ctx, r)); err != nil {
		t.Fatal(err)
	}
	local, err = c.Registrations(ctx)
	if err != nil || len(local) != 1 || local[0].Health != fleet.Maintenance || local[0].Reason != "old reason" {
		t.Errorf("a change of the registration ended the maintenance: %+v, %v", local, err)
	}
}

// otherCheck would see the state go back and forth if the agent still ran the old check.
func otherCheck(t *testing.T, c *Client) {
	ctx := within(t, 2*time.Minute)
	var asked, connected atomic.Int32
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connected.Add(1)
		}
	}
	web.Start()
	defer web.Close()
	r := instance("shop-web-node1-00000007", fleet.Check{Type: "http", Target: web.URL, Interval: time.Second, Timeout: 10 * time.Second})
	cleanUp(t, c, r.ID)
	if err := errors.Join(c.Register(ctx, r), c.Await(ctx, r.ID, r.Name, fleet.Critical)); err != nil {
		t.Fatal(err)
	}
	r.Check = fleet.Check{Type: "tcp", Target: strings.TrimPrefix(web.URL, "http://"), Interval: time.Second, Timeout: 10 * time.Second}
	if err := errors.Join(c.Register(ctx, r), c.Await(ctx, r.ID, r.Name, fleet.Passing)); err != nil {
		t.Fatal(err)
	}
	before, runs := asked.Load(), connected.Load()+5
	eventually(t, time.Minute, func() error { // the new check runs
		local, err := c.Registrations(ctx)
		if err == nil && (len(local) != 1 || !strings.Contains(local[0].Output, "Success") || local[0].Check != r.Check || connected.Load() < runs) {
			err = fmt.Errorf("%+v", local)
		}
		return err
	})
	if after := asked.Load(); after > before+1 { // one may have been under way
		t.Errorf("the old check asked %d times more", after-before)
	}
	r.Check = fleet.Check{}
	if err := errors.Join(c.Register(ctx, r), c.Await(ctx, r.ID, r.Name, fleet.Passing)); err != nil {
		t.Fatal(err)
	}
	if local, err := c.Registrations(ctx); err != nil || len(local) != 1 || local[0].Check != r.Check || local[0].Output != "" {
		t.Errorf("without a check: %+v, %v", local, err)
	}
}

func leftOut(t *testing.T, a *lab.Agent, c *Client) {
	for _, body := range []string{
		`{"ID":"foreign","Name":"foreign","Port":1}`,
		`{"ID":"no app","Name":"x","Meta":{"svckit":"1"}}`,
		`{"ID":"ours-without-app","Name":"x","Meta":{"svckit":"1","service":"web"}}`,
		`{"ID":"bad.name","Name":"a.b","Meta":{"svckit":"1","app":"shop","service":"web"}}`,
	} {
		raw(t, a, http.MethodPut, "/v1/agent/service/register", body)
	}
	r := instance("shop-web-node1-00000005", fleet.Check{})
	if err := c.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	cleanUp(t, c, r.ID)
	local, err := c.Registrations(t.Context())
	if err != nil || len(local) != 1 || local[0].ID != r.ID {
		t.Errorf("%+v, %v", local, err)
	}
	if none, err := c.Service(t.Context(), "nobody"); err != nil || len(none) != 0 {
		t.Errorf("unknown service: %v, %v", none, err)
	}
	eventually(t, time.Minute, func() error {
		foreign, err := c.Service(t.Context(), "foreign")
		if err == nil && (len(foreign) != 1 || foreign[0].Address != "127.0.0.1" || foreign[0].Weight != 1) {
			err = errors.New("not in the catalog as expected")
		}
		return err
	})
}

func awaitEnds(t *testing.T, c *Client) {
	r := instance("shop-web-node1-00000006", ttl(time.Minute))
	if err := errors.Join(c.Register(t.Context(), r), c.UpdateTTL(t.Context(), r.ID, fleet.Critical, "no database"), c.Await(within(t, time.Minute), r.ID, r.Name, fleet.Critical)); err != nil {
		t.Fatal(err)
	}
	cleanUp(t, c, r.ID)
	err := c.Await(within(t, 3*time.Second), r.ID, r.Name, fleet.Passing)
	if fault.KindOf(err) != fault.Timeout || err.Error() != "wait for "+r.ID+" in Consul: it is critical, not passing: no database" {
		t.Errorf("%v", err)
	}
	err = c.Await(within(t, 300*time.Millisecond), "nobody", r.Name, fleet.Passing)
	if fault.KindOf(err) != fault.Timeout || !strings.Contains(err.Error(), "neither the agent nor the catalog has it") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Await(ctx, r.ID, r.Name, fleet.Passing); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestARegistrationSurvivesARestartOfTheAgent(t *testing.T) {
	a := lab.Consul(t, "-data-dir="+t.TempDir())
	c := connect(t, a, "svc", "")
	ctx := within(t, 2*time.Minute)
	r := instance("shop-web-node1-00000001", ttl(time.Minute))
	if err := errors.Join(c.Register(ctx, r), c.Await(ctx, r.ID, r.Name, fleet.Passing)); err != nil {
		t.Fatal(err)
	}
	a.Kill()
	waited := make(chan error, 1) // over the outage
	go func() { waited <- c.Await(ctx, r.ID, r.Name, "") }()
	a.Start(t)
	if err := c.Await(ctx, r.ID, r.Name, fleet.Passing); err != nil {
		t.Fatal(err)
	}
	if err := c.Deregister(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("a watch that began during the outage: %v", err)
	}
}
