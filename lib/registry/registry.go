// Package registry asks an image registry which manifest a reference names. The
// registry's own answer is what a release is pinned to, not what a pusher says.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// CertDir is where the engine keeps the certificate authorities of private registries:
// CertDir/<host:port>/*.crt.
const CertDir = "/etc/docker/certs.d"

const limit = 30 * time.Second

// Digest returns the digest (sha256:…) of the manifest that ref (repo:tag or repo@digest)
// names, with the credentials of the Docker settings. insecure allows plain HTTP and
// unverified TLS, as the engine does for its insecure registries. Errors: fleet.ErrNotFound;
// fault.Unreachable; a denied one keeps its cause and hints at docker login.
func Digest(ctx context.Context, ref string, insecure bool) (string, error) {
	parsed, err := parse(ref, insecure)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(roundTripper(parsed.Context().RegistryStr(), insecure)),
	}
	head, err := remote.Head(parsed, options...)
	if err == nil {
		return head.Digest.String(), nil
	}
	if refused, answered := errors.AsType[*transport.Error](err); !answered || refused.StatusCode != http.StatusMethodNotAllowed {
		return "", explain(ctx, ref, err)
	}
	got, err := remote.Get(parsed, options...) // a registry without HEAD
	if err != nil {
		return "", explain(ctx, ref, err)
	}
	return got.Digest.String(), nil
}

// Exists reports whether the registry has ref.
func Exists(ctx context.Context, ref string, insecure bool) (bool, error) {
	_, err := Digest(ctx, ref, insecure)
	if errors.Is(err, fleet.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Insecure reports whether ref's registry is spoken to without TLS: one on loopback, or
// one that the engine lists (host, host:port or CIDR).
func Insecure(ref string, listed []string) bool {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return false
	}
	registry := parsed.Context().RegistryStr()
	host := registry
	if h, _, err := net.SplitHostPort(registry); err == nil {
		host = h
	}
	if host == "localhost" || slices.Contains(listed, registry) || slices.Contains(listed, host) {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	return address.IsLoopback() || slices.ContainsFunc(listed, func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(address)
	})
}

func parse(ref string, insecure bool) (name.Reference, error) {
	options := []name.Option{name.WeakValidation}
	if insecure {
		options = append(options, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read image name %q: %w", ref, err)
	}
	return parsed, nil
}

// roundTripper trusts what the engine trusts. The library falls back to plain HTTP for
// every private address; without insecure that is refused here, before credentials leave.
func roundTripper(registry string, insecure bool) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as the engine does for a registry that it lists as insecure
		return t
	}
	t.TLSClientConfig = &tls.Config{RootCAs: authorities(filepath.Join(CertDir, registry)), MinVersion: tls.VersionTLS12}
	return onlyTLS{t}
}

type onlyTLS struct{ http.RoundTripper }

func (o onlyTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("the registry does not speak TLS at %s, and it is not listed as insecure", r.URL.Host)
	}
	return o.RoundTripper.RoundTrip(r)
}

// authorities returns the system's certificate authorities and those in dir; nil is the system's alone.
func authorities(dir string) *x509.CertPool {
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil || len(files) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			pool.AppendCertsFromPEM(text)
		}
	}
	return pool
}

func explain(ctx context.Context, ref string, err error) error {
	refused, answered := errors.AsType[*transport.Error](err)
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return fault.New(fault.Unreachable, "ask registry for %s: no answer in %s", ref, limit)
	case ctx.Err() != nil:
		return fmt.Errorf("ask registry for %s: %w", ref, context.Cause(ctx))
	case !answered:
		return fault.New(fault.Unreachable, "ask registry for %s: %s", ref, lastAttempt(err))
	case refused.StatusCode == http.StatusNotFound:
		return fault.New(fault.NotFound, "ask registry for %s: %w", ref, fleet.ErrNotFound)
	case refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden:
		host := ref
		if parsed, perr := name.ParseReference(ref, name.WeakValidation); perr == nil {
			host = parsed.Context().RegistryStr()
		}
		return fault.WithHint(fmt.Errorf("ask registry for %s: %w: %s", ref, ErrDenied, http.StatusText(refused.StatusCode)), "docker login %s", host)
	case refused.StatusCode >= http.StatusInternalServerError:
		return fault.New(fault.Unreachable, "ask registry for %s: it answers %d", ref, refused.StatusCode)
	}
	return fmt.Errorf("ask registry for %s: %w", ref, err)
}

// lastAttempt shortens the library's list of what it tried, TLS first, to the end of it.
func lastAttempt(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "; Get \""); i >= 0 {
		return text[i+2:]
	}
	return text
}

// ErrDenied is a registry's answer to missing or wrong credentials.
var ErrDenied = errors.New("denied")
