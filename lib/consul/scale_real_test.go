//go:build real

package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
	"svckit/lib/place"
	"svckit/lib/planner"
	"svckit/lib/scale"
)

func wish(node string, count int, index uint64) fleet.Want {
	return fleet.Want{Node: node, Gen: 1, At: noon, Index: index, Services: []fleet.Allotment{{Name: "shop/web", Unit: "workers", Count: count, Room: 2, Reason: "raise"}}}
}

func TestWishesAndOrdersAgainstARealAgent(t *testing.T) {
	a := lab.Consul(t)
	c := connect(t, a, "svc", "")
	l, err := c.Lead(within(t, 20*time.Second), holder("planner"), "http://a:1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("what a leader writes is read back, and followed", func(t *testing.T) { wishesReadBack(t, c, l) })
	t.Run("one that was changed meanwhile fails alone", func(t *testing.T) { wishConflict(t, a, c, l) })
	t.Run("a hundred wishes go in few transactions", func(t *testing.T) { manyWishes(t, c, l) })
	t.Run("what a node reached is read back", func(t *testing.T) { haves(t, a, c) })
	t.Run("orders are read back and taken back", func(t *testing.T) { orders(t, c) })
	t.Run("poisoned orders are named and nothing else is lost", func(t *testing.T) { poisonedOrders(t, a, c) })
	t.Run("pools and statuses are read back", func(t *testing.T) { poolsAndStatuses(t, a, c, l) })
	t.Run("what is known of a service that is gone is taken away", func(t *testing.T) { learnedTakenAway(t, c, l) })
	t.Run("a leader that lost its session writes nothing more", func(t *testing.T) { fencedOff(t, a, c, l) })
	t.Run("the next leader has a higher epoch", func(t *testing.T) { nextEpoch(t, c, l.Epoch) })
}

func wishesReadBack(t *testing.T, c *Client, l *Lease) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := make(chan fleet.Want, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- c.FollowWant(ctx, "node1", func(w fleet.Want, err error) {
			if err != nil && !errors.Is(err, fleet.ErrNotFound) {
				w.Gen = 99
			}
			told <- w
		})
	}()
	if w := <-told; w.Gen != 0 {
		t.Errorf("before there is a wish: told %+v", w)
	}
	written, err := l.SetWants(t.Context(), []fleet.Want{wish("node1", 4, 0)})
	if err != nil || len(written.Conflicts) > 0 {
		t.Fatal(written, err)
	}
	got, err := c.Want(t.Context(), "node1")
	want := wish("node1", 4, written.Index["node1"])
	want.Epoch = l.Epoch
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	select {
	case w := <-told:
		if fmt.Sprint(w) != fmt.Sprint(want) {
			t.Errorf("told %+v", w)
		}
	case <-time.After(10 * time.Second):
		t.Error("never told")
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("following ended with %v", err)
	}
	if who, err := c.Planner(t.Context()); err != nil || who.Epoch != l.Epoch || who.Node != "node1" || who.URL != "http://a:1" {
		t.Errorf("leader %+v %v", who, err)
	}
}

func wishConflict(t *testing.T, a *lab.Agent, c *Client, l *Lease) {
	now, err := c.Want(t.Context(), "node1")
	if err != nil {
		t.Fatal(err)
	}
	put(t, a, "svc/scale/want/node1", `{"schema":1,"epoch":1,"gen":7,"at":"2026-01-01T00:00:00Z","services":[]}`)
	written, err := l.SetWants(t.Context(), []fleet.Want{wish("node0", 1, 0), wish("node1", 5, now.Index), wish("node2", 2, 0)})
	if err != nil || !slices.Equal(written.Conflicts, []string{"node1"}) || written.Index["node0"] == 0 || written.Index["node2"] == 0 {
		t.Fatal(written, err)
	}
	if w, err := c.Want(t.Context(), "node1"); err != nil || w.Gen != 7 {
		t.Errorf("overwritten: %+v %v", w, err)
	}
	put(t, a, "svc/scale/want/node1", `{"schema":1,"services":[{"name":"shop/web","unit":"workers","count":-3}]}`)
	_, err = c.Want(t.Context(), "node1")
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a wish that is none: %v", err)
	}
	list, bad, err := c.Wants(t.Context())
	if err != nil || len(list) != 2 || bad["svc/scale/want/node1"] == "" {
		t.Errorf("wishes %v, bad %v, %v", list, bad, err)
	}
}

func manyWishes(t *testing.T, c *Client, l *Lease) {
	var list []fleet.Want
	for n := range 150 {
		list = append(list, wish(fmt.Sprintf("many%d", n), n, 0))
	}
	written, err := l.SetWants(t.Context(), list)
	if err != nil || len(written.Index) != 150 {
		t.Fatal(len(written.Index), written.Conflicts, err)
	}
	all, _, err := c.Wants(t.Context())
	if err != nil || len(all) < 150 {
		t.Error(len(all), err)
	}
}

