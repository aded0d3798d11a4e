package follow

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/answer"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// consul is a Source in memory. Follow reports each change at once.
type consul struct {
	mu      sync.Mutex
	states  map[answer.Subject]answer.State
	nodes   map[string]bool
	err     error
	changed chan struct{} // closed and made anew at each change
	reads   int
	follows int // running
	delay   time.Duration
}

func newConsul() *consul {
	return &consul{states: map[answer.Subject]answer.State{}, nodes: map[string]bool{}, changed: make(chan struct{})}
}

func (c *consul) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *consul) get(s answer.Subject) (answer.State, error, <-chan struct{}) { //nolint:staticcheck // the error is one of the values that belong together
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.states[s], c.err, c.changed
}

func (c *consul) Follow(ctx context.Context, s answer.Subject, see func(answer.State, error)) {
	c.mu.Lock()
	c.follows++
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.follows--; c.mu.Unlock() }()
	for {
		state, err, changed := c.get(s)
		see(state, err)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (c *consul) State(_ context.Context, s answer.Subject) (answer.State, error) {
	time.Sleep(c.delay)
	c.mu.Lock()
	c.reads++
	c.mu.Unlock()
	state, err, _ := c.get(s)
	return state, err
}

func (c *consul) NodeKnown(_ context.Context, name, _ string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[name], c.err
}

func (c *consul) counts() (reads, follows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads, c.follows
}

var errAway = fault.New(fault.Unreachable, "%w", errors.New("connection refused"))

func service(name string) answer.Subject { return answer.Subject{Name: name, Datacenter: "dc1"} }

func passing(ids ...string) answer.State {
	var s answer.State
	for n, id := range ids {
		s.Instances = append(s.Instances, answer.Instance{
			ID: id, Node: "node1", Datacenter: "dc1", Address: "10.0.0." + string(rune('1'+n)), Port: 80, Passing: 1, Health: fleet.Passing,
		})
	}
	return s
}

func settings() Settings {
	s := Defaults()
	s.Policy = answer.Policy{Domain: "consul", Datacenter: "dc1", TTL: 30}
	return s
}

// start makes a keeper that runs until the test ends.
func start(t *testing.T, s Settings, source Source, answers bool) (*Keeper, func()) {
	t.Helper()
	k := New(s, source, func(context.Context, string, int) bool { return answers }, time.Now, hclog.NewNullLogger())
	return k, run(t, k)
}

// run runs a keeper until stop is called.
func run(t *testing.T, k *Keeper) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	return func() { cancel(); <-done }
}

// key is the table's key for a question of type A.
func key(name string) []byte {
	var out []byte
	for label := range strings.SplitSeq(name, ".") {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0, 0, answer.TypeA)
}

// ask is what a server does: the table, else the keeper. It returns the code and the number of records.
func ask(t *testing.T, k *Keeper, name string) (rcode, records int) {
	t.Helper()
	if p := k.Find(key(name), time.Now().UnixNano()); p != nil {
		return p.Rcode, p.Records()
	}
	p, ok := k.Answer(t.Context(), answer.ParseName(name, answer.TypeA, k.settings.Policy), answer.TypeA, key(name))
	if !ok {
		t.Fatalf("%s is left to the agent", name)
	}
	return p.Rcode, p.Records()
}

func want(t *testing.T, k *Keeper, name string, rcode, records int) {
	t.Helper()
	if c, n := ask(t, k, name); c != rcode || n != records {
		t.Errorf("%s: code %d with %d records, want %d with %d", name, c, n, rcode, records)
	}
}
