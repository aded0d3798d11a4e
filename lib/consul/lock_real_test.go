//go:build real

package consul

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func holder(who string) fleet.Holder {
	return fleet.Holder{Who: who, Node: "node1", PID: os.Getpid(), Command: "svc-run up shop/web", Since: noon}
}

// holdForEver is what this test binary does when called as another process: hold a lock until killed.
func holdForEver(key string) {
	c, err := Open("svc", nil)
	if err == nil {
		_, err = c.Lock(context.Background(), key, holder("other process"), 0)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("held")
	select {}
}

// holdElsewhere starts a process that holds the lock, and returns a function that kills it.
func holdElsewhere(t *testing.T, a *lab.Agent, key string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SVCKIT_TEST_HOLD_LOCK="+key, "CONSUL_HTTP_ADDR="+a.URL())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(kill)
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("other process says %q", line)
	}
	return kill
}

func TestLocksAgainstARealAgent(t *testing.T) {
	a := lab.Consul(t)
	c := connect(t, a, "svc", "")
	holdElsewhere(t, a, "locks/shop/ttl")() // dies now, while the other tests go on
	killed := time.Now()
	freed := byTTL(t, c)

	t.Run("a held lock is a conflict that names its holder, a released one is free at once", func(t *testing.T) { heldAndReleased(t, c) })
	t.Run("a waiter gets the lock when it is released", func(t *testing.T) { waiterGetsIt(t, c) })
	t.Run("waiting ends with the wait and with the context", func(t *testing.T) { waitingEnds(t, c) })
	t.Run("of many contenders one gets it", func(t *testing.T) { contenders(t, c) })
	t.Run("a lock is lost when its session is destroyed", func(t *testing.T) { destroyed(t, a, c) })
	t.Run("a lock is lost when its key is deleted", func(t *testing.T) { deleted(t, a, c) })
	t.Run("a foreign value at the key is left alone", func(t *testing.T) { foreign(t, a, c) })
	t.Run("a dead holder on this machine is relieved at once", func(t *testing.T) { relieved(t, a, c) })
	t.Run("a dead holder elsewhere loses the lock by its TTL", func(t *testing.T) { freedByTTL(t, freed, killed) })
}

