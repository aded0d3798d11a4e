package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// answer is one request: when it was sent, in seconds of the load, and what it waited beyond the work itself.
type answer struct {
	at, waited float64
	failed     bool
}

// load sends requests as fast as rate says, whatever the answers take, until ctx
// ends. rate is in requests per second at a second of the load.
func load(ctx context.Context, url string, rate func(second float64) float64) []answer {
	var (
		mu  sync.Mutex
		out []answer
		all sync.WaitGroup
	)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	began := time.Now()
	next, tick := 0.0, time.NewTimer(0)
	defer tick.Stop()
	for {
		tick.Reset(time.Until(began.Add(time.Duration(next * float64(time.Second)))))
		select {
		case <-ctx.Done():
			all.Wait()
			return out
		case <-tick.C:
		}
		at := next
		r := rate(at)
		if r <= 0 {
			next += 0.1
			continue
		}
		next += 1 / r
		all.Go(func() {
			sent := time.Now()
			ok := get(client, url)
			a := answer{at: at, waited: time.Since(sent).Seconds() - work, failed: !ok}
			mu.Lock()
			out = append(out, a)
			mu.Unlock()
		})
	}
}

func get(client *http.Client, url string) bool {
	res, err := client.Get(url)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}