func haves(t *testing.T, a *lab.Agent, c *Client) {
	h := fleet.Have{Node: "node1", Epoch: 1, Gen: 3, At: noon, Services: []fleet.Reached{{Name: "shop/web", Unit: "workers", Want: 4, Ready: 3, Starting: 1, Error: "one\nline"}}}
	if err := c.SetHave(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	put(t, a, "svc/scale/have/node2", "hello")
	list, bad, err := c.Haves(t.Context())
	h.Services[0].Error = "one line"
	if err != nil || len(list) != 1 || fmt.Sprint(list[0]) != fmt.Sprint(h) || bad["svc/scale/have/node2"] == "" {
		t.Errorf("got %+v, bad %v, %v", list, bad, err)
	}
}

func orders(t *testing.T, c *Client) {
	for _, name := range []string{"", "production", "shop/web"} {
		if err := c.Freeze(t.Context(), name, scale.Freeze{Mode: scale.NoDown, Until: 2_000_000_000, Who: "ana", Why: "sale"}); err != nil {
			t.Fatal(err)
		}
	}
	size := 7
	if _, err := c.SetHand(t.Context(), "shop/web", &scale.Hand{Size: &size, Who: "ana", Why: "test"}); err != nil {
		t.Fatal(err)
	}
	load := planner.Announcement{Service: "shop/web", Announcement: scale.Announcement{ID: "push-1", Who: "ana", From: 100, Until: 200, RPS: 50}}
	if err := c.Announce(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	if err := c.Announce(t.Context(), load); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the same announcement twice: %v", err)
	}
	o, err := c.Orders(t.Context())
	if err != nil || len(o.Freezes) != 3 || len(o.Announced) != 1 || *o.Hands["shop/web"].Size != 7 || len(o.Bad) > 0 {
		t.Fatalf("%+v %v", o, err)
	}
	if o.Announced[0] != load {
		t.Errorf("announced %+v", o.Announced)
	}
	scopes := map[string]string{}
	for _, z := range o.Freezes {
		scopes[z.Scope] = z.Name
	}
	if fmt.Sprint(scopes) != "map[all: pool:production service:shop/web]" {
		t.Errorf("freezes of %v", scopes)
	}
	for _, name := range []string{"", "production", "shop/web"} {
		for _, there := range []bool{true, false} {
			if ok, err := c.Thaw(t.Context(), name); err != nil || ok != there {
				t.Errorf("thaw %q: %v %v, want %v", name, ok, err, there)
			}
		}
	}
	for _, there := range []bool{true, false} {
		ok, err := c.SetHand(t.Context(), "shop/web", nil)
		gone, err2 := c.Cancel(t.Context(), "shop/web", "push-1")
		if ok != there || gone != there || err != nil || err2 != nil {
			t.Errorf("taken back: %v %v, want %v (%v %v)", ok, gone, there, err, err2)
		}
	}
	if o, err := c.Orders(t.Context()); err != nil || len(o.Freezes)+len(o.Announced)+len(o.Hands) > 0 {
		t.Errorf("%+v %v", o, err)
	}
}

func poisonedOrders(t *testing.T, a *lab.Agent, c *Client) {
	for key, value := range map[string]string{
		"ctl/freeze/production":      `{"schema":1,"mode":"everything"}`,
		"ctl/freeze/a/b/c":           `{"schema":1,"mode":"no-down"}`,
		"announce/shop/web/x":        `{"schema":1,"from":100,"until":50,"rps":5}`,
		"announce/shop":              `x`,
		"policy/00/shop/web":         `{"schema":1,"size":-1}`,
		"policy/00/shop/api":         `{"schema":1,"size":3,"who":"bob","why":"x"}`,
		"pool/production":            `{"schema":9}`,
		"pool/Bad Name":              `{"schema":1}`,
		"ctl/leader-of-someone-else": `x`,
	} {
		raw(t, a, http.MethodPut, "/v1/kv/svc/scale/"+key, value)
	}
	o, err := c.Orders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Bad) != 7 || !slices.Equal(o.Blind, []string{"shop/web"}) || *o.Hands["shop/api"].Size != 3 {
		t.Errorf("bad %v, blind %v, hands %v", o.Bad, o.Blind, o.Hands)
	}
	if len(o.Freezes) != 1 || o.Freezes[0].Mode != scale.NoDown || o.Freezes[0].Name != "production" {
		t.Errorf("a freeze that cannot be read forbids lowering: %+v", o.Freezes)
	}
}

