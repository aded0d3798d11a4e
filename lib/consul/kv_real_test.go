//go:build real

package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestMain(m *testing.M) {
	if key := os.Getenv("SVCKIT_TEST_HOLD_LOCK"); key != "" {
		holdForEver(key)
	}
	os.Exit(m.Run())
}

// connect opens a client for an agent; the token may be empty.
func connect(t *testing.T, a *lab.Agent, prefix, token string) *Client {
	t.Helper()
	t.Setenv("CONSUL_HTTP_ADDR", a.URL())
	t.Setenv("CONSUL_HTTP_TOKEN", token)
	c, err := Open(prefix, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw speaks to the API as somebody else would.
func raw(t *testing.T, a *lab.Agent, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", lab.RootToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound {
		t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
	return string(text)
}

func put(t *testing.T, a *lab.Agent, key, value string) {
	t.Helper()
	raw(t, a, http.MethodPut, "/v1/kv/"+key, value)
}

// eventually polls until f says nil.
func eventually(t *testing.T, limit time.Duration, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestKeysAgainstARealAgent(t *testing.T) {
	a := lab.Consul(t, "-node-meta=zone:north")
	c := connect(t, a, "svc", "")
	ctx := t.Context()

	t.Run("the agent tells about itself", func(t *testing.T) {
		got, err := c.Self(ctx)
		want := fleet.Agent{
			Node: "node1", Datacenter: "dc1", Address: "127.0.0.1", Version: got.Version, Server: true,
			Meta: got.Meta, DNS: a.DNS, Domain: "consul",
		}
		if err != nil || !reflect.DeepEqual(got, want) || !strings.HasPrefix(got.Version, "1.") || got.Meta["zone"] != "north" {
			t.Errorf("%+v, %v", got, err)
		}
		if name, err := c.Token(ctx); name != "" || err != nil {
			t.Errorf("token without ACLs: %q, %v", name, err)
		}
	})
	t.Run("config layers with poison among them", func(t *testing.T) { layersWithPoison(t, a, c) })
	t.Run("releases", func(t *testing.T) { releases(t, a, c) })
	t.Run("poison among releases is named and left alone", func(t *testing.T) { poisonedReleases(t, a, c) })
	t.Run("marks of one release from many nodes at once", func(t *testing.T) { marksAtOnce(t, c) })
	t.Run("current moves by check-and-set", func(t *testing.T) { current(t, a, c) })
	t.Run("journal is bounded", func(t *testing.T) { journal(t, a, c) })
}

func layersWithPoison(t *testing.T, a *lab.Agent, c *Client) {
	big := strings.Repeat("k", 100<<10)
	for key, value := range map[string]string{
		"svc/shared/config/":             "",
		"svc/shared/config/LOG":          "info",
		"svc/shared/config/sub/":         "",
		"svc/shared/config/sub/X":        "nested",
		"svc/apps/conf/config/LOG":       "debug",
		"svc/apps/conf/config/BAD-NAME":  "x",
		"svc/apps/conf/web/config/LOG":   "trace\n\"$HOME\"",
		"svc/apps/conf/web/config/EMPTY": "",
		"svc/apps/conf/secrets/KEY":      big,
		"svc/apps/Not-An-App/config/X":   "x",
		"svc/apps/stray":                 "x",
	} {
		put(t, a, key, value)
	}
	l, err := c.Layers(t.Context(), "conf", "web")
	if err != nil {
		t.Fatal(err)
	}
	if l.Shared["LOG"] != "info" || l.App["LOG"] != "debug" || l.Service["LOG"] != "trace\n\"$HOME\"" || l.Secrets["KEY"] != big ||
		len(l.Shared) != 1 || len(l.App) != 1 || len(l.Service) != 2 || len(l.Secrets) != 1 {
		t.Errorf("layers %.200v", l)
	}
	want := []string{
		"svc/apps/conf/config/BAD-NAME: not a name of a variable, expected [A-Za-z_][A-Za-z0-9_]{0,127}",
		"svc/shared/config/sub/X: nested path, expected one name",
	}
	if !reflect.DeepEqual(l.Skipped, want) {
		t.Errorf("skipped %q", l.Skipped)
	}
	none, err := c.Layers(t.Context(), "fresh", "web")
	if err != nil || len(none.App)+len(none.Service)+len(none.Secrets) != 0 {
		t.Errorf("an app without keys: %v, %v", none, err)
	}
	apps, err := c.Apps(t.Context())
	if err != nil || strings.Join(apps, " ") != "conf" {
		t.Errorf("apps %q, %v", apps, err)
	}
}

func releases(t *testing.T, a *lab.Agent, c *Client) {
	ctx := t.Context()
	if _, err := c.Release(ctx, "shop", "v1"); !errors.Is(err, fleet.ErrNotFound) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("a release that is not there: %v", err)
	}
	v1 := sampleRelease("v1")
	if err := c.PutRelease(ctx, v1); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Release(ctx, "shop", "v1"); err != nil || !reflect.DeepEqual(got, v1) {
		t.Errorf("got %+v, %v", got, err)
	}
	stable := fleet.Mark{Image: imageA, By: "ana@node1", At: noon}
	if err := errors.Join(c.MarkFailed(ctx, "shop", "v1", stable), c.MarkStable(ctx, "shop", "v1", stable)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Release(ctx, "shop", "v1"); err != nil || got.Failed != nil || got.Stable == nil {
		t.Errorf("a success leaves the failure of the same image: %+v, %v", got, err)
	}
	failed := fleet.Mark{Image: imageA, By: "bob@node2", At: noon}
	if err := c.MarkFailed(ctx, "shop", "v1", failed); err != nil {
		t.Fatal(err)
	}
	again := sampleRelease("v1")
	again.Image = imageB
	if err := c.PutRelease(ctx, again); err != nil {
		t.Fatal(err)
	}
	got, err := c.Release(ctx, "shop", "v1")
	if err != nil || got.Image != imageB || got.Failed != nil || got.Stable == nil || *got.Stable != stable {
		t.Errorf("pushed again: %+v, %v", got, err)
	}
}

func poisonedReleases(t *testing.T, a *lab.Agent, c *Client) {
	ctx := t.Context()
	put(t, a, "svc/apps/shop/releases/poison", "not ours")
	put(t, a, "svc/apps/shop/releases/newer", `{"schema":2}`)
	v2 := sampleRelease("v2")
	v2.BuiltAt = noon.Add(time.Minute)
	if err := c.PutRelease(ctx, v2); err != nil {
		t.Fatal(err)
	}
	list, bad, err := c.Releases(ctx, "shop")
	if err != nil || len(list) != 2 || list[0].Name != "v2" || list[1].Name != "v1" || len(bad) != 2 || !strings.HasPrefix(bad[0], "svc/apps/shop/releases/newer: schema 2") {
		t.Errorf("list %+v\nbad %q\n%v", list, bad, err)
	}
	if err := c.PutRelease(ctx, sampleRelease("poison")); fault.KindOf(err) != fault.Refused {
		t.Errorf("poison overwritten: %v", err)
	}
	mark := fleet.Mark{Image: imageA, By: "ana@node1", At: noon}
	if err := c.MarkStable(ctx, "shop", "poison", mark); fault.KindOf(err) != fault.Invalid {
		t.Errorf("poison marked: %v", err)
	}
	if got := raw(t, a, http.MethodGet, "/v1/kv/svc/apps/shop/releases/poison?raw", ""); got != "not ours" {
		t.Errorf("poison became %q", got)
	}
	v2.Spec = strings.Repeat("x", maxValue)
	if err := c.PutRelease(ctx, v2); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "513 KiB is more than the 512 KiB") {
		t.Errorf("too long: %v", err)
	}
	if err := errors.Join(c.DeleteRelease(ctx, "shop", "v1"), c.DeleteRelease(ctx, "shop", "v1")); err != nil {
		t.Error(err)
	}
	if _, err := c.Release(ctx, "shop", "v1"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

func marksAtOnce(t *testing.T, c *Client) {
	r := sampleRelease("v1")
	r.App = "many"
	if err := c.PutRelease(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			mark := fleet.Mark{Image: imageA, By: fmt.Sprint("node", i), At: noon}
			if err := c.MarkStable(t.Context(), "many", "v1", mark); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := c.Release(t.Context(), "many", "v1"); err != nil || got.Stable == nil || got.Spec != r.Spec {
		t.Errorf("%+v, %v", got, err)
	}
}

func current(t *testing.T, a *lab.Agent, c *Client) {
	ctx := t.Context()
	none, err := c.Current(ctx, "shop")
	if err != nil || !reflect.DeepEqual(none, fleet.Current{}) {
		t.Fatalf("nothing promoted yet: %+v, %v", none, err)
	}
	first := fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "v1", At: noon, By: "ana"}}}
	if err := c.SetCurrent(ctx, "shop", first); err != nil {
		t.Fatal(err)
	}
	if err := c.SetCurrent(ctx, "shop", first); fault.KindOf(err) != fault.Conflict || !errors.Is(err, fleet.ErrConflict) {
		t.Errorf("a second first promotion: %v", err)
	}
	got, err := c.Current(ctx, "shop")
	if err != nil || !reflect.DeepEqual(got.Services, first.Services) || got.Index == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	got.Services["web"] = fleet.Pointer{Release: "v2", Previous: "v1", At: noon, By: "bob"}
	if err := c.SetCurrent(ctx, "shop", got); err != nil {
		t.Fatal(err)
	}
	if err := c.SetCurrent(ctx, "shop", got); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a stale index: %v", err)
	}
	put(t, a, "svc/apps/poisoned/current", `{"schema":1,"services":{"web":{"release":"$(reboot)"}}}`)
	if _, err := c.Current(ctx, "poisoned"); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "svc/apps/poisoned/current") {
		t.Errorf("poison: %v", err)
	}
	if err := c.SetCurrent(ctx, "poisoned", first); fault.KindOf(err) != fault.Conflict {
		t.Errorf("poison overwritten: %v", err)
	}
}

