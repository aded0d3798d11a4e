// Package load puts bounded HTTP load on a service that it finds by name.
package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Load is HTTP load on one service, from clients that find it by name. It is
// bounded: it ends at Stop, or after its limit of requests or time.
type Load struct {
	Done   atomic.Int64 // requests that were answered with 200
	Failed atomic.Int64 // all others
	mu     sync.Mutex
	errors map[string]int
	stop   context.CancelFunc
	wait   sync.WaitGroup
}

// Bounds of any load.
const (
	maxRequests = 2_000_000
	maxTime     = 30 * time.Minute
)

// Steady is a load that leaves time to what runs beside it: for tests that need some requests at any time, not many.
const Steady rate.Limit = 200

// Start sends GET url with each of these clients, one request after the other.
func Start(url string, clients ...*http.Client) *Load {
	return StartAt(rate.Inf, url, clients...)
}

// StartAt is Start with at most so many requests a second, of all clients together.
func StartAt(most rate.Limit, url string, clients ...*http.Client) *Load {
	ctx, stop := context.WithTimeout(context.Background(), maxTime)
	l := &Load{errors: map[string]int{}, stop: stop}
	pace := rate.NewLimiter(most, 1+len(clients))
	for _, c := range clients {
		l.wait.Go(func() {
			for pace.Wait(ctx) == nil && l.Done.Load()+l.Failed.Load() < maxRequests {
				l.once(ctx, c, url)
			}
		})
	}
	return l
}

func (l *Load) once(ctx context.Context, c *http.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		l.fail(err)
		return
	}
	res, err := c.Do(req)
	if ctx.Err() != nil {
		return // stopped in the middle: neither done nor failed
	}
	if err != nil {
		l.fail(err)
		return
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.fail(err)
	case res.StatusCode != http.StatusOK:
		l.fail(fmt.Errorf("answered %s", res.Status))
	default:
		l.Done.Add(1)
	}
}

func (l *Load) fail(err error) {
	l.Failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) < 20 {
		l.errors[err.Error()]++
	}
}

// Stop ends the load and waits for its clients. The counts stay.
func (l *Load) Stop() {
	l.stop()
	l.wait.Wait()
}

// Errors names the failures and how often each came.
func (l *Load) Errors() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors
}
