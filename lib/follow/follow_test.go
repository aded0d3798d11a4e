package follow

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/answer"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const web = "web.service.consul"

func TestFirstQuestionStartsAWatchAndIdlenessEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a", "b")
		k, stop := start(t, settings(), c, true)
		defer stop()
		want(t, k, web, answer.Success, 2)
		synctest.Wait()
		for range 100 {
			want(t, k, web, answer.Success, 2)
		}
		if reads, follows := c.counts(); reads != 1 || follows != 1 {
			t.Errorf("%d reads and %d watches, want one of each", reads, follows)
		}
		c.set(func() { c.states[service("web")] = passing("a") })
		synctest.Wait()
		if p := k.Find(key(web), time.Now().UnixNano()); p == nil || p.Records() != 1 {
			t.Errorf("the change is not in the table: %+v", p)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if _, follows := c.counts(); follows != 0 || k.Stats().Subjects != 0 {
			t.Errorf("%d watches, %d subjects after eleven minutes without a question", follows, k.Stats().Subjects)
		}
		if p := k.Find(key(web), time.Now().UnixNano()); p != nil {
			t.Error("the table still answers")
		}
	})
}

func TestBeyondTheWatchesServicesAreReadWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		s := settings()
		s.Watches = 2
		k, stop := start(t, s, c, true)
		defer stop()
		for n := range 5 {
			c.set(func() { c.states[service(fmt.Sprint("s", n))] = passing("a") })
			want(t, k, fmt.Sprintf("s%d.service.consul", n), answer.Success, 1)
		}
		synctest.Wait()
		if _, follows := c.counts(); follows != 2 {
			t.Errorf("%d watches, want 2", follows)
		}
		before, _ := c.counts()
		for range 50 {
			want(t, k, "s4.service.consul", answer.Success, 1)
		}
		if reads, _ := c.counts(); reads != before {
			t.Errorf("%d reads within a second of the last", reads-before)
		}
		c.set(func() { c.states[service("s4")] = passing("a", "b") })
		time.Sleep(time.Second)
		want(t, k, "s4.service.consul", answer.Success, 2)

		time.Sleep(40 * time.Second) // s4 takes the place of one that nobody asked for
		want(t, k, "s4.service.consul", answer.Success, 2)
		synctest.Wait()
		if _, follows := c.counts(); follows != 2 || !k.Explain("s4.service.consul").Watched {
			t.Errorf("%d watches, s4 %+v", follows, k.Explain("s4.service.consul"))
		}
	})
}

func TestEqualQuestionsWaitForOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.delay = time.Second
		c.states[service("web")] = passing("a")
		k, stop := start(t, settings(), c, true)
		defer stop()
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() { want(t, k, web, answer.Success, 1) })
		}
		wait.Wait()
		if reads, _ := c.counts(); reads != 1 {
			t.Errorf("%d reads for 100 questions at once", reads)
		}
	})
}

func TestTheLastGoodStateAnswersWhileConsulIsAwayForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a")
		s := settings()
		s.MaxAge = time.Hour
		s.Idle = 48 * time.Hour
		k, stop := start(t, s, c, true)
		defer stop()
		want(t, k, web, answer.Success, 1)
		synctest.Wait()
		c.set(func() { c.err = errAway })
		synctest.Wait()
		for range 50 {
			time.Sleep(time.Minute)
			want(t, k, web, answer.Success, 1)
		}
		want(t, k, "other.service.consul", answer.ServerFailure, 0)
		if st := k.Stats(); !st.Away || st.Stale != 1 || st.Oldest < 49*time.Minute {
			t.Errorf("stats %+v", st)
		}
		if e := k.Explain(web); !e.Stale || e.Age < 40*60 {
			t.Errorf("explained as %+v", e)
		}
		if ttl := k.policy(true).TTL; ttl != 1 {
			t.Errorf("TTL %d while Consul is away, want 1", ttl)
		}
		time.Sleep(11 * time.Minute)
		want(t, k, web, answer.ServerFailure, 0)

		c.set(func() { c.err = nil })
		time.Sleep(2 * time.Second)
		want(t, k, web, answer.Success, 1)
		if k.Stats().Away {
			t.Error("still taken as away")
		}
	})
}

func TestSnapshotCarriesTheStateOverARestartWithoutConsul(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a", "b")
		s := settings()
		s.File = filepath.Join(t.TempDir(), "svc-dns.json")
		k, stop := start(t, s, c, true)
		want(t, k, web, answer.Success, 2)
		synctest.Wait()
		stop()

		c.set(func() { c.err = errAway })
		k, stop = start(t, s, c, true)
		want(t, k, web, answer.Success, 2)
		stop()

		time.Sleep(25 * time.Hour)
		k, stop = start(t, s, c, true)
		want(t, k, web, answer.ServerFailure, 0)
		stop()

		text, err := os.ReadFile(s.File)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if _, err := decodeSnapshot(text); err == nil {
			t.Error("a damaged snapshot is read")
		}
	})
}

