package probe

import (
	"context"
	"crypto/tls"
	"net/http"
	"regexp"

	"svckit/lib/fleet"
)

// GenerationHeader is how an instance shows which generation of its code it
// runs: a header in the answer of its http check.
const GenerationHeader = "Svc-Generation"

var generation = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Shown asks an instance which generation of its code it runs. "" when it does
// not say so, or is not asked by http.
func Shown(ctx context.Context, c fleet.Check) (string, error) {
	if c.Type != "http" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(c.Timeout, defaultTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Target, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "svckit-check")
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	_ = res.Body.Close()
	if shown := res.Header.Get(GenerationHeader); generation.MatchString(shown) {
		return shown, nil
	}
	return "", nil
}
