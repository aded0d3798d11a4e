package notify

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

// receiver answers with the given codes in turn, the last one for ever, and keeps what it got.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	codes []int
	got   []Message
}

func newReceiver(t *testing.T, codes ...int) *receiver {
	r := &receiver{codes: codes}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		var m Message
		if err := json.NewDecoder(req.Body).Decode(&m); err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %s: %v", req.Method, req.Header.Get("Content-Type"), err)
		}
		r.got = append(r.got, m)
		code := r.codes[0]
		if len(r.codes) > 1 {
			r.codes = r.codes[1:]
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Message(nil), r.got...)
}

func TestAMessageArrivesWhole(t *testing.T) {
	r := newReceiver(t, http.StatusNoContent)
	sent := Message{
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Event: "up failed", Kind: "unhealthy", App: "shop", Service: "web", Node: "node1",
		Program: "svc-run", Release: "r1", Message: "gate shop-web-1: no", Hint: "look", Detail: []string{"one", "two"},
	}
	if err := New("svc-run").Send(t.Context(), []string{r.URL + "/a", r.URL + "/a"}, sent); err != nil {
		t.Fatal(err)
	}
	got := r.messages()
	if len(got) != 1 {
		t.Fatalf("%d messages, want 1: the receiver is named twice", len(got))
	}
	a, _ := json.Marshal(got[0])
	sent.Schema = 1
	if b, _ := json.Marshal(sent); string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

func TestOnlySuccessIsSuccessAndOnlyTroubleIsTriedAgain(t *testing.T) {
	for _, row := range []struct {
		name  string
		codes []int
		tries int
		want  string // in the error; "" is none
	}{
		{"well", []int{200}, 1, ""},
		{"one bad moment", []int{500, 202}, 2, ""},
		{"too many requests", []int{429, 200}, 2, ""},
		{"always broken", []int{503}, retries + 1, "it answers 503 Service Unavailable"},
		{"wrong token", []int{403}, 1, "it answers 403 Forbidden"},
		{"moved", []int{302}, 1, "it answers 302 Found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, row.codes...)
			s := New("svc-run")
			s.client.RetryWaitMin, s.client.RetryWaitMax = time.Millisecond, 2*time.Millisecond
			err := s.Send(t.Context(), []string{r.URL + "/secret-token"}, Message{Event: "e"})
			if n := len(r.messages()); n != row.tries {
				t.Errorf("%d tries, want %d", n, row.tries)
			}
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("error %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret-token") {
				t.Errorf("the error shows the path of the webhook: %v", err)
			}
		})
	}
}

func TestARedirectIsFollowedWithinTheSameHostOnly(t *testing.T) {
	other := newReceiver(t, 200)
	var moved atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new", http.StatusPermanentRedirect)
	})
	mux.HandleFunc("/new", func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.ContentLength > 0 {
			moved.Add(1)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s := New("svc-run")
	if err := s.Send(t.Context(), []string{server.URL + "/here"}, Message{}); err != nil || moved.Load() != 1 {
		t.Errorf("within the host: %v, %d arrived", err, moved.Load())
	}
	if err := s.Send(t.Context(), []string{server.URL + "/away"}, Message{}); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("to another host: %v, want 307 as its answer", err)
	}
	if n := len(other.messages()); n != 0 {
		t.Errorf("the other host got %d messages", n)
	}
}

func TestARefusedConnectionIsAnErrorWithoutTheURL(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	s := New("svc-run")
	s.client.RetryWaitMin, s.client.RetryWaitMax = time.Millisecond, 2*time.Millisecond
	to := []string{server.URL + "/secret-token", "http://user:pass@", "://secret-token"}
	err := s.Send(t.Context(), to, Message{})
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Count(err.Error(), "not a URL") != 2 {
		t.Fatalf("error %v", err)
	}
	for _, secret := range []string{"secret-token", "pass"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows %q: %v", secret, err)
		}
	}
}

// world is a network in virtual time: a host named hang never answers.
type world struct{ arrived atomic.Int32 }

func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "hang" {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	w.arrived.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

func TestAReceiverThatHangsHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, net := New("svc-run"), &world{}
		s.client.HTTPClient.Transport = net
		began := time.Now()
		err := s.Send(t.Context(), []string{"http://hang/a", "http://good/b", "http://hang/c"}, Message{})
		if took := time.Since(began); took != Limit || net.arrived.Load() != 1 {
			t.Errorf("took %s, want %s; %d arrived, want 1", took, Limit, net.arrived.Load())
		}
		if err == nil || strings.Count(err.Error(), "tell hang: no answer in time") != 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAQueueNeverBlocksAndSendsWhatWaitsWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, net := New("svc-reload"), &world{}
		s.client.HTTPClient.Transport = net
		q := s.Queue(hclog.NewNullLogger())
		began := time.Now()
		for range queued + 10 {
			q.Put([]string{"http://good/"}, Message{})
		}
		q.Put(nil, Message{})
		if took := time.Since(began); took != 0 {
			t.Errorf("putting took %s", took)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); q.Run(ctx) }()
		synctest.Wait()
		if n := net.arrived.Load(); n != queued {
			t.Errorf("%d arrived, want %d: what is too much is dropped", n, queued)
		}
		q.Put([]string{"http://hang/"}, Message{})
		synctest.Wait()
		stop()
		q.Put([]string{"http://good/"}, Message{})
		<-done
		if took := time.Since(began); took > 2*Limit {
			t.Errorf("ended after %s, want at most %s", took, 2*Limit)
		}
	})
}

func TestEveryPartOfAMessageIsBounded(t *testing.T) {
	long := strings.Repeat("é\xff", 5000)
	m := Message{Event: long, Message: long, Hint: long, Release: long}
	for range 1000 {
		m.Detail = append(m.Detail, long)
	}
	m.Detail = append(m.Detail, "the last line")
	b := m.bounded()
	text, err := json.Marshal(b)
	if err != nil || len(text) > 32<<10 || !utf8.Valid(text) {
		t.Errorf("%d bytes, error %v", len(text), err)
	}
	if len(b.Message) > maxMessage || len(b.Detail) != maxDetail || b.Detail[maxDetail-1] != "the last line" {
		t.Errorf("message %d bytes, %d lines, last %q", len(b.Message), len(b.Detail), b.Detail[len(b.Detail)-1])
	}
}
