package consul

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestEveryAnswerOfConsulHasAKindAndAHint(t *testing.T) {
	c := &Client{address: "127.0.0.1:8500", log: hclog.NewNullLogger()}
	for _, row := range []struct {
		name string
		err  error
		kind fault.Kind
		msg  string
		hint string
	}{
		{
			"nobody listens", &url.Error{Op: "Get", URL: "http://x", Err: fmt.Errorf("dial tcp: %w", syscall.ECONNREFUSED)},
			fault.Unreachable, "read k: consul at 127.0.0.1:8500: connection refused", "CONSUL_HTTP_ADDR",
		},
		{
			"no answer", &url.Error{Op: "Get", URL: "http://x", Err: context.DeadlineExceeded},
			fault.Unreachable, "read k: consul at 127.0.0.1:8500: no answer in 10s", "CONSUL_HTTP_ADDR",
		},
		{
			"no leader",
			api.StatusError{Code: 500, Body: "No cluster leader"},
			fault.Unreachable, "read k: consul at 127.0.0.1:8500: No cluster leader", "raft list-peers",
		},
		{
			"no leader, from a session", errors.New("Unexpected response code: 500 (rpc error making call: No cluster leader)"),
			fault.Unreachable, "No cluster leader", "raft list-peers",
		},
		{
			"wrong request that Consul calls 500",
			api.StatusError{Code: 500, Body: "Invalid Session TTL"},
			fault.Failed, "Invalid Session TTL", "",
		},
		{
			"too many connections",
			api.StatusError{Code: 429, Body: "Your IP is issuing too many concurrent connections"},
			fault.Unreachable, "too many concurrent", "200 connections",
		},
		{
			"missing rule",
			api.StatusError{Code: 403, Body: `Permission denied: token with AccessorID '6a1253d2-1785-24fd-91c2-f8e78c745511' lacks permission 'key:write' on "svc/apps/shop/current"`},
			fault.Failed, "read k: not allowed: Permission denied", `give the token with accessor 6a1253d2-1785-24fd-91c2-f8e78c745511 the rule: key "svc/apps/shop/current" { policy = "write" }`,
		},
		{
			"no token",
			api.StatusError{Code: 403, Body: `Permission denied: anonymous token lacks permission 'session:write' on "node1". The anonymous token is used implicitly`},
			fault.Failed, "not allowed", `give a token (CONSUL_HTTP_TOKEN_FILE; none was given) the rule: session "node1" { policy = "write" }`,
		},
		{"unknown token", api.StatusError{Code: 403, Body: "ACL not found"}, fault.Failed, "not allowed: ACL not found", "does not know the token"},
		{"denied transaction", errors.New("Failed request: Permission denied"), fault.Failed, "not allowed", ""},
		{"unknown ID", api.StatusError{Code: 404, Body: "Unknown service ID"}, fault.NotFound, "not found", ""},
		{"escape sequences in a body", api.StatusError{Code: 400, Body: "\x1b[2Jbad"}, fault.Failed, "[2Jbad", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := c.fault(t.Context(), "read k", row.err)
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != row.kind || !strings.Contains(err.Error(), row.msg) || !strings.Contains(e.Hint, row.hint) {
				t.Errorf("got %v %q (hint %q)\nwant %v %q (hint %q)", fault.KindOf(err), err, e.Hint, row.kind, row.msg, row.hint)
			}
			if strings.Contains(err.Error(), "\x1b") {
				t.Error("an escape sequence came through")
			}
		})
	}
	if err := c.fault(t.Context(), "x", api.StatusError{Code: 404}); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("404: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.fault(ended, "x", &url.Error{Err: context.Canceled}); !errors.Is(err, context.Canceled) || fault.KindOf(err) == fault.Unreachable {
		t.Errorf("interrupted: %v", err)
	}
}

func TestTextFromOutsideIsCutBetweenRunesAndCleaned(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"short", "ok", "ok"},
		{"control characters", "a\x1b[31m\nb\tc", "a [31m b c"},
		{"not UTF-8", "a\xffb", "a?b"},
		{"bidirectional override", "a\u202eb", "a b"},
		{"long", "üüüüüüüü", "üü…"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := clean(row.in, 8); row.name == "long" && got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
			if got := clean(row.in, 100); row.name != "long" && got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}
