package nodeagent

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"svckit/lib/fault"
)

// Bounds of who asks at a time, and for how long.
const (
	connections = 64
	requests    = 8
	askLimit    = 10 * time.Second
	idleLimit   = time.Minute
	headerLimit = 8 << 10
)

// Serving is where and to whom the agent answers.
type Serving struct {
	Listen  string                 // address:port
	TLS     *tls.Config            // nil: plain HTTP
	Token   func() (string, error) // what a client must show; nil: nothing
	Metrics http.Handler           // of /metrics; nil: there are none
	// Listener is used instead of Listen where it is not nil.
	Listener net.Listener
}

func (s Serving) listen() (net.Listener, error) {
	if s.Listener != nil {
		return s.Listener, nil
	}
	if s.Listen == "" { // would be every address
		return nil, fault.New(fault.Invalid, "serve samples: no address")
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return nil, fault.New(fault.Failed, "listen: %w", err)
	}
	return l, nil
}

// serveOn answers until ctx ends.
func (a *Agent) serveOn(ctx context.Context, l net.Listener) error {
	l = netutil.LimitListener(l, connections)
	if a.Serve.TLS != nil {
		l = tls.NewListener(l, a.Serve.TLS)
	}
	server := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: askLimit, WriteTimeout: askLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: headerLimit, ErrorLog: a.Log.StandardLogger(nil),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fault.New(fault.Failed, "serve samples: %w", err)
	case <-ctx.Done():
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// handler answers /v1/sample and /metrics to those who may ask.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	s := &packed{agent: a}
	mux.Handle("GET /v1/sample", s)
	if a.Serve.Metrics != nil {
		mux.Handle("GET /metrics", a.Serve.Metrics)
	}
	room := make(chan struct{}, requests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		default:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		if a.Serve.Token != nil {
			want, err := a.Serve.Token()
			if err != nil {
				a.Log.Error("token not read: nobody is answered", "error", err)
				http.Error(w, "no token", http.StatusInternalServerError)
				return
			}
			if !shows(r, want) {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.Header().Set("Connection", "close") // who may not ask keeps no room
				http.Error(w, "not allowed", http.StatusUnauthorized)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// packed writes the last sample, which is packed once for all who ask for it.
type packed struct {
	agent *Agent

	mu     sync.Mutex
	read   int
	plain  []byte
	zipped []byte
}

func (p *packed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plain, zipped, err := p.last()
	if err != nil {
		p.agent.Log.Error("sample not packed", "error", err)
		http.Error(w, "no sample", http.StatusInternalServerError)
		return
	}
	if plain == nil {
		http.Error(w, "no reading yet", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		plain = zipped
	}
	_, _ = w.Write(plain) // the reader may have gone
}

func (p *packed) last() (plain, zipped []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, read := p.agent.sample()
	if read == 0 {
		return nil, nil, nil
	}
	if read == p.read {
		return p.plain, p.zipped, nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		return nil, nil, err
	}
	if err := z.Close(); err != nil {
		return nil, nil, err
	}
	p.read, p.plain, p.zipped = read, append(text, '\n'), b.Bytes()
	return p.plain, p.zipped, nil
}
