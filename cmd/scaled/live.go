package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/consul"
	"svckit/lib/here"
	"svckit/lib/lead"
	"svckit/lib/node"
	"svckit/lib/nodeagent"
	"svckit/lib/tool"
)

// fleetOf opens a planner of the live fleet, which has read nothing yet.
func fleetOf(w *here.Node, s *tool.Session) (*consul.Client, func() *lead.Planner, error) {
	client, err := w.Consul(s)
	if err != nil {
		return nil, nil, err
	}
	settings, err := w.Settings(s)
	if err != nil {
		return nil, nil, err
	}
	p, err := newPuller(settings)
	if err != nil {
		return nil, nil, err
	}
	return client, func() *lead.Planner { return plannerOf(client, p.pull, s.Log) }, nil
}

func plannerOf(client *consul.Client, pull lead.Pull, log hclog.Logger) *lead.Planner {
	c := &catalogue{records: client, now: time.Now}
	return &lead.Planner{Books: client, Leases: client, Catalogue: c.list, Pull: pull, Log: log.Named("lead")}
}

// newPuller asks monitors as this node's settings say: with the token, and with
// the certificate of this node, where nodes want to see one.
func newPuller(n node.Settings) (*puller, error) {
	may := accessOf(n)
	token, err := may.Token()
	if err != nil {
		return nil, err
	}
	config, err := may.Client()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.TLSClientConfig, transport.MaxIdleConnsPerHost = nil, config, 2
	return &puller{client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, token: token}, nil
}

// accessOf is by what clients are known, as this node's settings say.
func accessOf(n node.Settings) nodeagent.Access {
	return nodeagent.Access{TokenFile: n.ScaledToken, Cert: n.ScaledCert, Key: n.ScaledKey, CA: n.ScaledCA}
}

// takeLead makes this process the leader, within a time.
func takeLead(ctx context.Context, w *here.Node, s *tool.Session, client *consul.Client, url string, wait time.Duration) (*consul.Lease, error) {
	host, _ := os.Hostname()
	h, err := node.Holder(node.Who(w.Getenv), host, s.Program+" "+s.Command, w.Now())
	if err != nil {
		return nil, err
	}
	return client.Lead(ctx, h, url, wait)
}

// journalPath and memoryPath are where a planner of this node keeps its decisions and what it learned.
func journalPath(n node.Settings) string { return filepath.Join(n.StateDir, "scaled", "journal.jsonl") }

func memoryPath(n node.Settings) string { return filepath.Join(n.StateDir, "scaled", "demand.json") }
