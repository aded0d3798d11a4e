package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/bench/stage"
	"svckit/lib/consul"
	"svckit/lib/fleet"
)

// The fleet of this measurement.
const (
	manyServices = 500
	manyNodes    = 32
	manyFor      = 60 * time.Second
	manySettle   = 80 * time.Second // a new leader lowers nothing for a minute
)

// fake is a node that obeys at once and tells of a load that comes and goes.
type fake struct {
	name string
	all  *seenBy

	mu   sync.Mutex
	want fleet.Want
	at   int64
}

// seenBy is what all nodes were told.
type seenBy struct {
	mu      sync.Mutex
	workers map[string]int // of each service, on all nodes
	list    []float64      // delays with which nodes had their wishes
	count   bool           // whether delays are kept
}

// told takes in that a node has a new wish instead of an old one.
func (s *seenBy) told(old, now fleet.Want, took float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range old.Services {
		s.workers[a.Name] -= a.Count
	}
	for _, a := range now.Services {
		s.workers[a.Name] += a.Count
	}
	if s.count {
		s.list = append(s.list, took)
	}
}

// share is the part of a service's workers that a node has.
func (s *seenBy) share(a fleet.Allotment) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(a.Count) / float64(max(s.workers[a.Name], 1))
}

// many runs a planner of 500 services on 32 nodes that are programs of this one.
// Consul, the planner, its pulls and its writes are real.
func many(pace float64) error {
	dir, err := os.MkdirTemp(os.Getenv("SVCKIT_TEST_RUN"), "many")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server := exec.Command(os.Getenv("SVCKIT_TEST_CONSUL"), "agent", "-server", "-bootstrap-expect=1", "-node=bench", "-bind=127.0.0.1", "-data-dir="+dir+"/consul", "-log-level=error", "-hcl", "performance { raft_multiplier = 1 }")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	client, err := consul.OpenAt(strings.TrimPrefix(agent, "http://"), "svc", hclog.NewNullLogger())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := stage.Until(30*time.Second, "consul", func() error { _, err := client.Monitors(ctx); return err }); err != nil {
		return err
	}
	if err := stage.Until(30*time.Second, "releases in consul", func() error { return manyReleases(ctx, client) }); err != nil {
		return err
	}
	seen := seenBy{workers: map[string]int{}}
	for k := range manyNodes {
		if err := manyNode(ctx, client, k, &seen); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(dir, "run.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	planner := exec.Command("scaled", "run")
	planner.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+agent, "SVC_CONFIG=", "SVC_STATE_DIR="+dir+"/state")
	planner.Stdout, planner.Stderr, planner.SysProcAttr = log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := planner.Start(); err != nil {
		return err
	}
	defer func() { _ = planner.Process.Kill(); _ = planner.Wait() }()
	err = stage.Until(3*time.Minute, "the first placement of all services", func() error {
		n, err := placed(ctx, client)
		if err == nil && n != manyServices {
			err = fmt.Errorf("%d services are placed", n)
		}
		return err
	})
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, text[max(len(text)-2000, 0):])
	}
	time.Sleep(time.Duration(float64(manySettle) / pace))
	return watchMany(ctx, planner, &seen, time.Duration(float64(manyFor)/pace))
}

func manyReleases(ctx context.Context, c *consul.Client) error {
	now := time.Now().UTC()
	for k := range manyServices {
		app := fmt.Sprintf("app%d", k)
		text := fmt.Sprintf("app: %s\nbuild: {image: registry.test/%s}\nservices:\n  web:\n    command: [gunicorn]\n    master: gunicorn\n    port: 8000\n"+
			"    resources: {cpu: 0.05}\n    scale: {strategy: busy_ratio, target: 0.6, min: 2, min_nodes: 2, survive: node}\n", app, app)
		_, err := c.Release(ctx, app, "r1")
		if err != nil {
			err = c.PutRelease(ctx, fleet.Release{App: app, Name: "r1", Image: "registry.test/" + app + "@sha256:" + strings.Repeat("0", 64), Spec: text, BuiltBy: "bench", BuiltAt: now})
		}
		if err != nil {
			return err
		}
		if err := c.SetCurrent(ctx, app, fleet.Current{Services: map[string]fleet.Pointer{"web": {Release: "r1", At: now, By: "bench"}}}); err != nil && !strings.Contains(err.Error(), "changed") {
			return err
		}
	}
	return nil
}

// manyNode registers a node whose monitor is served here, and follows its wish.
func manyNode(ctx context.Context, c *consul.Client, k int, seen *seenBy) error {
	n := &fake{name: fmt.Sprintf("node%02d", k), all: seen}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: n, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	go func() { <-ctx.Done(); _ = server.Close() }()
	body, err := json.Marshal(map[string]any{
		"Node": n.name, "Address": "127.0.0.1", "NodeMeta": map[string]string{"zone": string(rune('a' + k%3))}, "SkipNodeUpdate": false,
		"Service": map[string]any{
			"ID": fleet.MonitorService, "Service": fleet.MonitorService, "Address": "127.0.0.1", "Port": l.Addr().(*net.TCPAddr).Port,
			"Meta": map[string]string{"scheme": "http"},
		},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, agent+"/v1/catalog/register", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("register %s: %s", n.name, res.Status)
	}
	go func() {
		_ = c.FollowWant(ctx, n.name, func(w fleet.Want, err error) {
			if err != nil {
				return
			}
			took := time.Since(w.At).Seconds()
			n.mu.Lock()
			old := n.want
			n.want = w
			n.mu.Unlock()
			seen.told(old, w, took)
		})
	}()
	return nil
}

func (n *fake) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n.mu.Lock()
	n.at++
	s := fleet.Sample{Schema: 1, Node: n.name, At: time.Now().Unix() + n.at, Epoch: n.want.Epoch, Gen: n.want.Gen, CPUs: 16, Memory: 64 << 30}
	for _, x := range n.want.Services {
		if x.Count == 0 {
			continue
		}
		s.Services = append(s.Services, fleet.ServiceSample{Name: x.Name, Instances: 1, Ready: x.Count, Release: "r1", Requests: loadOf(x.Name, n.all.share(x))})
	}
	n.mu.Unlock()
	_ = json.NewEncoder(w).Encode(s)
}

