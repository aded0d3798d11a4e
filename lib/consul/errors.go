package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// fault turns an error of a call into one with a kind and a hint. ctx is the
// caller's, to tell its end from the end of our own patience. What is one already stays as it is.
func (c *Client) fault(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	switch ended := ctx.Err(); {
	case errors.Is(ended, context.DeadlineExceeded):
		return fault.New(fault.Timeout, "%s: %w", what, ended)
	case ended != nil:
		return fmt.Errorf("%s: %w", what, ended)
	}
	var status api.StatusError
	if errors.As(err, &status) {
		return c.refusal(what, status.Code, status.Body)
	}
	if code, body, ok := plainStatus(err); ok {
		return c.refusal(what, code, body)
	}
	e := fault.New(fault.Unreachable, "%s: consul at %s: %w", what, c.address, cause(err))
	e.Hint = "start the agent (systemctl start consul), or set CONSUL_HTTP_ADDR to the one to use"
	return e
}

// refusal is what an answer other than 200 means.
func (c *Client) refusal(what string, code int, body string) error {
	text := clean(body, 300)
	if text == "" {
		text = strings.ToLower(http.StatusText(code))
	}
	switch {
	case code == http.StatusForbidden || code == http.StatusUnauthorized:
		return forbidden(what, text)
	case code == http.StatusNotFound:
		return fault.New(fault.NotFound, "%s: %w", what, fleet.ErrNotFound)
	case code == http.StatusTooManyRequests:
		e := fault.New(fault.Unreachable, "%s: consul at %s: %s", what, c.address, text)
		e.Hint = "an agent allows 200 connections for each client address (limits.http_max_conns_per_client)"
		return e
	case outage(code, body):
		e := fault.New(fault.Unreachable, "%s: consul at %s: %s", what, c.address, text)
		e.Hint = "the agent answers, its servers do not: see `consul operator raft list-peers` and `consul members`"
		return e
	}
	return fault.New(fault.Failed, "%s: consul at %s: %s", what, c.address, text)
}

// outage tells an answer of an agent that cannot reach a leader from one that says the request was wrong, which Consul also calls 500.
func outage(code int, body string) bool {
	if code < 500 {
		return false
	}
	if code != http.StatusInternalServerError {
		return true
	}
	for _, sign := range []string{"No cluster leader", "No known Consul servers", "rpc error", "leadership", "failed to get conn", "deadline", "timeout", "timed out", "connection re", "EOF"} {
		if strings.Contains(body, sign) {
			return true
		}
	}
	return false
}

var (
	missingRule = regexp.MustCompile(`lacks permission '([a-z]+):([a-z]+)' on "([^"]*)"`)
	accessor    = regexp.MustCompile(`AccessorID '([0-9a-fA-F-]{1,64})'`)
)

// forbidden names the ACL rule that the token lacks, where Consul says it.
func forbidden(what, text string) error {
	e := fault.New(fault.Failed, "%s: not allowed: %s", what, text)
	token := "the token"
	if m := accessor.FindStringSubmatch(text); m != nil {
		token = "the token with accessor " + m[1]
	} else if strings.Contains(text, "anonymous token") {
		token = "a token (CONSUL_HTTP_TOKEN_FILE; none was given)"
	}
	if m := missingRule.FindStringSubmatch(text); m != nil {
		e.Hint = fmt.Sprintf("give %s the rule: %s %q { policy = %q }", token, m[1], m[3], m[2])
	} else if strings.Contains(text, "ACL not found") {
		e.Hint = "the cluster does not know the token of CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE"
	}
	return e
}

// plainStatus reads the errors that Consul's client makes of an answer without saying so by type.
func plainStatus(err error) (code int, body string, ok bool) {
	text := err.Error()
	if _, scanErr := fmt.Sscanf(text, "Unexpected response code: %d", &code); scanErr == nil {
		_, body, _ = strings.Cut(text, "(")
		return code, strings.TrimSuffix(body, ")"), true
	}
	if rest, found := strings.CutPrefix(text, "Failed request: "); found {
		if strings.Contains(rest, "ermission denied") || strings.Contains(rest, "ACL not found") {
			return http.StatusForbidden, rest, true
		}
		return http.StatusInternalServerError, rest, true
	}
	return 0, "", false
}

func statusCode(err error) int {
	var status api.StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	return 0
}

// cause takes method and URL off an error of the HTTP client: they say nothing to an operator.
func cause(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in %s", callTimeout)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return syscall.ECONNREFUSED
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// clean makes text from outside fit to be shown: valid UTF-8, no control characters, at most limit bytes.
func clean(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
	return cut(s, limit)
}

// cut ends s with an ellipsis where it is longer than limit bytes.
func cut(s string, limit int) string {
	const ellipsis = "…"
	if len(s) <= limit {
		return s
	}
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}
