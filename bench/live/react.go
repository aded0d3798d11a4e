package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"svckit/bench/stage"
)

// The step of the load, in requests per second.
const (
	stepFrom = 10
	stepTo   = 60
)

// react measures the time from a step of the load to 90 % of the workers that it
// needs, and what it takes to bring as many containers up by hand, by somebody who
// sees the step at once and knows the number.
func (g *ground) react(runs int) error {
	want := needed(stepTo)
	enough := (want*9 + 9) / 10
	rows := []struct {
		name string
		run  func(k, want, enough int) (float64, error)
	}{
		{fmt.Sprintf("scaled: step from %d to %d requests/s → %d of %d workers ready", stepFrom, stepTo, enough, want), g.reactOurs},
		{"docker run: one more container of the same image answers", g.reactRun},
		{fmt.Sprintf("docker-compose up --scale by hand, at once: 2 → %d containers answer (%d counted)", want, enough), g.reactCompose},
	}
	fmt.Printf("| from … to … | seconds, median | lowest | highest |\n|---|---|---|---|\n")
	for _, row := range rows {
		var took []float64
		for k := range runs {
			s, err := row.run(k, want, enough)
			if err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			took = append(took, s)
		}
		fmt.Printf("| %s | %.1f | %.1f | %.1f |\n", row.name, quantile(took, 0.5), slices.Min(took), slices.Max(took))
	}
	fmt.Println()
	return nil
}

func (g *ground) reactOurs(k, _, enough int) (float64, error) {
	service := fmt.Sprintf("%s/r%d", app, k)
	url, err := g.address(service)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	const steady = 15 // seconds before the step
	began, ended := time.Now(), make(chan []answer, 1)
	go func() {
		ended <- load(ctx, url, func(s float64) float64 {
			if s < steady {
				return stepFrom
			}
			return stepTo
		})
	}()
	time.Sleep(steady * time.Second)
	err = g.await(service, enough)
	took := time.Since(began).Seconds() - steady
	stop()
	<-ended
	return took, err
}

func (g *ground) reactRun(int, int, int) (float64, error) {
	const name = "svckit-bench-one"
	defer func() { _, _ = g.Run(g.Dir, "docker", "rm", "--force", name) }()
	began := time.Now()
	if _, err := g.Run(g.Dir, "docker", "run", "--detach", "--name", name, g.image, "gunicorn", "-c", "gunicorn.conf.py", "app:application"); err != nil {
		return 0, err
	}
	err := g.allAnswer([]string{name}, 1)
	return time.Since(began).Seconds(), err
}

const composeYAML = `version: "2"
services:
  web: {image: "%s", command: [gunicorn, -c, gunicorn.conf.py, --workers, "1", "app:application"]}
`

func (g *ground) reactCompose(_, want, enough int) (float64, error) {
	dir := filepath.Join(g.Dir, "compose")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "docker-compose.yml"), fmt.Appendf(nil, composeYAML, g.image), 0o600); err != nil {
		return 0, err
	}
	defer func() { _, _ = g.Run(dir, "docker-compose", "down", "--timeout", "1") }()
	up := func(n, wait int) error {
		if _, err := g.Run(dir, "docker-compose", "up", "--detach", "--scale", fmt.Sprintf("web=%d", n)); err != nil {
			return err
		}
		ids, err := g.Run(dir, "docker-compose", "ps", "--quiet")
		if err != nil {
			return err
		}
		return g.allAnswer(strings.Fields(string(ids)), wait)
	}
	if err := up(2, 2); err != nil {
		return 0, err
	}
	began := time.Now()
	err := up(want, enough)
	return time.Since(began).Seconds(), err
}

// allAnswer waits until so many of these containers answer.
func (g *ground) allAnswer(containers []string, enough int) error {
	done := map[string]bool{}
	return stage.Until(time.Minute, fmt.Sprintf("%d containers", enough), func() error {
		for _, c := range containers {
			if done[c] {
				continue
			}
			ip, err := g.Run(g.Dir, "docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", c)
			if err != nil {
				return err
			}
			done[c] = stage.Answers("http://"+strings.TrimSpace(string(ip))+":8000/healthz") == nil
		}
		n := 0
		for _, ok := range done {
			if ok {
				n++
			}
		}
		if n < enough {
			return fmt.Errorf("%d answer", n)
		}
		return nil
	})
}
