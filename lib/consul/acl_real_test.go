//go:build real

package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const denyACL = `acl { enabled = true, default_policy = "deny", tokens { initial_management = "` + lab.RootToken + `", agent = "` + lab.RootToken + `" } }`

// token makes a token with one policy and returns its secret and accessor.
func token(t *testing.T, a *lab.Agent, name, rules string) (secret, accessor string) {
	t.Helper()
	policy, _ := json.Marshal(map[string]string{"Name": name, "Rules": rules})
	raw(t, a, http.MethodPut, "/v1/acl/policy", string(policy))
	var out struct{ SecretID, AccessorID string }
	text := raw(t, a, http.MethodPut, "/v1/acl/token", fmt.Sprintf(`{"Description":%q,"Policies":[{"Name":%q}]}`, "ci of "+name, name))
	if err := json.Unmarshal([]byte(text), &out); err != nil || out.SecretID == "" {
		t.Fatalf("make token: %v %s", err, text)
	}
	return out.SecretID, out.AccessorID
}

func hintOf(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

func TestWhatTheTokenMayNotDoIsSaid(t *testing.T) {
	a := lab.Consul(t, "-hcl", denyACL)
	for key, value := range map[string]string{
		"svc/shared/config/LOG": "info", "svc/apps/shop/config/X": "1", "svc/apps/shop/secrets/KEY": "s3cret", "svc/apps/other/config/X": "1",
	} {
		put(t, a, key, value)
	}
	raw(t, a, http.MethodPut, "/v1/agent/service/register", `{"Name":"shop-web","ID":"shop-web-1","Port":1}`)

	t.Run("a token with the documented rights can do everything of its app", func(t *testing.T) {
		secret, _ := token(t, a, "shop", `key_prefix "svc/" { policy = "read" }
			key_prefix "svc/apps/shop/" { policy = "write" } key_prefix "svc/locks/shop/" { policy = "write" } key_prefix "svc/audit/shop/" { policy = "write" }
			service_prefix "shop-" { policy = "write" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } agent "node1" { policy = "read" } session "node1" { policy = "write" }`)
		everything(t, connect(t, a, "svc", secret))
	})
	t.Run("without a token", func(t *testing.T) { withoutToken(t, connect(t, a, "svc", "")) })
	t.Run("hidden secrets are not taken for none", func(t *testing.T) {
		secret, _ := token(t, a, "config-only", `key_prefix "svc/shared/" { policy = "read" } key_prefix "svc/apps/shop/config/" { policy = "read" } key_prefix "svc/apps/shop/web/" { policy = "read" }`)
		c := connect(t, a, "svc", secret)
		l, err := c.Layers(t.Context(), "shop", "web")
		if err != nil || l.App["X"] != "1" || len(l.Secrets) != 0 || strings.Join(l.Skipped, "") != "svc/apps/shop/secrets/: not allowed: the Consul token hides secrets" {
			t.Errorf("%+v, %v", l, err)
		}
		if apps, err := c.Apps(t.Context()); err != nil || strings.Join(apps, " ") != "shop" {
			t.Errorf("apps %v, %v", apps, err)
		}
	})
	t.Run("hidden config is an error", func(t *testing.T) {
		secret, accessor := token(t, a, "half", `key_prefix "svc/apps/shop/" { policy = "read" }`)
		c := connect(t, a, "svc", secret)
		_, err := c.Layers(t.Context(), "shop", "web")
		if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "read svc/shared/config/: not allowed") {
			t.Errorf("%v", err)
		}
		err = c.SetCurrent(t.Context(), "shop", fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "v1", At: noon}}})
		if want := `give the token with accessor ` + accessor + ` the rule: key "svc/apps/shop/current" { policy = "write" }`; hintOf(err) != want {
			t.Errorf("%v (hint %q)", err, hintOf(err))
		}
		if _, err := c.Service(t.Context(), "shop-web"); !strings.Contains(fmt.Sprint(err), "hides services") {
			t.Errorf("hidden services: %v", err)
		}
		if _, err := c.Lock(t.Context(), "locks/shop/web", holder("ana"), 0); !strings.Contains(hintOf(err), `key "svc/locks/shop/web"`) {
			t.Errorf("lock: %v (%s)", err, hintOf(err))
		}
	})
	t.Run("an unknown token", func(t *testing.T) {
		_, err := connect(t, a, "svc", "6a1253d2-1785-24fd-91c2-f8e78c745511").Self(t.Context())
		if !strings.Contains(hintOf(err), "does not know the token") || strings.Contains(fmt.Sprint(err, hintOf(err)), "6a1253d2") {
			t.Errorf("%v (%s)", err, hintOf(err))
		}
	})
}

