package rights

import (
	"strings"
	"testing"

	"svckit/lib/spec"
)

func app() spec.App {
	return spec.App{Name: "shop", Services: []spec.Service{{Key: "web", Name: "shop-web"}, {Key: "queue", Name: "orders"}}}
}

func TestAMemberReadsConfigAndAnOwnerWritesIt(t *testing.T) {
	member, owner := OfApp(Member, "svc", app()), OfApp(Owner, "svc", app())
	for _, row := range []struct{ name, text, rule string }{
		{"a member reads", member, `key_prefix "svc/apps/shop/" { policy = "read" }`},
		{"a member releases", member, `key_prefix "svc/apps/shop/releases/" { policy = "write" }`},
		{"a member promotes", member, `key "svc/apps/shop/current" { policy = "write" }`},
		{"an owner writes all", owner, `key_prefix "svc/apps/shop/" { policy = "write" }`},
		{"a name of its own", member, `service "orders" { policy = "write" }`},
		{"a run by hand", member, `key_prefix "svc/cron/shop/" { policy = "write" }`},
		{"what became of it", member, `key_prefix "svc/runs/shop/" { policy = "write" }`},
		{"a deploy", member, `key "svc/deploy/shop" { policy = "write" }`},
	} {
		if !strings.Contains(row.text, row.rule+"\n") {
			t.Errorf("%s: no %s in\n%s", row.name, row.rule, row.text)
		}
	}
	if strings.Contains(member, `key_prefix "svc/apps/shop/" { policy = "write" }`) {
		t.Error("a member may write config")
	}
}

func TestNoRoleMayWriteEverything(t *testing.T) {
	for _, role := range Roles() {
		text := OfDaemon(role, "svc", "node1", []string{"shop"})
		if role == Owner || role == Member {
			text = OfApp(role, "svc", app())
		}
		for _, wide := range []string{`key_prefix "" `, `key_prefix "svc/" `, "operator", "acl =", `service_prefix "" { policy = "write" }`, `node_prefix "" { policy = "write" }`} {
			if strings.Contains(text, wide) {
				t.Errorf("%s has %s:\n%s", role, wide, text)
			}
		}
		if role == DNS && strings.Contains(text, "write") {
			t.Errorf("dns may write:\n%s", text)
		}
	}
}
