package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"svckit/bench/stage"
)

// What a way of reloading cost, over all runs.
type cost struct {
	done, failed int
	gaps         []float64 // seconds, the longest of each run
	seconds      []float64 // until every instance answers with the new code
}

// answer is one answer of an instance.
type answer struct {
	at         time.Time
	generation string // "" for a failure
}

// asker asks one instance again and again, with a new connection each time.
type asker struct {
	url    string
	mu     sync.Mutex
	good   []answer
	failed int
}

const clientsEach = 2

func (a *asker) ask(ctx context.Context) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		text, err := get(ctx, client, a.url)
		if ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		if err != nil {
			a.failed++
		} else {
			a.good = append(a.good, answer{time.Now(), text})
		}
		a.mu.Unlock()
		if err != nil {
			time.Sleep(5 * time.Millisecond) // a port that is closed answers at once: it must not count a thousandfold
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", res.Status)
	}
	return string(text), err
}

// since is when the instance answered with this generation first.
func (a *asker) since(generation string) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.good {
		if g.generation == generation {
			return g.at, true
		}
	}
	return time.Time{}, false
}

// gap is the longest time between two good answers after a moment, in seconds.
func (a *asker) gap(after time.Time) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	longest, last := 0.0, after
	for _, g := range a.good {
		if g.at.After(after) {
			longest, last = max(longest, g.at.Sub(last).Seconds()), g.at
		}
	}
	return longest
}

// measure starts a side and changes its code again and again under load.
func (w way) measure(runs int) (cost, error) {
	urls, err := w.side.start()
	if err != nil {
		return cost{}, err
	}
	defer func() { _ = w.side.stop() }()
	for _, url := range urls {
		if err := stage.Until(20*time.Second, url, func() error { return stage.Answers(url) }); err != nil {
			return cost{}, err
		}
	}
	var total cost
	for n := range runs {
		if err := w.once(urls, fmt.Sprintf("g%d", n+1), &total); err != nil {
			return total, err
		}
	}
	return total, nil
}

// everywhere bounds the wait for new code.
const everywhere = time.Minute

func (w way) once(urls []string, generation string, total *cost) error {
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	var askers []*asker
	for _, url := range urls {
		a := &asker{url: url}
		askers = append(askers, a)
		for range clientsEach {
			clients.Go(func() { a.ask(ctx) })
		}
	}
	defer clients.Wait()
	defer stop()
	time.Sleep(500 * time.Millisecond) // the load is there before anything changes
	began := time.Now()
	if err := w.side.change(generation); err != nil {
		return err
	}
	last := began
	for _, a := range askers {
		for {
			at, ok := a.since(generation)
			if ok {
				last = later(last, at)
				break
			}
			if time.Since(began) > everywhere {
				return fmt.Errorf("%s does not answer with the new code within %s", a.url, everywhere)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	time.Sleep(500 * time.Millisecond)
	longest := 0.0
	for _, a := range askers {
		longest = max(longest, a.gap(began))
		total.done, total.failed = total.done+len(a.good), total.failed+a.failed
	}
	total.gaps, total.seconds = append(total.gaps, longest), append(total.seconds, last.Sub(began).Seconds())
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
