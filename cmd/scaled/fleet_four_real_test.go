//go:build real

package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"svckit/lab"
	"svckit/lib/planner"
)

const rabbitConsumers = `    kind: daemon
    command: [/consumer]
    stop: {timeout: 20s}
    config: {env: [AMQP_URL]}
    check: {min_healthy: 1s, deadline: 60s}
    scale: {unit: instances, strategy: queue, queue: {from: AMQP_URL, rabbitmq: jobs}, min: 1, max: 6, drain: 15s, start_up: 3s, down: {after: 10s, step: 100%}}
`

const wideBoxes = `    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 6s}
    scale: {unit: instances, strategy: noop, min: 1, min_nodes: 4, spread: equal}
`

// vipBoxes take 45 % of a host's cores each, so that two of them fill it.
func vipBoxes() string {
	return fmt.Sprintf(`    command: [gunicorn, -c, gunicorn.conf.py, "app:application"]
    port: 8000
    check: {http: /healthz, interval: 1s, timeout: 5s, min_healthy: 1s, deadline: 60s}
    stop: {timeout: 15s, drain: 6s}
    resources: {cpu: %.2f}
    scale: {unit: instances, strategy: noop, min: 1, pool: front, priority: vip}
`, 0.45*float64(runtime.NumCPU()))
}

