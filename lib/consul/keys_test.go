package consul

import (
	"strings"
	"testing"

	"svckit/lib/fault"
)

func TestKeysAreTheOnesOfTheDesign(t *testing.T) {
	k, err := newKeys("/team/svc/")
	if err != nil {
		t.Fatal(err)
	}
	must := func(key string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for want, got := range map[string]string{
		"team/svc/shared/config/":             k.shared(),
		"team/svc/apps/shop/config/":          must(k.config("shop")),
		"team/svc/apps/shop/web/config/":      must(k.serviceConfig("shop", "web")),
		"team/svc/apps/shop/secrets/":         must(k.secrets("shop")),
		"team/svc/apps/shop/releases/v1.2-rc": must(k.release("shop", "v1.2-rc")),
		"team/svc/apps/shop/current":          must(k.current("shop")),
		"team/svc/audit/shop/":                must(k.audit("shop")),
		"team/svc/locks/shop/web/node1.lan":   must(k.lock("locks/shop/web/node1.lan")),
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}

func TestNoKeyIsMadeOfABadName(t *testing.T) {
	k, _ := newKeys("svc")
	for _, name := range []string{"", "..", ".", "a/b", "/a", "a//b", " a", "a ", "A", "1a", "a\n", "a?recurse", "ä", "a" + strings.Repeat("b", 40)} {
		if _, err := k.config(name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("app %q: %v, want invalid", name, err)
		}
		if _, err := k.serviceConfig("shop", name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("service %q: %v, want invalid", name, err)
		}
	}
	for _, name := range []string{"config", "secrets", "releases", "current"} {
		if _, err := k.serviceConfig("shop", name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("service %q would share keys with the app: %v", name, err)
		}
	}
	for _, name := range []string{"", "..", ".hidden", "-x", "a/b", "a b", strings.Repeat("a", 129)} {
		if _, err := k.release("shop", name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("release %q: %v, want invalid", name, err)
		}
	}
	for _, path := range []string{"", "/locks/a", "locks//a", "locks/a/", "locks/../apps", "locks/ a", strings.Repeat("a/", 300) + "a"} {
		if _, err := k.lock(path); fault.KindOf(err) != fault.Invalid {
			t.Errorf("lock %q: %v, want invalid", path, err)
		}
	}
	for _, prefix := range []string{"", "/", "a//b", "..", "svc/..", "s vc", "svc\n"} {
		if _, err := newKeys(prefix); fault.KindOf(err) != fault.Usage {
			t.Errorf("prefix %q: %v, want a usage error", prefix, err)
		}
	}
}
