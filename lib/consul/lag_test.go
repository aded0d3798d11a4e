package consul

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/answer"
)

func TestAnOlderStateIsBelievedWhenItStays(t *testing.T) {
	var l lag
	for n, row := range []struct {
		index  uint64
		at     time.Duration
		behind bool
	}{
		{13, 0, false},
		{13, time.Second, false},
		{12, 2 * time.Second, true},
		{11, 11 * time.Second, true},
		{14, 11 * time.Second, false},
		{12, 20 * time.Second, true}, // time begins anew
		{12, 29 * time.Second, true},
		{12, 30 * time.Second, false},
		{12, 31 * time.Second, false},
		{11, 32 * time.Second, true},
	} {
		if got := l.behind(row.index, time.Unix(1000, 0).Add(row.at)); got != row.behind {
			t.Errorf("answer %d: index %d after %s is behind: %v", n, row.index, row.at, got)
		}
	}
}

// A leader is lost, and the agent asks a server that has not heard of everything yet.
func TestAStateOfAServerThatIsBehindIsNotTold(t *testing.T) {
	instances := func(count int) string {
		text := ""
		for n := range count {
			text += fmt.Sprintf(`,{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"w%d","Service":"web","Port":80}}`, n)
		}
		return "[" + text[min(1, len(text)):] + "]"
	}
	var asked atomic.Int64
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		index, count := 13, 1
		switch n := asked.Add(1); {
		case n == 2:
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "rpc error: EOF")
			return
		case n == 3 || n == 4:
			index, count = 12, 0
		case n == 5:
			index, count = 14, 2
		case n > 5:
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", fmt.Sprint(index))
		fmt.Fprint(w, instances(count))
	}))
	defer agent.Close()
	c, err := OpenAt(agent.Listener.Addr().String(), "svc", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var told []string
	c.Follow(ctx, answer.Subject{Name: "web", Datacenter: "dc1"}, func(s answer.State, err error) {
		if err != nil {
			told = append(told, "error")
			return
		}
		told = append(told, fmt.Sprint(len(s.Instances)))
		if len(s.Instances) == 2 {
			cancel()
		}
	})
	if want := []string{"1", "error", "2"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
