// Package probe asks one instance once whether it is well, as Consul's agent
// will: what passes here is registered as passing.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// A connection that is not dropped within a tenth of the timeout, and these bounds, counts as taken.
const (
	leastDrop = 100 * time.Millisecond
	mostDrop  = time.Second
)

const (
	defaultTimeout = time.Second
	maxOutput      = 256      // bytes of the output that is returned
	maxRead        = 64 << 10 // bytes read of a body; the rest is not waited for
	maxRedirects   = 10       // as Consul follows them
)

// Once runs one probe, with a connection of its own and c.Timeout (default 1 s).
// The output is one short line for people, also when it fails. Types ttl and ""
// have nothing to ask: they pass.
//
// http follows Consul's rules: GET, redirects are followed, 2xx passes. 429,
// which Consul calls a warning, is a failure here: a warned instance is not let in.
func Once(ctx context.Context, c fleet.Check) (output string, err error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch c.Type {
	case "", "ttl":
		return "", nil
	case "http":
		output, err = askHTTP(ctx, c.Target)
	case "tcp":
		output, err = askTCP(ctx, c.Target, min(max(timeout/10, leastDrop), mostDrop))
	case "grpc":
		output, err = askGRPC(ctx, c.Target)
	default:
		return "", fault.New(fault.Invalid, "probe: unknown type %q of check", clean(c.Type))
	}
	if err != nil {
		text := clean(reason(ctx, err, timeout))
		if output == "" {
			output = text
		}
		return clean(output), fmt.Errorf("probe %s %s: %w", c.Type, clean(c.Target), failure{text, err})
	}
	return clean(output), nil
}

// failure shows a cleaned text and keeps the cause for errors.Is.
type failure struct {
	text  string
	cause error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.cause }

func askHTTP(ctx context.Context, target string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return "", fault.New(fault.Invalid, "scheme %q", req.URL.Scheme)
	}
	req.Header.Set("User-Agent", "svckit-check")
	req.Header.Set("Accept", "text/plain, text/*, */*")
	// No proxy of the environment: the instance is asked, not what a proxy knows of it.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	client := http.Client{Transport: transport, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		return nil
	}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, readErr := io.ReadAll(io.LimitReader(res.Body, maxRead))
	output := strings.TrimSpace("HTTP " + res.Status + " " + string(body[:min(len(body), 4*maxOutput)]))
	switch {
	case res.StatusCode < 200 || res.StatusCode > 299:
		return output, fmt.Errorf("HTTP %s", res.Status)
	case readErr != nil:
		return output, readErr
	}
	return output, nil
}

func askTCP(ctx context.Context, target string, drop time.Duration) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// The engine's proxy of a published port takes every connection on loopback, and
	// drops it when nothing listens in the container (measured on 20.10).
	_ = conn.SetReadDeadline(time.Now().Add(drop))
	_, err = conn.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return "", errors.New("the connection was taken and dropped at once: nothing listens behind the port")
	}
	return "connected", nil
}

// askGRPC asks the standard health service; target is host:port or host:port/service.
func askGRPC(ctx context.Context, target string) (string, error) {
	address, service, _ := strings.Cut(target, "/")
	if _, _, err := net.SplitHostPort(address); err != nil {
		return "", err
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), grpc.WithUserAgent("svckit-check"), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxRead)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return "", errors.New("the server has no grpc.health.v1.Health service")
	case status.Code(err) == codes.NotFound:
		return "", fmt.Errorf("the server knows no service %q", service)
	case err != nil:
		return "", errors.New(status.Convert(err).Message())
	case res.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return "", errors.New("serving status " + res.GetStatus().String())
	}
	return res.GetStatus().String(), nil
}

// reason is why a probe failed, without the target, which the caller's message has.
func reason(ctx context.Context, err error, timeout time.Duration) string {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "interrupted"
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return "no answer in " + timeout.String()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return "no answer in " + timeout.String()
	}
	return err.Error()
}

// clean makes what an instance said one short line that a terminal may be shown.
func clean(s string) string {
	const ellipsis = "…"
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxOutput {
		return s
	}
	return strings.ToValidUTF8(s[:maxOutput-len(ellipsis)], "") + ellipsis
}
