// Package consul talks to the local Consul agent: keys, locks, registrations,
// the catalog. It converts, calls and returns; it decides nothing. Nobody else
// sees the types of Consul's own client.
package consul

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const (
	callTimeout = 10 * time.Second // of a call that does not block
	maxBody     = 128 << 20        // bytes of one answer
)

// Client is a connection to one agent. It is safe for concurrent use.
type Client struct {
	// Alive tells whether the holder of a lock still runs; a holder that does
	// not is relieved at once. Set it before the first Lock; nil takes everyone as alive.
	Alive func(fleet.Holder) bool

	api      *api.Client
	address  string // for messages, without credentials
	hasToken bool
	keys     keys
	log      hclog.Logger
}

// Open makes a client from the CONSUL_* variables; prefix is the root of our
// keys, e.g. "svc". It does no I/O except reading a token file.
func Open(prefix string, log hclog.Logger) (*Client, error) {
	k, err := newKeys(prefix)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	log = log.Named("consul")
	return open(api.DefaultConfigWithLogger(log), k, log)
}

// OpenAt makes a client of an agent without TLS and ACLs at host:port, whatever the CONSUL_* variables say.
func OpenAt(address, prefix string, log hclog.Logger) (*Client, error) {
	k, err := newKeys(prefix)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	return open(&api.Config{Address: address, Scheme: "http", Transport: transport}, k, log.Named("consul"))
}

func open(config *api.Config, k keys, log hclog.Logger) (*Client, error) {
	address := withoutCredentials(config.Address)
	var err error
	// A blocking query holds its connection; other calls must not open a new one each time because of that.
	config.Transport.MaxIdleConnsPerHost = max(config.Transport.MaxIdleConnsPerHost, 32)
	config.HttpClient, err = api.NewHttpClient(config.Transport, config.TLSConfig)
	if err == nil {
		config.HttpClient.Transport = bounded{config.Transport}
		if config.TokenFile != "" {
			config.HttpClient.Transport = &tokenFile{path: config.TokenFile, next: config.HttpClient.Transport}
		}
		var client *api.Client
		if client, err = api.NewClient(config); err == nil {
			return &Client{api: client, address: address, hasToken: config.Token != "" || config.TokenFile != "", keys: k, log: log}, nil
		}
	}
	return nil, fault.WithHint(fault.New(fault.Usage, "open consul at %s: %w", address, err),
		"check the CONSUL_* variables: CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN_FILE, CONSUL_CACERT, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY")
}

// Address is where the agent is spoken to, for messages.
func (c *Client) Address() string { return c.address }

// Self returns what the agent says of itself. The DNS address is one that this node can ask.
func (c *Client) Self(ctx context.Context) (fleet.Agent, error) {
	var out struct {
		Config struct {
			NodeName, Datacenter, Version string
			Server                        bool
		}
		Member      struct{ Addr string }
		Meta        map[string]string
		DebugConfig struct {
			DNSAddrs  []string
			DNSDomain string
		}
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	if _, err := c.api.Raw().Query("/v1/agent/self", &out, q); err != nil {
		return fleet.Agent{}, c.fault(ctx, "ask the agent about itself", err)
	}
	if out.Config.NodeName == "" || out.Config.Datacenter == "" {
		return fleet.Agent{}, fault.New(fault.Unreachable, "ask the agent about itself: %s does not answer as a Consul agent", c.address)
	}
	return fleet.Agent{
		Node: out.Config.NodeName, Datacenter: out.Config.Datacenter, Address: out.Member.Addr,
		Version: out.Config.Version, Server: out.Config.Server, Meta: out.Meta,
		DNS: dnsAddress(out.DebugConfig.DNSAddrs), Domain: strings.Trim(out.DebugConfig.DNSDomain, "."),
	}, nil
}

// Token returns a name for the token in use, for the journal: its description,
// else its accessor; "" without a token or with ACLs off.
func (c *Client) Token(ctx context.Context) (string, error) {
	if !c.hasToken {
		return "", nil
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	t, _, err := c.api.ACL().TokenReadSelf(q)
	switch {
	case statusCode(err) == http.StatusUnauthorized: // ACLs are off
		return "", nil
	case err != nil:
		return "", c.fault(ctx, "read own token", err)
	case t.Description != "":
		return clean(t.Description, 100), nil
	}
	return clean(t.AccessorID, 100), nil
}

func (c *Client) reading(ctx context.Context) (*api.QueryOptions, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	return (&api.QueryOptions{}).WithContext(ctx), cancel
}

func (c *Client) writing(ctx context.Context) (*api.WriteOptions, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	return (&api.WriteOptions{}).WithContext(ctx), cancel
}

// dnsAddress picks the TCP listener out of e.g. "tcp://0.0.0.0:8600"; every address means loopback for this node.
func dnsAddress(listeners []string) string {
	for _, l := range listeners {
		u, err := url.Parse(l)
		if err != nil || u.Scheme != "tcp" || u.Port() == "" {
			continue
		}
		switch u.Hostname() {
		case "0.0.0.0":
			return "127.0.0.1:" + u.Port()
		case "::":
			return "[::1]:" + u.Port()
		}
		return u.Host
	}
	return ""
}

func withoutCredentials(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "", address
	}
	if scheme != "unix" {
		rest = rest[strings.LastIndexByte(rest, '@')+1:]
		scheme = ""
	}
	if scheme != "" {
		return scheme + "://" + rest
	}
	return rest
}

// bounded ends an answer that is longer than anything Consul has to say. (A client on a Unix socket makes a transport of its own.)
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = limitedBody{&io.LimitedReader{R: res.Body, N: maxBody}, res.Body}
	return res, nil
}

type limitedBody struct {
	left *io.LimitedReader
	io.Closer
}

func (b limitedBody) Read(p []byte) (int, error) {
	if b.left.N <= 0 {
		return 0, fmt.Errorf("answer is longer than %d MiB", maxBody>>20)
	}
	return b.left.Read(p)
}