// Four hosts: a queue of RabbitMQ, instances on all of them, and nodes that pools
// lend and give back, with requests that must not notice.
func TestAFleetOfFour(t *testing.T) {
	t.Parallel()
	f := newWholeFleet(t, 1, 4)
	f.on(f.Servers[0], "run", "--listen", "")
	dir := t.TempDir()
	for name, text := range map[string][]byte{"consumer": lab.Consumer(t), "Dockerfile": []byte("FROM scratch\nCOPY consumer /consumer\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	image := f.pushed(dir, "consumer")
	t.Run("rows", func(t *testing.T) {
		t.Run("consumers of RabbitMQ drain a burst", func(t *testing.T) { t.Parallel(); rabbitDrained(t, f, image) })
		t.Run("instances on four nodes, then pools", func(t *testing.T) { t.Parallel(); fourNodes(t, f) })
	})
	if !t.Failed() {
		t.Run("a zone without power is not missed", func(t *testing.T) { zoneLost(t, f) })
	}
}

// broker is a RabbitMQ on a server of the fleet, as a test sees it.
type broker struct {
	at lab.Rabbit
	ch *amqp.Channel
}

func newBroker(t *testing.T, f *wholeFleet) broker {
	t.Helper()
	b := broker{at: f.Servers[0].RabbitMQ(t)}
	conn, err := amqp.Dial(b.at.AMQP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if b.ch, err = conn.Channel(); err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{"jobs", "log", "again"} {
		if _, err := b.count(queue); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// count is how many messages lie in a queue, which is made where it is not there.
func (b broker) count(queue string) (int, error) {
	q, err := b.ch.QueueDeclare(queue, true, false, false, false, nil)
	return q.Messages, err
}

// taken is everything in a queue: message → times.
func (b broker) taken(t *testing.T, queue string) map[string]int {
	t.Helper()
	times := map[string]int{}
	for {
		m, ok, err := b.ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return times
		}
		times[string(m.Body)]++
	}
}

// rabbitDrained is queueDrained with RabbitMQ, and somebody who takes consumers away while all
// of them are busy: each message is done once, and none came again since its consumer died.
func rabbitDrained(t *testing.T, f *wholeFleet, image string) {
	b := newBroker(t, f)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, f.Servers[0].Consul()+"/v1/kv/svc/apps/rabbit/config/AMQP_URL", strings.NewReader(b.at.AMQP))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	f.releaseOf(t, image, "rabbit", "work", rabbitConsumers)
	soon(t, 4*time.Minute, "the first consumer", f.atLeast("rabbit/work", 1, 1))
	const messages = 600 // two minutes of work for one
	began := time.Now()
	for n := range messages {
		if err := b.ch.PublishWithContext(t.Context(), "", "jobs", false, false, amqp.Publishing{Body: fmt.Appendf(nil, "job-%03d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	took := soon(t, 4*time.Minute, "more consumers", f.atLeast("rabbit/work", 3, 1))
	left, err := b.count("jobs")
	t.Logf("from the burst to three consumers: %.1f s; %d messages wait, %v", took.Seconds(), left, err)
	setSize(t, f.consul, "rabbit/work", 1, "consumers end while all of them are busy")
	soon(t, 4*time.Minute, "one consumer", func() error {
		if n, by := f.ready("rabbit/work"); n != 1 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	left, err = b.count("jobs")
	t.Logf("one consumer: %d messages wait, %v", left, err)
	if _, err := f.consul.SetHand(t.Context(), "rabbit/work", nil); err != nil {
		t.Fatal(err)
	}
	soon(t, 4*time.Minute, "all messages done", func() error {
		n, err := b.count("log")
		if err == nil && n < messages {
			err = fmt.Errorf("%d done", n)
		}
		return err
	})
	t.Logf("%d messages of 0.2 s: done after %.1f s", messages, time.Since(began).Seconds())
	times := b.taken(t, "log")
	for job, n := range times {
		if n != 1 {
			t.Errorf("%s was done %d times", job, n)
		}
	}
	if again, err := b.count("again"); err != nil || again != 0 || len(times) != messages {
		t.Errorf("%d of %d messages were done, %d came again since their consumer ended at work, %v", len(times), messages, again, err)
	}
}

func fourNodes(t *testing.T, f *wholeFleet) {
	f.release(t, "box", "web", wideBoxes)
	setSize(t, f.consul, "box/web", 4, "test")
	took := soon(t, 6*time.Minute, "four instances on four nodes", f.atLeast("box/web", 4, 4))
	t.Logf("four instances on four nodes: %.1f s", took.Seconds())
	l := f.load(t, "box-web", 8)
	setSize(t, f.consul, "box/web", 8, "test")
	soon(t, 6*time.Minute, "two on each of four nodes", func() error {
		if n, by := f.ready("box/web"); n != 8 || len(by) != 4 || slices.ContainsFunc(f.Hosts, func(h *lab.Host) bool { return by[h.Name()] != 2 }) {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	setSize(t, f.consul, "box/web", 4, "test")
	soon(t, 6*time.Minute, "one on each again", func() error {
		if n, by := f.ready("box/web"); n != 4 || len(by) < 4 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	poolsLend(t, f)
	l.lost(t, "while instances came and went, and nodes left their pool")
}

// poolsLend takes two nodes out of the pool that everything runs in, gives one to a
// vip pool and one to the free pool, and lets the vip pool borrow it and give it back.
func poolsLend(t *testing.T, f *wholeFleet) {
	front, spare := f.Hosts[2].Name(), f.Hosts[3].Name()
	f.call(t, "pool", "add", "--class", "free", "free", spare)
	f.call(t, "pool", "add", "--class", "vip", "--loans", "1", "front", front)
	took := soon(t, 6*time.Minute, "what ran on nodes that left runs elsewhere", func() error {
		if n, by := f.ready("box/web"); n < 2 || by[front]+by[spare] > 0 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	t.Logf("two nodes that left their pool are empty after %.1f s", took.Seconds())
	f.release(t, "vip", "web", vipBoxes())
	soon(t, 6*time.Minute, "the vip service on its own node", f.atLeast("vip/web", 1, 1))
	setSize(t, f.consul, "vip/web", 3, "test")
	took = soon(t, 6*time.Minute, "a free node is borrowed and serves", func() error {
		if n, by := f.ready("vip/web"); n != 3 || by[spare] == 0 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	t.Logf("from the wish to three ready instances on a node of its own and a borrowed one: %.1f s", took.Seconds())
	if m := f.member(t, "front", spare); m == nil || m.Home != "free" {
		t.Fatalf("the loan is not written down: %+v", m)
	}
	l := f.load(t, "vip-web", 5)
	setSize(t, f.consul, "vip/web", 2, "test")
	f.call(t, "pool", "lend", "--for", "5m", spare, "front") // nearer than a quarter of an hour: it is emptied at once
	took = soon(t, 6*time.Minute, "the borrowed node is empty and home again", func() error {
		if n, by := f.ready("vip/web"); n != 2 || by[spare] > 0 {
			return fmt.Errorf("ready %v", by)
		}
		if f.member(t, "front", spare) != nil {
			return errors.New("it is still of pool front")
		}
		return nil
	})
	t.Logf("given back after %.1f s", took.Seconds())
	l.lost(t, "while a borrowed node was given back")
	l.stop()
	f.call(t, "pool", "drain", f.Hosts[1].Name())
	took = soon(t, 6*time.Minute, "a node that is drained is empty", func() error {
		if n, by := f.ready("box/web"); n < 1 || by[f.Hosts[1].Name()] > 0 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	t.Logf("drained after %.1f s", took.Seconds())
	f.call(t, "pool", "drain", "--undo", f.Hosts[1].Name())
	f.call(t, "pool", "remove", "free", spare) // first: else it is borrowed again for what was on the other
	f.call(t, "pool", "remove", "front", front)
}

// call runs a command of scaled on the server.
func (f *wholeFleet) call(t *testing.T, args ...string) {
	t.Helper()
	cmd := f.Servers[0].Command(t, os.Args[0], args...)
	cmd.Env = append(cmd.Env, f.env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, text)
	}
}

// member is what is written of a node in a pool; nil where it is not in it.
func (f *wholeFleet) member(t *testing.T, pool, node string) *planner.Member {
	t.Helper()
	orders, err := f.consul.Orders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range orders.Pools {
		if k := slices.IndexFunc(p.Nodes, func(m planner.Member) bool { return m.Node == node }); p.Name == pool && k >= 0 {
			return &p.Nodes[k]
		}
	}
	return nil
}