func journal(t *testing.T, a *lab.Agent, c *Client) {
	ctx := t.Context()
	put(t, a, "svc/audit/busy/foreign", "keep me")
	for i := range keepRecords + 5 {
		at := noon.Add(time.Duration(i) * time.Second)
		if i < keepRecords { // what a journal already holds
			value, _ := encodeAudit(fleet.Audit{App: "busy", At: at, Command: fmt.Sprint("up ", i)})
			put(t, a, "svc/audit/busy/"+auditName(at, [4]byte{}), string(value))
			continue
		}
		if err := c.Record(ctx, fleet.Audit{App: "busy", At: at, Command: fmt.Sprint("up ", i), Result: "ok"}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := c.Records(ctx, "busy", time.Time{})
	if err != nil || len(all) != keepRecords || all[0].Command != "up 5" || all[len(all)-1].Command != "up 204" {
		t.Fatalf("%d records, %v", len(all), err)
	}
	if got := raw(t, a, http.MethodGet, "/v1/kv/svc/audit/busy/foreign?raw", ""); got != "keep me" {
		t.Errorf("a foreign key was pruned: %q", got)
	}
	late, err := c.Records(ctx, "busy", noon.Add(203*time.Second))
	if err != nil || len(late) != 2 {
		t.Errorf("since: %v, %v", late, err)
	}
	if err := c.Record(ctx, fleet.Audit{App: "calm", At: noon.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	every, err := c.Records(ctx, "", noon.Add(204*time.Second))
	if err != nil || len(every) != 2 || every[0].App != "busy" || every[1].App != "calm" {
		t.Errorf("of all apps: %+v, %v", every, err)
	}
	if err := c.Record(ctx, fleet.Audit{App: "../x", At: noon}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("bad app: %v", err)
	}
}

func TestAnAgentThatIsAwayIsUnreachable(t *testing.T) {
	a := lab.Consul(t)
	c := connect(t, a, "svc", "")
	a.Kill()
	_, err := c.Current(t.Context(), "shop")
	var e *fault.Error
	want := "read svc/apps/shop/current: consul at " + a.HTTP + ": connection refused"
	if !errors.As(err, &e) || e.Kind != fault.Unreachable || err.Error() != want || !strings.Contains(e.Hint, "systemctl start consul") {
		t.Errorf("got %v, want %s", err, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Self(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestAnAnswerWithoutEndIsCutOff(t *testing.T) {
	b := limitedBody{&io.LimitedReader{R: bytes.NewReader(make([]byte, 10)), N: 4}, io.NopCloser(nil)}
	if n, err := io.Copy(io.Discard, b); n != 4 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
