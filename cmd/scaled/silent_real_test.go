//go:build real

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/fleet"
	"svckit/lib/notify"
)

// A node whose monitor is gone keeps what it was told, and others go on. Who watches the
// planner sees it in its metrics, and who is to be told of an alarm hears of it.
func TestAMissingMonitorChangesNothingForOthers(t *testing.T) {
	t.Parallel()
	a, c, _, env := fleetOfOne(t)
	a2 := lab.Consul(t, "-dev=false", "-server=false", "-node=node2", "-data-dir="+t.TempDir(), "-retry-join="+a.Serf)
	a2.Node = "node2"
	c2, err := consul.OpenAt(a2.HTTP, "svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	quiet := serveNode(t, a2, c2)
	soon(t, time.Minute, "both nodes are known", func() error {
		list, err := c.Monitors(t.Context())
		if alive := slices.DeleteFunc(list, func(m fleet.Monitor) bool { return !m.Alive }); err == nil && len(alive) != 2 {
			err = fmt.Errorf("%+v", list)
		}
		return err
	})
	heard := make(chan notify.Message, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		if json.NewDecoder(r.Body).Decode(&m) == nil {
			heard <- m
		}
	}))
	t.Cleanup(hook.Close)
	for _, app := range []string{"shop", "blog"} {
		appOf(t, c, app, "web", strings.Replace(fixedFour, "min: 4", "min: 4, min_nodes: 2, spread: equal", 1)+"notify: [{webhook: \""+hook.URL+"\"}]\n")
	}
	at := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	start(t, env, "run", "--listen", at)
	for _, node := range []string{a.Node, "node2"} {
		soon(t, time.Minute, "both nodes have their share", toldOf(t.Context(), c, node, "shop/web", 2))
		soon(t, time.Minute, "both nodes have their share", toldOf(t.Context(), c, node, "blog/web", 2))
	}
	quiet.silent.Store(true)
	seen := func(want ...string) func() error {
		return func() error {
			text, err := textOf(t, "http://"+at+"/metrics")
			for _, w := range want {
				if err == nil && !strings.Contains(text, "\n"+w) {
					err = fmt.Errorf("no %s in\n%s", w, text)
				}
			}
			return err
		}
	}
	soon(t, time.Minute, "its silence is a metric", seen(`scaled_nodes{state="silent"} 1`, `scaled_nodes{state="alive"} 1`))
	setSize(t, c, "shop/web", 6, "others go on")
	soon(t, time.Minute, "the other service is as large as somebody wants it", func() error { return toldInAll(t, c, "shop/web", 6, a.Node, "node2") })
	for service, least := range map[string]int{"shop/web": 2, "blog/web": 2} {
		if n := toldCount(t, c, "node2", service); n < least {
			t.Errorf("the silent node was told %d of %s, before it was %d", n, service, least)
		}
	}
	if err := toldInAll(t, c, "blog/web", 4, a.Node, "node2"); err != nil {
		t.Error(err)
	}
	for _, service := range []string{"shop/web", "blog/web"} {
		for _, name := range []string{"size", "wish", "ready", "demand_erlangs", "decision_age_seconds", "blind_seconds"} {
			if err := seen(fmt.Sprintf("scaled_service_%s{service=%q}", name, service))(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := seen("scaled_leader 1", "scaled_epoch ", "scaled_cycle_age_seconds", "scaled_cycle_seconds", "scaled_cycle_failures_total ", "scaled_unreadable 0")(); err != nil {
		t.Error(err)
	}
	if _, err := textOf(t, "http://"+at+"/health"); err != nil {
		t.Error(err)
	}
	setSize(t, c, "shop/web", 100_000, "more than there is room for")
	soon(t, time.Minute, "an alarm is a metric", seen(`scaled_alarm{code="not-enough-room",service="shop/web"} 1`))
	for limit := time.After(time.Minute); ; {
		select {
		case m := <-heard:
			if m.Event == "alarm not-enough-room" && m.App == "shop" && m.Service == "web" && m.Message != "" {
				return
			}
		case <-limit:
			t.Fatal("nobody was told of the alarm")
		}
	}
}

func textOf(t *testing.T, url string) (string, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return string(text), err
}

func toldCount(t *testing.T, c *consul.Client, node, service string) (n int) {
	t.Helper()
	w, err := c.Want(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range w.Services {
		if a.Name == service {
			n += a.Count
		}
	}
	return n
}

// toldInAll is nil when the nodes together were told so many of a service.
func toldInAll(t *testing.T, c *consul.Client, service string, want int, nodes ...string) error {
	t.Helper()
	sum := 0
	for _, node := range nodes {
		sum += toldCount(t, c, node, service)
	}
	if sum != want {
		return fmt.Errorf("%s: nodes are told %d in all, expected %d", service, sum, want)
	}
	return nil
}

// Every order and every question has one JSON document as its answer, and orders leave a record.
func TestOrdersAnswerInJSON(t *testing.T) {
	t.Parallel()
	a, c, _, env := fleetOfOne(t)
	appOf(t, c, "shop", "web", fixedFour)
	orders := 0
	for _, row := range []struct {
		args string
		keys []string // that its document has
	}{
		{"once --json", []string{"schema", "changed", "nodes"}},
		{"set --json --size 5 shop/web", []string{"schema", "changed", "words"}},
		{"announce --json --rps 50 --id push shop/web", []string{"schema", "changed", "words"}},
		{"announcements --json", []string{"schema", "announcements"}},
		{"cancel --json shop/web push", []string{"schema", "changed", "words"}},
		{"freeze --json --mode no-down --for 1h --why night all", []string{"schema", "changed", "words"}},
		{"freeze --json", []string{"schema", "freezes"}},
		{"thaw --json all", []string{"schema", "changed", "words"}},
		{"status --json", []string{"schema", "services", "nodes"}},
		{"plan --json shop/web", []string{"schema"}},
		{"history --json shop/web", []string{"schema"}},
		{"pool add --json --class vip --loans 1 front", []string{"schema", "changed", "words"}},
		{"pool lend --json --for 1h " + a.Node + " front", []string{"schema", "changed", "words"}},
		{"pool list --json", []string{"schema", "pools"}},
		{"pool remove --json front " + a.Node, []string{"schema", "changed", "words"}},
		{"pool drain --json --why broken " + a.Node, []string{"schema", "changed", "words"}},
	} {
		out, err := outOf(t, env, strings.Fields(row.args)...)
		var doc map[string]any
		if err == nil {
			err = json.Unmarshal(out, &doc)
		}
		if err != nil {
			t.Errorf("%s: %v: %s", row.args, err, out)
			continue
		}
		for _, k := range row.keys {
			if _, ok := doc[k]; !ok {
				t.Errorf("%s: no %q in %s", row.args, k, out)
			}
		}
		if slices.Contains(row.keys, "words") {
			orders++
			if doc["changed"] != true || doc["words"] == "" {
				t.Errorf("%s: %s", row.args, out)
			}
		}
	}
	records, err := c.Records(t.Context(), "", time.Time{})
	if err != nil || len(records) < orders {
		t.Errorf("%d orders left %d records, %v", orders, len(records), err)
	}
}

// outOf is what a call of scaled prints as its result.
func outOf(t *testing.T, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), "SVCKIT_TEST_AS=scaled"), env...)
	return cmd.Output()
}
