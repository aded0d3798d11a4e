package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/notify"
	"svckit/lib/settle"
)

// unitLog is a service manager that keeps what it hears.
type unitLog struct {
	mu    sync.Mutex
	heard []string
}

func (u *unitLog) hear(s string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.heard = append(u.heard, s)
	return nil
}

func (u *unitLog) Ready(string) error         { return u.hear("ready") }
func (u *unitLog) Status(status string) error { return u.hear("status " + status) }
func (u *unitLog) Alive() error               { return u.hear("alive") }
func (u *unitLog) Stopping() error            { return u.hear("stopping") }

func (u *unitLog) count(word string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, h := range u.heard {
		if strings.HasPrefix(h, word) {
			n++
		}
	}
	return n
}

// bench is a loop in virtual time. ends says what acting on a service comes to.
type bench struct {
	*loop
	unit  *unitLog
	looks chan sight
	mu    sync.Mutex
	acts  []string // "SERVICE at SECONDS"
	told  []string
	ends  func(ctx context.Context, service string) acted
	began time.Time
	beat  time.Time
}

func newBench(t *testing.T, ends func(ctx context.Context, service string) acted) *bench {
	t.Helper()
	b := benchOf(ends)
	ctx, stop := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { defer close(gone); b.run(ctx) }()
	t.Cleanup(func() { stop(); <-gone })
	return b
}

// benchOf makes a bench that does not run yet.
func benchOf(ends func(ctx context.Context, service string) acted) *bench {
	b := &bench{unit: &unitLog{}, looks: make(chan sight), ends: ends, began: time.Now()}
	rules := settle.Rules{Quiet: 2 * time.Second, Longest: 30 * time.Second, Busy: time.Second, MaxBusy: 4 * time.Second, Pause: 10 * time.Second, MaxPause: time.Minute}
	b.loop = &loop{
		book: settle.NewBook(rules, nil), looks: b.looks, unit: b.unit, every: 5 * time.Second, log: hclog.NewNullLogger(),
		chance: func() float64 { return 1 }, save: func(map[string]string) error { return nil },
		beat: func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.beat.IsZero() {
				return time.Now()
			}
			return b.beat
		},
		act: func(ctx context.Context, service string) acted {
			b.mu.Lock()
			b.acts = append(b.acts, fmt.Sprintf("%s at %v", service, time.Since(b.began).Seconds()))
			b.mu.Unlock()
			return b.ends(ctx, service)
		},
		tell: func(_ []string, m notify.Message) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, m.Message)
		},
	}
	return b
}

// sees gives the loop a look in which these services have this content.
func (b *bench) sees(content map[string]string) {
	s := sight{content: content}
	for name := range content {
		s.services = append(s.services, name)
	}
	slices.Sort(s.services)
	b.looks <- s
	synctest.Wait()
}

// acted are the acts since the last call.
func (b *bench) takeActs() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.acts
	b.acts = nil
	slices.Sort(out)
	return out
}

// heard is what the app's receivers were told so far.
func (b *bench) heard() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.told)
}

func well(_ context.Context, service string) acted { return acted{service: service} }

func TestABurstOfChangesIsOneActAfterTheQuietPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, well)
		b.sees(map[string]string{"shop/web": "0", "shop/api": "0"})
		if got := b.takeActs(); !slices.Equal(got, []string{"shop/api at 0", "shop/web at 0"}) {
			t.Errorf("at the start %q", got)
		}
		if b.unit.count("ready") != 1 {
			t.Error("not ready after the first full look")
		}
		time.Sleep(10 * time.Second)
		for n := range 20 {
			b.sees(map[string]string{"shop/web": fmt.Sprint("burst", n), "shop/api": "0"})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if got := b.takeActs(); !slices.Equal(got, []string{"shop/web at 13.9"}) {
			t.Errorf("after 20 changes in two seconds from 10 on: %q", got)
		}
	})
}

func TestAServiceInTroubleHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(ctx context.Context, service string) acted {
			switch service {
			case "bad/web":
				return acted{service: service, err: fault.New(fault.Unhealthy, "gate: no"), message: notify.Message{Message: "bad"}}
			case "slow/web":
				<-ctx.Done() // as a gate that waits for its deadline
				return acted{service: service, err: errors.New("took too long"), message: notify.Message{Message: "slow"}}
			}
			return acted{service: service, changed: true}
		})
		b.sees(map[string]string{"bad/web": "0", "slow/web": "0", "good/web": "0"})
		b.takeActs()
		time.Sleep(5 * time.Second)
		b.sees(map[string]string{"bad/web": "0", "slow/web": "0", "good/web": "1"})
		time.Sleep(60 * time.Second)
		got := b.takeActs()
		if want := []string{"bad/web at 10", "bad/web at 30", "good/web at 7"}; !slices.Equal(got, want) {
			t.Errorf("acts %q, want %q: the pauses of the bad one grow, the good one waits for nobody", got, want)
		}
		if told := b.heard(); !slices.Equal(told, []string{"bad"}) {
			t.Errorf("told %q, want the bad one once", told)
		}
		time.Sleep(actLimit)
		if told := b.heard(); !slices.Contains(told, "slow") {
			t.Errorf("told %q: the work on the slow one has a limit", told)
		}
	})
}

func TestWhileNothingCanBeSeenNothingIsDoneAndItIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, well)
		b.looks <- sight{away: errors.New("connection refused")}
		synctest.Wait()
		if b.unit.count("ready") != 0 {
			t.Error("ready without having seen anything")
		}
		b.sees(map[string]string{"shop/web": "0"})
		b.takeActs()
		b.sees(map[string]string{"shop/web": "1"})
		b.looks <- sight{away: errors.New("connection refused")}
		time.Sleep(time.Minute)
		if got := b.takeActs(); len(got) != 0 {
			t.Errorf("acts while Consul is away: %q", got)
		}
		if b.unit.count("alive") < 11 {
			t.Errorf("%d signs of life in a minute: the loop itself is well", b.unit.count("alive"))
		}
		b.sees(map[string]string{"shop/web": "1"})
		if got := b.takeActs(); len(got) != 1 {
			t.Errorf("acts when Consul is back: %q, want what waited", got)
		}
	})
}

func TestTheWatchdogIsNotFedWhenSomethingHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		b := newBench(t, func(_ context.Context, service string) acted {
			<-block // deaf to the end of its time
			return acted{service: service}
		})
		time.Sleep(11 * time.Second)
		if n := b.unit.count("alive"); n != 2 {
			t.Errorf("%d signs of life in 11 s, want 2", n)
		}
		b.mu.Lock()
		b.beat = time.Now()
		b.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if n := b.unit.count("alive"); n > 2+24+1 {
			t.Errorf("%d signs of life though the looker has hung for minutes", n)
		}
		b.mu.Lock()
		b.beat = time.Time{}
		b.mu.Unlock()
		b.sees(map[string]string{"shop/web": "0"})
		time.Sleep(actLimit)
		n := b.unit.count("alive")
		time.Sleep(time.Hour)
		if more := b.unit.count("alive") - n; more > 60 {
			t.Errorf("%d more signs of life though work has hung for an hour beyond its time", more)
		}
		close(block)
	})
}

func TestAtMostFourServicesAreWorkedOnAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(_ context.Context, service string) acted {
			time.Sleep(time.Second)
			return acted{service: service}
		})
		content := map[string]string{}
		for n := range 10 {
			content[fmt.Sprintf("app%d/web", n)] = "0"
		}
		b.sees(content)
		time.Sleep(time.Minute)
		at := map[string]int{}
		for _, a := range b.takeActs() {
			_, when, _ := strings.Cut(a, " at ")
			at[when]++
		}
		if at["0"] != 4 || at["1"] != 4 || at["2"] != 2 {
			t.Errorf("begun at %v", at)
		}
	})
}

func TestTheLoopEndsWhenItsWorkHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		ctx, stop := context.WithCancel(t.Context())
		b := benchOf(func(ctx context.Context, service string) acted {
			<-ctx.Done()
			time.Sleep(3 * time.Second) // takes back what it began
			ended = true
			return acted{service: service, err: ctx.Err(), message: notify.Message{Message: "interrupted"}}
		})
		gone := make(chan struct{})
		go func() { defer close(gone); b.run(ctx) }()
		b.sees(map[string]string{"shop/web": "0"})
		stop()
		<-gone
		if !ended || b.unit.count("stopping") != 1 || len(b.heard()) != 0 {
			t.Errorf("ended %v, told %q, heard %q", ended, b.heard(), b.unit.heard)
		}
	})
}
