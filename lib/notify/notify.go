// Package notify tells people's receivers, the webhooks of `notify:` in
// app.yaml, that something went wrong. It never decides what is worth telling,
// and what it cannot deliver within a few seconds is given up: the work that it
// tells of must not wait for it.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"svckit/lib/fault"
)

// Limit bounds what telling one receiver takes, with every retry. Receivers are
// told side by side, so it bounds Send too.
const Limit = 5 * time.Second

const (
	attemptLimit = 3 * time.Second // of one try, so that a receiver that hangs once is asked twice
	retries      = 3
	firstPause   = 200 * time.Millisecond // grows with each retry, with jitter
	longestPause = time.Second
	maxReceivers = 16 // as many as a spec may name
	maxRedirects = 3
	maxAnswer    = 64 << 10 // bytes of an answer that are read, for the sake of the connection
)

// Sender posts messages. It is safe for concurrent use.
type Sender struct {
	program string
	client  *retryablehttp.Client
}

// New makes a sender that calls itself program/version, e.g. svc-run, to receivers.
func New(program string) *Sender {
	c := retryablehttp.NewClient()
	c.Logger = nil // it would write URLs, which may hold tokens
	c.RetryMax, c.RetryWaitMin, c.RetryWaitMax = retries, firstPause, longestPause
	c.Backoff = retryablehttp.RateLimitLinearJitterBackoff
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	c.HTTPClient.Timeout = attemptLimit
	c.HTTPClient.CheckRedirect = sameHost
	return &Sender{program: program, client: c}
}

// sameHost lets a receiver move a message on within itself, as a POST. Anything
// else is taken as its answer, which is then no success.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.Method != http.MethodPost || req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// Send posts the message to every receiver, at most 16 different ones, and
// returns within Limit. The error has a line for each that did not answer with
// 2xx. It names receivers by their host only.
func (s *Sender) Send(ctx context.Context, to []string, m Message) error {
	to = receivers(to)
	body, err := json.Marshal(m.bounded())
	if err != nil || len(to) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	failures := make([]error, len(to))
	var all sync.WaitGroup
	for n, receiver := range to {
		all.Go(func() { failures[n] = s.post(ctx, receiver, body) })
	}
	all.Wait()
	return errors.Join(failures...)
}

// receivers drops what is there twice, and what is too much.
func receivers(to []string) []string {
	to = slices.Clone(to)
	slices.Sort(to)
	to = slices.Compact(to)
	return to[:min(len(to), maxReceivers)]
}

func (s *Sender) post(ctx context.Context, receiver string, body []byte) error {
	u, err := url.Parse(receiver)
	if err != nil || u.Host == "" {
		return fault.New(fault.Invalid, "tell a receiver: its webhook is not a URL")
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, receiver, body)
	if err != nil {
		return fault.New(fault.Invalid, "tell %s: its webhook is not a URL", u.Host)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.program)
	res, err := s.client.Do(req)
	if res != nil {
		_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
		_ = res.Body.Close()
	}
	switch {
	case err != nil:
		return fault.New(fault.Unreachable, "tell %s: %w", u.Host, cause(err))
	case res == nil:
		return fault.New(fault.Unreachable, "tell %s: no answer", u.Host)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return fault.New(fault.Unreachable, "tell %s: it answers %d %s", u.Host, res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil
}

// cause takes the URL, whose path may be a token, off an error of the HTTP client.
func cause(err error) error {
	var u *url.Error
	timeout := errors.Is(err, context.DeadlineExceeded)
	if errors.As(err, &u) {
		timeout, err = timeout || u.Timeout(), u.Err
	}
	if timeout {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	return err
}
