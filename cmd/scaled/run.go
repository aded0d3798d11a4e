package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/urfave/cli/v2"
	"golang.org/x/net/netutil"
	"gopkg.in/natefinch/lumberjack.v2"

	"svckit/lib/consul"
	"svckit/lib/fault"
	"svckit/lib/here"
	"svckit/lib/lead"
	"svckit/lib/node"
	"svckit/lib/nodeagent"
	"svckit/lib/notify"
	"svckit/lib/systemd"
	"svckit/lib/tool"
)

func runCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "plan for the fleet, or wait for the turn to",
		Description: `Any number of planners may run; one of them leads, by a session lock in Consul. It asks the monitors of
all nodes for their samples every five seconds, decides, and writes for each node what it is to run; nodes
do the rest (scaled node). Every write is fenced: one that leads no longer writes nothing. A new leader
lowers nothing for a minute. With every planner gone, nodes keep to what they were told last.

A page at --listen shows the fleet, each service over time, and why it has the size it has; with a token it
asks for that as the password.

Decisions go to ` + "`scaled/journal.jsonl`" + ` in the state folder, each with all it was made from; alarms go to
the notify: of the app.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:9521", Usage: "serve the page, metrics and health at `IP:PORT`; beyond the loopback a token (scaled_token_file) or certificates are needed; \"\" serves nothing"},
		},
		Action: tool.Daemon(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			if len(s.Args) > 0 {
				return fault.New(fault.Usage, "run takes no argument: it plans for the whole fleet")
			}
			return run(ctx, w, s, c.String("listen"))
		}),
	}
}

func run(ctx context.Context, w *here.Node, s *tool.Session, listen string) error {
	client, planner, err := fleetOf(w, s)
	if err != nil {
		return err
	}
	settings, err := w.Settings(s)
	if err != nil {
		return err
	}
	unit, err := systemd.Open()
	if err != nil {
		return err
	}
	journal, err := openJournal(settings)
	if err != nil {
		return err
	}
	defer journal.Close()
	shown, may := &seen{now: w.Now, trail: trail{}}, accessOf(settings)
	served, err := serve(listen, shown, may)
	if err != nil {
		return err
	}
	defer served.Close()
	queue := notify.New(s.Program).Queue(s.Log)
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	sent := make(chan struct{})
	go func() { defer close(sent); queue.Run(sending) }()
	defer func() { stopSending(); <-sent }()

	host, _ := os.Hostname()
	a := &alarms{put: queue.Put, node: host, program: s.Program, log: s.Log}
	k := &candidate{
		who: client.Planner, planner: planner, memory: memoryPath(settings), told: a.after, seen: shown, log: s.Log, now: w.Now,
		journal: func(lines []byte) error { _, err := journal.Write(lines); return err },
		lead: func(ctx context.Context) (*consul.Lease, error) {
			return takeLead(ctx, w, s, client, pageAt(listen, may), forever)
		},
	}
	if err := unit.Ready("waits for its turn to plan"); err != nil {
		s.Log.Warn("service manager not told", "error", err)
	}
	go beat(ctx, unit, shown)
	k.run(ctx)
	return ctx.Err()
}

// forever is longer than a planner waits for its turn.
const forever = 100 * 365 * 24 * time.Hour

// beat feeds the watchdog while cycles are carried out.
func beat(ctx context.Context, unit *systemd.Unit, s *seen) {
	if unit.Every == 0 {
		return
	}
	for pause(ctx, unit.Every) {
		if s.fresh() {
			_ = unit.Alive()
		}
	}
}

// Bounds of the journal on disk.
const (
	journalMiB  = 64
	journalKept = 8
)

func openJournal(n node.Settings) (*lumberjack.Logger, error) {
	path := journalPath(n)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &lumberjack.Logger{Filename: path, MaxSize: journalMiB, MaxBackups: journalKept, Compress: true}, nil
}

// serve answers with the page, /metrics and /health: beyond the loopback only to
// clients that are known. /health says nothing of the fleet, and is for everybody.
func serve(address string, s *seen, may nodeagent.Access) (*http.Server, error) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newMetrics(s))
	inner := http.NewServeMux()
	inner.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	inner.Handle("GET /", pages(s))
	if address == "" {
		return &http.Server{ReadHeaderTimeout: time.Second}, nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil || at.Port() == 0 {
		return nil, fault.New(fault.Usage, "--listen %q: expected an IP address and a port, e.g. 127.0.0.1:9521", address)
	}
	if err := may.Check(at); err != nil {
		return nil, err
	}
	known := http.Handler(inner)
	if !at.Addr().IsLoopback() {
		if known, err = may.Guard(inner); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", known)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if !s.fresh() {
			http.Error(w, "no cycle was carried out for long", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	l = netutil.LimitListener(l, pageConnections)
	if config, err := may.TLS(); err != nil {
		return nil, err
	} else if config != nil && !at.Addr().IsLoopback() {
		l = tls.NewListener(l, config)
	}
	go func() { _ = server.Serve(l) }()
	return server, nil
}

// pageConnections bounds who looks at the page at a time.
const pageConnections = 64

// pageAt is where people find the page of a planner; "" where it serves none.
func pageAt(address string, may nodeagent.Access) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	if at.Addr().IsLoopback() {
		return "http://" + address + "/"
	}
	return may.Scheme() + "://" + address + "/"
}

// alarms tells the receivers of apps which alarms begin and end.
type alarms struct {
	put           func(to []string, m notify.Message)
	node, program string
	before        []lead.Alarm
	log           hclogger
}

// hclogger is what alarms log with.
type hclogger interface {
	Warn(msg string, args ...any)
	Info(msg string, args ...any)
}

// after compares the alarms of a cycle with those of the one before.
func (a *alarms) after(_ context.Context, c lead.Cycle) {
	began, ended := lead.Changed(a.before, c.Alarms)
	a.before = c.Alarms
	for _, x := range began {
		a.log.Warn("alarm", "service", x.Service, "code", x.Code, "words", x.Words)
		a.tell(c, x, "alarm "+string(x.Code))
	}
	for _, x := range ended {
		a.log.Info("alarm ended", "service", x.Service, "code", x.Code)
		a.tell(c, x, "alarm "+string(x.Code)+" ended")
	}
}

func (a *alarms) tell(c lead.Cycle, x lead.Alarm, event string) {
	app, service, _ := strings.Cut(x.Service, "/")
	var to []string
	for _, v := range c.Services {
		if x.Service != "" && v.Name != x.Service {
			continue
		}
		for _, n := range v.Notify {
			if !slices.Contains(to, n.Webhook) {
				to = append(to, n.Webhook)
			}
		}
	}
	if len(to) > 0 {
		hint := "scaled plan " + x.Service
		a.put(to, notify.Message{At: c.At.UTC(), Event: event, Kind: "alarm", App: app, Service: service, Node: a.node, Program: a.program, Message: x.Words, Hint: strings.TrimSpace(hint)})
	}
}
