//go:build real

package consul

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"svckit/lab"
)

// heard is what a follower tells, one word each.
type heard chan string

func (h heard) tell(app string, err error) {
	if err != nil {
		h <- "error " + app
		return
	}
	h <- "look " + app
}

// expect takes words until the wanted one comes.
func (h heard) expect(t *testing.T, want, after string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case got := <-h:
			if got == want {
				return
			}
		case <-limit:
			t.Fatalf("%s: never told %q", after, want)
		}
	}
}

// both takes words until two came, in whatever order: two queries answer when they do.
func (h heard) both(t *testing.T, one, other, after string) {
	t.Helper()
	missing := map[string]bool{one: true, other: true}
	limit := time.After(20 * time.Second)
	for len(missing) > 0 {
		select {
		case got := <-h:
			delete(missing, got)
		case <-limit:
			t.Fatalf("%s: never told %v", after, slices.Sorted(maps.Keys(missing)))
		}
	}
}

// quiet takes what is told already and then expects nothing more for a moment that is long beside a query.
func (h heard) quiet(t *testing.T, after string) {
	t.Helper()
	select {
	case got := <-h:
		t.Errorf("%s: told %q", after, got)
	case <-time.After(300 * time.Millisecond):
	}
}

func TestEveryChangeBelowAFollowedAppIsTold(t *testing.T) {
	a := lab.Consul(t, "-dev=false", "-server", "-bootstrap-expect=1", "-data-dir="+t.TempDir(), "-hcl", "performance { raft_multiplier = 1 }")
	c := connect(t, a, "svc", "")
	put(t, a, "svc/shared/config/A", "1")
	put(t, a, "svc/apps/shop/config/A", "1")
	put(t, a, "svc/apps/blog/config/A", "1")
	ctx, stop := context.WithCancel(t.Context())
	h := make(heard, 1000)
	f := c.FollowKeys(ctx, h.tell)
	h.expect(t, "look ", "at the start")
	f.Apps([]string{"shop", "Not an app"})
	h.expect(t, "look shop", "an app that came")
	for n, step := range []struct{ method, key, want string }{
		{http.MethodPut, "apps/shop/config/A", "look shop"},
		{http.MethodPut, "apps/shop/config/B", "look shop"},
		{http.MethodPut, "apps/shop/web/config/A", "look shop"},
		{http.MethodPut, "apps/shop/secrets/KEY", "look shop"},
		{http.MethodDelete, "apps/shop/secrets/KEY", "look shop"},
		{http.MethodPut, "shared/config/B", "look "},
		{http.MethodDelete, "shared/config/B", "look "},
	} {
		raw(t, a, step.method, "/v1/kv/svc/"+step.key, fmt.Sprint("value ", n))
		h.expect(t, step.want, step.method+" "+step.key)
		h.quiet(t, step.method+" "+step.key)
	}
	put(t, a, "svc/apps/blog/config/A", "2")
	h.quiet(t, "a change of an app that is not followed")
	f.Apps([]string{"blog"})
	h.expect(t, "look blog", "an app that came")
	put(t, a, "svc/apps/shop/config/A", "3")
	h.quiet(t, "a change of an app that went")

	a.Kill()
	h.expect(t, "error blog", "the agent is killed")
	a.Start(t)
	h.expect(t, "look blog", "the agent is back")
	put(t, a, "svc/apps/blog/config/A", "4")
	h.expect(t, "look blog", "a change after that")

	stop()
	f.Wait()
	f.Apps([]string{"shop"})
	f.Wait()
}

func TestManyAppsAreFollowedWithFewConnections(t *testing.T) {
	a := lab.Consul(t)
	c := connect(t, a, "svc", "")
	ctx, stop := context.WithCancel(t.Context())
	h := make(heard, 1000)
	f := c.FollowKeys(ctx, h.tell)
	var apps []string
	for n := range 300 {
		apps = append(apps, fmt.Sprintf("app%d", n))
	}
	f.Apps(apps)
	f.mu.Lock()
	if len(f.trees) != 2 {
		t.Errorf("%d queries for 300 apps, want 2", len(f.trees))
	}
	f.mu.Unlock()
	h.expect(t, "look ", "at the start")
	h.expect(t, "look ", "of all apps")
	put(t, a, "svc/apps/app7/secrets/KEY", "x")
	h.expect(t, "look ", "a change of one of them")
	stop()
	f.Wait()
}

func TestATokenWithTheReadRightsOfItsAppCanFollowIt(t *testing.T) {
	a := lab.Consul(t, "-hcl", denyACL)
	for _, key := range []string{"shared/config/A", "apps/shop/config/A", "apps/shop/secrets/KEY", "apps/blog/config/A"} {
		put(t, a, "svc/"+key, "1")
	}
	secret, _ := token(t, a, "shop", `key_prefix "svc/shared/" { policy = "read" } key_prefix "svc/apps/shop/" { policy = "read" }`)
	c := connect(t, a, "svc", secret)
	ctx, stop := context.WithCancel(t.Context())
	h := make(heard, 1000)
	f := c.FollowKeys(ctx, h.tell)
	f.Apps([]string{"shop"})
	h.both(t, "look ", "look shop", "at the start")
	h.quiet(t, "at the start")
	put(t, a, "svc/apps/shop/secrets/KEY", "2")
	h.expect(t, "look shop", "a secret changed")
	put(t, a, "svc/shared/config/A", "2")
	h.expect(t, "look ", "a shared key changed")
	stop()
	f.Wait()

	ctx, stop = context.WithCancel(t.Context())
	wrong := connect(t, a, "svc", "5f5e1f3c-0000-4000-8000-00000000dead")
	h = make(heard, 1000)
	f = wrong.FollowKeys(ctx, h.tell)
	h.expect(t, "error ", "a token that the cluster does not know")
	stop()
	f.Wait()
}
