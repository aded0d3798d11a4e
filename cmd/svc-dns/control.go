package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"svckit/lib/fault"
)

// control answers `svc-dns lookup` on a Unix socket, and scrapes on the metrics address.
func (v *serving) control(ctx context.Context) (stop func(), err error) {
	path := controlPath(v.node)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "open control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fault.New(fault.Failed, "open control socket: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // after a handover it is the next server's
	mux := http.NewServeMux()
	mux.HandleFunc("GET /lookup", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v.keeper.Explain(r.URL.Query().Get("name"))) // the reader may have gone
	})
	metrics := promhttp.HandlerFor(v.registry(), promhttp.HandlerOpts{})
	mux.Handle("GET /metrics", metrics)
	servers := []*http.Server{serveHTTP(l, mux)}
	if v.o.metrics != "off" && v.o.metrics != "" {
		open := http.NewServeMux()
		open.Handle("GET /metrics", metrics)
		// During a handover the address is still the old server's for a moment.
		go func() {
			if m := listenPatiently(ctx, v.o.metrics, func(err error) {
				v.s.Log.Warn("metrics not served yet", "at", v.o.metrics, "error", err)
			}); m != nil {
				srv := serveHTTP(m, open)
				<-ctx.Done()
				srv.Close()
			}
		}()
	}
	return func() {
		for _, s := range servers {
			s.Close()
		}
	}, nil
}

func listenPatiently(ctx context.Context, address string, tell func(error)) net.Listener {
	for told := false; ; {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l
		}
		if !told {
			tell(err)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func serveHTTP(l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = s.Serve(l) }() // ends with Close
	return s
}