// loadOf is the load of a service on one node: its share of three busy workers, more
// and less within ten minutes, each service at another time. Counting a minute of
// fifteen requests a second is wrong by 3 % (1/√900), counting ten seconds by 8 %.
func loadOf(name string, share float64) *fleet.Requests {
	const service, cycle = 0.2, 600.0
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	phase := float64(h.Sum32()%uint32(cycle)) / cycle
	rate := share * 3 * (1 + 0.3*math.Sin(2*math.Pi*(float64(time.Now().Unix())/cycle+phase))) / service
	long, short := rate*(1+0.03*rand.NormFloat64()), rate*(1+0.08*rand.NormFloat64())
	return &fleet.Requests{
		Rate1: max(short, 0), Rate10: max(short, 0), Rate60: long, Done10: max(short, 0), Done60: long, Marks: true, Slots: 1,
		Busy: long * service, Busy10: max(short, 0) * service, Busy60: long * service, Service: service, CV2: 1,
	}
}

func placed(ctx context.Context, c *consul.Client) (int, error) {
	wants, _, err := c.Wants(ctx)
	names := map[string]bool{}
	for _, w := range wants {
		for _, a := range w.Services {
			if a.Count > 0 {
				names[a.Name] = true
			}
		}
	}
	return len(names), err
}

// watchMany looks at a settled planner for a while.
func watchMany(ctx context.Context, planner *exec.Cmd, seen *seenBy, d time.Duration) error {
	var cycles, documents, kilobytes []float64
	before, _, err := documentsNow(ctx)
	if err != nil {
		return err
	}
	entries, err := raftIndex(ctx)
	if err != nil {
		return err
	}
	seen.mu.Lock()
	seen.count = true
	seen.mu.Unlock()
	spentCPU := make(chan float64, 1)
	go func() { ms, _ := spent(planner, d); spentCPU <- ms }()
	began := time.Now()
	for time.Since(began) < d {
		time.Sleep(5 * time.Second) // a cycle
		took, err := metric("scaled_cycle_seconds")
		if err != nil {
			return err
		}
		now, size, err := documentsNow(ctx)
		if err != nil {
			return err
		}
		n, bytes := 0.0, 0.0
		for key, index := range now {
			if before[key] != index {
				n, bytes = n+1, bytes+float64(size[key])
			}
		}
		cycles, documents, kilobytes, before = append(cycles, took*1000), append(documents, n), append(kilobytes, bytes/1024), now
	}
	after, err := raftIndex(ctx)
	if err != nil {
		return err
	}
	seen.mu.Lock()
	latency := seen.list
	seen.mu.Unlock()
	fmt.Printf("| a planner of %d services on %d nodes, a cycle each 5 s | median | highest |\n|---|---|---|\n", manyServices, manyNodes)
	for _, row := range []struct {
		name, unit string
		list       []float64
	}{
		{"one cycle: read, pull, decide, write", "ms", cycles},
		{"documents written in a cycle", "", documents},
		{"… their size", "KiB", kilobytes},
	} {
		fmt.Printf("| %s | %.0f %s | %.0f %s |\n", row.name, quantile(row.list, 0.5), row.unit, quantile(row.list, 1), row.unit)
	}
	if len(latency) > 0 {
		fmt.Printf("| from the beginning of a cycle to a node that has its wish (%d wishes) | %.0f ms | %.0f ms |\n", len(latency), 1000*quantile(latency, 0.5), 1000*quantile(latency, 1))
	}
	fmt.Printf("| entries of Consul's log, all of them, each second | %.1f | |\n| processor time of scaled run, ms each second | %.0f | |\n\n", float64(after-entries)/time.Since(began).Seconds(), <-spentCPU)
	return nil
}

// documentsNow are the indexes and sizes of what the autoscaler keeps in Consul.
func documentsNow(ctx context.Context) (index map[string]uint64, size map[string]int, err error) {
	var list []struct {
		Key         string
		ModifyIndex uint64
		Value       []byte
	}
	index, size = map[string]uint64{}, map[string]int{}
	err = fetch(ctx, agent+"/v1/kv/svc/scale/?recurse", &list)
	for _, p := range list {
		index[p.Key], size[p.Key] = p.ModifyIndex, len(p.Value)
	}
	return index, size, err
}

func raftIndex(ctx context.Context) (uint64, error) {
	var self struct {
		Stats struct {
			Raft struct {
				Last string `json:"last_log_index"`
			} `json:"raft"`
		}
	}
	if err := fetch(ctx, agent+"/v1/agent/self", &self); err != nil {
		return 0, err
	}
	return strconv.ParseUint(self.Stats.Raft.Last, 10, 64)
}

func fetch(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// metric is a number that scaled run shows to Prometheus.
func metric(name string) (float64, error) {
	res, err := http.Get("http://127.0.0.1:9521/metrics")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		return 0, err
	}
	for line := range strings.Lines(text.String()) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("no %s is shown", name)
}
