// Command host measures one node with 200 services: how long the commands take
// that people and playbooks call all the time, and what the daemons weigh. The
// services are FROM scratch, in 20 apps, each in a container and in Consul.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"svckit/bench/stage"
)

func main() {
	services := flag.Int("services", 200, "services on the host, a multiple of ten")
	runs := flag.Int("runs", 9, "calls of each command")
	hold := flag.Duration("hold", 0, "stay for `TIME` afterwards, to look around")
	flag.Parse()
	if err := bench(*services, *runs, *hold); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

const perApp = 10

func bench(services, runs int, hold time.Duration) error {
	g, err := newGround()
	if err != nil {
		return err
	}
	defer g.Close()
	var names []string
	for n := range services / perApp {
		app := fmt.Sprintf("app%02d", n)
		if err := g.release(app); err != nil {
			return err
		}
		for s := range perApp {
			names = append(names, fmt.Sprintf("%s/s%d", app, s))
		}
	}
	began := time.Now()
	if err := g.deploy(names); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d services deployed in %.0f s\n", len(names), time.Since(began).Seconds())
	if err := g.daemons(names); err != nil {
		return err
	}
	if err := g.commands(names, runs); err != nil {
		return err
	}
	if err := g.weigh(); err != nil {
		return err
	}
	time.Sleep(hold)
	return nil
}

// deploy brings the services up, some at once.
func (g *ground) deploy(names []string) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 4)
	for k := range errs {
		all.Go(func() {
			for errs[k] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(names) {
					return
				}
				_, errs[k] = g.Run(g.Dir, "svc-run", "up", names[n], "--quiet")
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// commands prints how long each takes.
func (g *ground) commands(names []string, runs int) error {
	rows := [][]string{
		{"svc-run", "ps"},
		{"svc-run", "ps", names[0]},
		{"svc-run", "ps", "--fleet"},
		{"svc-run", "up", names[0]},
		{"svc-run", "doctor"},
		{"svc-run", "events"},
		{"svc-reload", "--dry-run", names[0]},
		{"scaled", "status"},
	}
	fmt.Printf("| on a host with %d services | median s | lowest | highest | processor s | most MiB |\n|---|---|---|---|---|---|\n", len(names))
	for _, row := range rows {
		var took, spent []float64
		most := 0.0
		for n := range runs + 1 {
			began := time.Now()
			seconds, peak, err := g.cost(row...)
			if err != nil {
				return err
			}
			if n > 0 { // the first one warms up
				took, spent, most = append(took, time.Since(began).Seconds()), append(spent, seconds), max(most, peak)
			}
		}
		slices.Sort(took)
		slices.Sort(spent)
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.2f | %.0f |\n", strings.Join(row, " "), took[len(took)/2], took[0], took[len(took)-1], spent[len(spent)/2], most)
	}
	began := time.Now()
	if _, err := g.Run(g.Dir, "svc-reload", "--force", names[0]); err != nil {
		return err
	}
	fmt.Printf("| svc-reload --force %s, a restart through the gate | %.2f | | | | |\n\n", names[0], time.Since(began).Seconds())
	return nil
}

const dockerfile = `FROM scratch
COPY testapp release manners /
ENTRYPOINT ["/testapp"]
`

const serviceYAML = `  s%d:
    port: 8000
    check: {http: /healthz, interval: 10s, min_healthy: 0s}
    stop: {timeout: 5s, drain: 0s}
    scale: {strategy: noop, min: 1}
`

// release builds an app and makes it current.
func (g *ground) release(app string) error {
	dir := filepath.Join(g.Dir, app)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Appendf(nil, "app: %s\nbuild: {dockerfile: Dockerfile, image: %s/%s}\nservices:\n", app, stage.Registry, app)
	for s := range perApp {
		text = fmt.Appendf(text, serviceYAML, s)
	}
	for name, text := range map[string][]byte{
		"app.yaml": text, "Dockerfile": []byte(dockerfile), "release": []byte("v1\n"), "manners": []byte("good\n"), "testapp": g.program,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil { //nolint:gosec // a program, and what it reads
			return err
		}
	}
	if _, err := g.Run(dir, "svc-build", "--push"); err != nil {
		return err
	}
	_, err := g.Promote(app)
	return err
}