func everything(t *testing.T, c *Client) {
	ctx := within(t, 2*time.Minute)
	if name, err := c.Token(ctx); err != nil || name != "ci of shop" {
		t.Errorf("token %q, %v", name, err)
	}
	if _, err := c.Self(ctx); err != nil {
		t.Error(err)
	}
	l, err := c.Layers(ctx, "shop", "web")
	if err != nil || l.Secrets["KEY"] != "s3cret" || len(l.Skipped) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	r := instance("shop-web-node1-00000001", ttl(time.Minute))
	lock, err := c.Lock(ctx, "locks/shop/web", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		c.PutRelease(ctx, sampleRelease("v1")),
		c.SetCurrent(ctx, "shop", fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "v1", At: noon}}}),
		c.Record(ctx, fleet.Audit{App: "shop", At: noon}),
		c.Register(ctx, r), c.Await(ctx, r.ID, r.Name, fleet.Passing),
		c.Maintain(ctx, r.ID, true, "x"), c.Deregister(ctx, r.ID), c.Await(ctx, r.ID, r.Name, ""),
		lock.Release(ctx),
	); err != nil {
		t.Error(err)
	}
	r.Name = "foreign-web"
	if err := c.Register(ctx, r); !strings.Contains(hintOf(err), `the rule: service "foreign-web" { policy = "write" }`) {
		t.Errorf("%v (%s)", err, hintOf(err))
	}
}

func withoutToken(t *testing.T, c *Client) {
	ctx := t.Context()
	_, err := c.Layers(ctx, "shop", "web")
	if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("config: %v", err)
	}
	if _, err := c.Apps(ctx); !strings.Contains(fmt.Sprint(err), "not allowed") {
		t.Errorf("apps: %v", err)
	}
	if _, err := c.Service(ctx, "shop-web"); !strings.Contains(fmt.Sprint(err), "not allowed") {
		t.Errorf("service: %v", err)
	}
	if _, err := c.Self(ctx); !strings.Contains(hintOf(err), `give a token (CONSUL_HTTP_TOKEN_FILE; none was given) the rule: agent "node1" { policy = "read" }`) {
		t.Errorf("self: %v (%s)", err, hintOf(err))
	}
}

// An agent that does not enforce ACLs itself takes a registration with 200 and its servers refuse it: nothing but the catalog tells.
func TestARegistrationThatTheServersRefuseIsDetected(t *testing.T) {
	server := lab.Consul(t, "-hcl", denyACL)
	secret, _ := token(t, server, "reader", `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)
	agent := lab.Consul(t, "-node=node2", "-server=false", "-data-dir="+t.TempDir(), "-retry-join="+server.Serf, "-hcl", `acl { enabled = false, tokens { default = "`+secret+`" } }`)
	c := connect(t, agent, "svc", secret)
	r := instance("shop-web-node2-00000001", ttl(time.Minute))
	if err := c.Register(t.Context(), r); err != nil {
		t.Fatalf("the agent refuses it by itself: %v", err)
	}
	err := c.Await(within(t, 2*time.Second), r.ID, r.Name, fleet.Passing)
	if fault.KindOf(err) != fault.Timeout || !strings.Contains(err.Error(), "the agent has it and the servers do not") || !strings.Contains(hintOf(err), "service \"shop-web\"") {
		t.Errorf("%v (%s)", err, hintOf(err))
	}
}