func TestInstancesOfARestartingAgentAreHeldAndThenNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a", "b")
		c.nodes["node1"] = true
		s := settings()
		s.Hold = 30 * time.Second
		k, stop := start(t, s, c, true)
		defer stop()
		want(t, k, web, answer.Success, 2)
		synctest.Wait()
		restarting := passing("a", "b")
		for n := range restarting.Instances {
			restarting.Instances[n].Health, restarting.Instances[n].Unchecked = fleet.Critical, true
		}
		c.set(func() { c.states[service("web")] = restarting })
		synctest.Wait()
		want(t, k, web, answer.Success, 2)
		time.Sleep(20 * time.Second)
		want(t, k, web, answer.Success, 2)
		time.Sleep(11 * time.Second)
		want(t, k, web, answer.NameError, 0)
		c.set(func() { c.states[service("web")] = passing("a", "b") })
		synctest.Wait()
		want(t, k, web, answer.Success, 2)
	})
}

func TestHeldInstancesWhosePortIsClosedLeaveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a", "b")
		k, stop := start(t, settings(), c, false)
		defer stop()
		want(t, k, web, answer.Success, 2)
		synctest.Wait()
		c.set(func() { c.states[service("web")] = answer.State{} }) // with its node
		time.Sleep(100 * time.Millisecond)
		want(t, k, web, answer.NameError, 0)
	})
}

func TestAHeldInstanceIsLetGoWhenItIsSilentThreeTimesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a")
		c.nodes["node1"] = true
		var silent atomic.Int32 // so many more probes get no answer
		probe := func(ctx context.Context, _ string, _ int) bool {
			if silent.Add(-1) < 0 {
				return true
			}
			<-ctx.Done()
			return false
		}
		k := New(settings(), c, probe, time.Now, hclog.NewNullLogger())
		defer run(t, k)()
		want(t, k, web, answer.Success, 1)
		synctest.Wait()
		restarting := passing("a")
		restarting.Instances[0].Health, restarting.Instances[0].Unchecked = fleet.Critical, true
		silent.Store(2)
		c.set(func() { c.states[service("web")] = restarting })
		time.Sleep(2 * time.Second)
		want(t, k, web, answer.Success, 1)
		silent.Store(3)
		time.Sleep(1500 * time.Millisecond) // until the next try, and three times 300 ms
		want(t, k, web, answer.NameError, 0)
	})
}

func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		s := settings()
		s.Names = 100
		k, stop := start(t, s, c, true)
		defer stop()
		for n := range 1000 {
			want(t, k, fmt.Sprintf("no%d.service.consul", n), answer.NameError, 0)
		}
		if n := k.Stats().Subjects; n > 100 {
			t.Errorf("%d names kept, want 100 at most", n)
		}
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add([]byte(`{"schema":1,"sha256":"4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945","body":[]}`))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = decodeSnapshot(text) })
}

// A token that is withdrawn: Consul is there, and says no.
func TestTheLastGoodStateAnswersWhileConsulRefusesToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsul()
		c.states[service("web")] = passing("a")
		var log bytes.Buffer
		k := New(settings(), c, func(context.Context, string, int) bool { return true }, time.Now, hclog.New(&hclog.LoggerOptions{Output: &log}))
		defer run(t, k)()
		want(t, k, web, answer.Success, 1)
		synctest.Wait()
		c.set(func() { c.err = fault.WithHint(fault.New(fault.Failed, "not allowed"), "give it the rule") })
		synctest.Wait()
		before, _ := c.counts()
		for range 600 { // ten questions a second
			want(t, k, web, answer.Success, 1)
			want(t, k, "other.service.consul", answer.ServerFailure, 0)
			time.Sleep(100 * time.Millisecond)
		}
		if reads, _ := c.counts(); reads-before > 125 {
			t.Errorf("%d reads in a minute of refusals of two subjects, want one a second for each", reads-before)
		}
		if st := k.Stats(); st.Away || st.Stale != 1 || st.Refused != 2 {
			t.Errorf("stats %+v", st)
		}
		if e := k.Explain(web); !e.Stale || e.Problem != "not allowed" {
			t.Errorf("explained as %+v", e)
		}
		if n := strings.Count(log.String(), "[ERROR]"); n != 1 || !strings.Contains(log.String(), "give it the rule") {
			t.Errorf("%d errors in the log, want one with the hint:\n%s", n, log.String())
		}
		c.set(func() { c.err = nil })
		time.Sleep(2 * time.Second)
		want(t, k, web, answer.Success, 1)
		want(t, k, "other.service.consul", answer.NameError, 0)
		if st := k.Stats(); st.Refused != 0 || st.Stale != 0 {
			t.Errorf("afterwards %+v", st)
		}
		if !strings.Contains(log.String(), "tells all that is asked for again") {
			t.Errorf("the log says nothing of the end:\n%s", log.String())
		}
	})
}