func poolsAndStatuses(t *testing.T, a *lab.Agent, c *Client, l *Lease) {
	m := planner.Membership{Pool: place.Pool{Name: "web", Class: place.VIP, Loans: 2}, Nodes: []planner.Member{{Node: "n2", Home: "free", Due: 5}, {Node: "n1", Draining: true}}}
	if err := c.SetPool(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := c.SetPool(t.Context(), m); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a pool that somebody wrote meanwhile: %v", err)
	}
	o, err := c.Orders(t.Context())
	if err != nil || len(o.Pools) != 1 || len(o.Pools[0].Nodes) != 2 || o.Pools[0].Nodes[0].Node != "n1" {
		t.Fatalf("%+v %v", o.Pools, err)
	}
	o.Pools[0].Loans = 3
	if w, err := l.SetPools(t.Context(), o.Pools); err != nil || w.Index["web"] == 0 {
		t.Error(w, err)
	}
	s := planner.Status{Name: "shop/web", At: 5, Size: 3, Words: "3 workers", State: scale.State{At: 5, Size: 3}}
	w, err := l.SetStatuses(t.Context(), []planner.Status{s})
	if err != nil {
		t.Fatal(err)
	}
	put(t, a, "svc/scale/service/shop/api", `{"schema":1,"size":-4}`)
	list, bad, err := c.Statuses(t.Context())
	s.Index = w.Index["shop/web"]
	if err != nil || len(list) != 1 || fmt.Sprint(list[0]) != fmt.Sprint(s) || len(bad) != 1 {
		t.Errorf("got %+v, bad %v, %v", list, bad, err)
	}
	if got, err := c.Status(t.Context(), "shop/web"); err != nil || got.Size != 3 {
		t.Error(got, err)
	}
	if _, err := c.Status(t.Context(), "shop/none"); !errors.Is(err, fleet.ErrNotFound) {
		t.Error(err)
	}
}

func learnedTakenAway(t *testing.T, c *Client, l *Lease) {
	var both []planner.Learned
	for _, name := range []string{"shop/old", "shop/back"} {
		both = append(both, planner.Learned{Name: name, At: 5})
	}
	w, err := l.SetLearned(t.Context(), both)
	if err != nil || w.Index["shop/old"] == 0 {
		t.Fatal(w, err)
	}
	for i := range both {
		both[i].Index, both[i].Gone = w.Index[both[i].Name], true
	}
	if _, err := l.SetLearned(t.Context(), []planner.Learned{{Name: "shop/back", At: 6, Index: both[1].Index}}); err != nil { // it is there again
		t.Fatal(err)
	}
	w, err = l.SetLearned(t.Context(), both)
	left, bad, err2 := c.Learned(t.Context())
	if err != nil || err2 != nil || len(left) != 1 || left[0].Name != "shop/back" || len(bad) > 0 || fmt.Sprint(w.Conflicts) != "[shop/back]" {
		t.Errorf("left %+v, bad %v, conflicts %v, %v %v", left, bad, w.Conflicts, err, err2)
	}
}

func fencedOff(t *testing.T, a *lab.Agent, c *Client, l *Lease) {
	raw(t, a, http.MethodPut, "/v1/session/destroy/"+l.session, "")
	_, err := l.SetWants(t.Context(), []fleet.Want{wish("late", 1, 0)})
	if !errors.Is(err, ErrFenced) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Want(t.Context(), "late"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("it was written: %v", err)
	}
	waitLost(t, l.Lock)
	if _, err := l.SetLearned(t.Context(), []planner.Learned{{Name: "shop/back", Gone: true}}); !errors.Is(err, ErrFenced) {
		t.Errorf("demand was taken away: %v", err)
	}
	if _, err := l.SetWants(t.Context(), []fleet.Want{wish("late", 1, 0)}); !errors.Is(err, ErrFenced) {
		t.Errorf("after it knows: %v", err)
	}
}

func nextEpoch(t *testing.T, c *Client, before uint64) {
	if err := c.SetHave(t.Context(), fleet.Have{Node: "far", Epoch: before + 5, At: noon}); err != nil { // Consul was restored, the node was not
		t.Fatal(err)
	}
	l, err := c.Lead(within(t, 20*time.Second), holder("next"), "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if l.Epoch != before+6 {
		t.Errorf("epoch %d after %d, where a node has seen %d", l.Epoch, before, before+5)
	}
	if _, err := l.SetWants(t.Context(), []fleet.Want{wish("next", 1, 0)}); err != nil {
		t.Error(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Planner(t.Context()); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("after its end: %v", err)
	}
}

// A node may write no order: its token would be refused, and Consul's log would say so at each start.
func TestWhoFollowsFreezesWritesNoneAndALeaderMakesTheKey(t *testing.T) {
	a := lab.Consul(t)
	c := connect(t, a, "svc", "")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := make(chan int, 100)
	go func() {
		_ = c.FollowFreezes(ctx, func(list []planner.Freeze, err error) {
			if err != nil {
				t.Errorf("follow freezes: %v", err)
			}
			told <- len(list)
		})
	}()
	if n := <-told; n != 0 {
		t.Errorf("%d freezes where there is no key", n)
	}
	if pair, err := c.get(t.Context(), c.keys.freeze()); err != nil || pair != nil {
		t.Errorf("who follows has written %v (%v)", pair, err)
	}
	if _, err := c.Lead(within(t, 20*time.Second), holder("planner"), "http://a:1", time.Minute); err != nil {
		t.Fatal(err)
	}
	if pair, err := c.get(t.Context(), c.keys.freeze()); err != nil || pair == nil {
		t.Errorf("a leader has made no key to wait on (%v)", err)
	}
	if err := c.Freeze(t.Context(), "", scale.Freeze{Mode: scale.NoDown}); err != nil {
		t.Fatal(err)
	}
	for n := range told {
		if n == 1 {
			return
		}
	}
}