func heldAndReleased(t *testing.T, c *Client) {
	l, err := c.Lock(t.Context(), "locks/shop/web", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Lock(t.Context(), "locks/shop/web", holder("bob"), 0)
	want := fmt.Sprintf("lock svc/locks/shop/web: held by ana on node1 (pid %d, svc-run up shop/web) since 2026-03-01T12:00:00Z", os.Getpid())
	if fault.KindOf(err) != fault.Conflict || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Release(ended); err != nil {
		t.Errorf("release after an interrupt: %v", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("release twice: %v", err)
	}
	next := atOnce(t, c, "locks/shop/web", 900*time.Millisecond, func() {})
	select {
	case <-l.Lost():
		t.Error("a released lock counts as lost")
	default:
	}
	if err := next.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pair, err := c.get(t.Context(), "svc/locks/shop/web"); pair != nil || err != nil {
		t.Errorf("a released lock leaves %v, %v", pair, err)
	}
}

// atOnce takes a lock that is free and demands that it takes no longer than limit, once in five times:
// Consul's lock-delay and the TTL are longer every time, a busy machine now and then.
func atOnce(t *testing.T, c *Client, key string, limit time.Duration, before func()) *Lock {
	t.Helper()
	for try := 1; ; try++ {
		before()
		began := time.Now()
		l, err := c.Lock(t.Context(), key, holder("ana"), 0)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if try == 5 && took > limit {
			t.Errorf("taken after %s only, and five times after more than %s", took, limit)
		}
		if try == 5 || took <= limit {
			return l
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func waiterGetsIt(t *testing.T, c *Client) {
	l, err := c.Lock(t.Context(), "locks/shop/wait", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		next, err := c.Lock(t.Context(), "locks/shop/wait", holder("bob"), time.Minute)
		if err == nil {
			err = next.Release(t.Context())
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the waiter did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	began := time.Now()
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil || time.Since(began) > 9*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func waitingEnds(t *testing.T, c *Client) {
	l, err := c.Lock(t.Context(), "locks/shop/ends", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Release(t.Context()) }()
	began := time.Now()
	_, err = c.Lock(t.Context(), "locks/shop/ends", holder("bob"), time.Second)
	if took := time.Since(began); fault.KindOf(err) != fault.Conflict || took < time.Second || took > 30*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Lock(ctx, "locks/shop/ends", holder("bob"), time.Minute); fault.KindOf(err) != fault.Timeout {
		t.Errorf("context ended: %v", err)
	}
}

func contenders(t *testing.T, c *Client) {
	results := make(chan error, 4)
	for i := range 4 {
		go func() {
			_, err := c.Lock(t.Context(), "locks/shop/contended", holder(fmt.Sprint("c", i)), 0)
			results <- err
		}()
	}
	won := 0
	for range 4 {
		err := <-results
		if err == nil {
			won++
		} else if fault.KindOf(err) != fault.Conflict {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d contenders hold the lock", won)
	}
	sessions, _, err := c.api.Session().List(nil)
	left := 0
	for _, s := range sessions {
		if s.Name == "svc/locks/shop/contended" {
			left++
		}
	}
	if err != nil || left != 1 {
		t.Errorf("%d sessions are left, %v", left, err)
	}
}

func destroyed(t *testing.T, a *lab.Agent, c *Client) {
	l, err := c.Lock(t.Context(), "locks/shop/destroyed", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	raw(t, a, "PUT", "/v1/session/destroy/"+l.session, "")
	waitLost(t, l)
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("release of a lost lock: %v", err)
	}
}

func deleted(t *testing.T, a *lab.Agent, c *Client) {
	l, err := c.Lock(t.Context(), "locks/shop/deleted", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	raw(t, a, "DELETE", "/v1/kv/svc/locks/shop/deleted", "")
	waitLost(t, l)
	next, err := c.Lock(t.Context(), "locks/shop/deleted", holder("bob"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Lock(t.Context(), "locks/shop/deleted", holder("eve"), 0); !strings.Contains(fmt.Sprint(err), "held by bob") {
		t.Errorf("the release of a lost lock freed another's: %v", err)
	}
	if err := next.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func waitLost(t *testing.T, l *Lock) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(30 * time.Second):
		t.Error("not noticed within 30 s")
	}
}

func foreign(t *testing.T, a *lab.Agent, c *Client) {
	put(t, a, "svc/locks/shop/foreign", "keep me")
	if _, err := c.Lock(t.Context(), "locks/shop/foreign", holder("ana"), 0); fault.KindOf(err) != fault.Refused {
		t.Errorf("%v, want refused", err)
	}
	if got := raw(t, a, "GET", "/v1/kv/svc/locks/shop/foreign?raw", ""); got != "keep me" {
		t.Errorf("the value became %q", got)
	}
}

func relieved(t *testing.T, a *lab.Agent, c *Client) {
	judge := *c
	judge.Alive = func(h fleet.Holder) bool { return h.Who != "other process" }
	l := atOnce(t, &judge, "locks/shop/relieved", time.Second, func() { holdElsewhere(t, a, "locks/shop/relieved")() })
	if _, err := judge.Lock(t.Context(), "locks/shop/relieved", holder("bob"), 0); !strings.Contains(fmt.Sprint(err), "held by ana") {
		t.Errorf("%v", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// An agent in development mode forgets everything when it is killed, also who held the lock.
func TestAWaiterBearsAnOutageAndTheHolderNoticesThatTheLockIsGone(t *testing.T) {
	a := lab.Consul(t)
	c := connect(t, a, "svc", "")
	l, err := c.Lock(t.Context(), "locks/shop/web", holder("ana"), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := c.Lock(t.Context(), "locks/shop/web", holder("bob"), 2*time.Minute)
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the waiter did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	a.Kill()
	a.Start(t)
	if err := <-got; err != nil {
		t.Errorf("waiter: %v", err)
	}
	waitLost(t, l)
}

// byTTL waits for the lock of a holder that is dead and says when it was free.
func byTTL(t *testing.T, c *Client) <-chan time.Time {
	t.Helper()
	if _, err := c.Lock(t.Context(), "locks/shop/ttl", holder("ana"), 0); !strings.Contains(fmt.Sprint(err), "held by other process") {
		t.Fatalf("right after the kill: %v", err)
	}
	freed := make(chan time.Time, 1)
	go func() {
		defer close(freed)
		l, err := c.Lock(t.Context(), "locks/shop/ttl", holder("ana"), 2*time.Minute)
		if err == nil {
			freed <- time.Now()
			err = l.Release(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	}()
	return freed
}

func freedByTTL(t *testing.T, freed <-chan time.Time, killed time.Time) {
	at, ok := <-freed
	if took := at.Sub(killed); !ok || took > time.Minute {
		t.Fatalf("free after %s", took)
	}
	t.Logf("taken over %s after the holder was killed", at.Sub(killed).Round(100*time.Millisecond))
	for range freed { // until it is released
	}
}
