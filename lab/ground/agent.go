package ground

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// agentConfig is the host's Consul configuration. Its settings are those that we recommend to users; an agent that is
// stopped does not leave, and raft is as quick as busy servers on one machine let it be: with 1 they lose their leader.
func (h *Host) agentConfig() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("node_name = %q\ndatacenter = %q\ndata_dir = %q", h.Name, h.DC, h.Data()+"/consul")
	line("bind_addr = %q\nclient_addr = %q", h.Addr, "127.0.0.1 "+h.Addr)
	line("log_level = \"warn\"\ndisable_update_check = true\nleave_on_terminate = false\nskip_leave_on_interrupt = true")
	line("connect { enabled = false }\nperformance { raft_multiplier = 3 }\nports { grpc = -1 grpc_tls = -1 }")
	line("retry_join = %s\nretry_interval = \"1s\"", list(h.fleet.servers(h.DC)))
	line("node_meta {")
	for _, m := range [][2]string{{"zone", h.Zone}, {"pool", h.Pool}} {
		if m[1] != "" {
			line("  %s = %q", m[0], m[1])
		}
	}
	line("}")
	if h.Server {
		line("server = true\nbootstrap_expect = %d", len(h.fleet.servers(h.DC)))
		line("retry_join_wan = %s\nretry_interval_wan = \"1s\"", list(h.fleet.gates()))
	}
	return b.String()
}

// list is an HCL list of strings.
func list(values []string) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return string(text)
}

// startAgent starts the host's Consul agent; it does not wait for the cluster.
func (h *Host) startAgent(ctx context.Context) error {
	config := h.Run() + "/consul.hcl"
	if err := os.WriteFile(config, []byte(h.agentConfig()), 0o600); err != nil {
		return fmt.Errorf("write consul config: %w", err)
	}
	args := []string{"agent", "-config-file=" + config}
	if h.hcl != "" {
		args = append(args, "-hcl", h.hcl)
	}
	var err error
	h.consul, err = startDaemon(ctx, h.Place, h.fleet.parts.Consul, func(ctx context.Context) error {
		return h.listens(ctx, strings.TrimPrefix(agentURL, "http://"))
	}, args...)
	return err
}

// Joined is nil when the servers of the host's datacenter take it for alive, and its agent reaches every other datacenter.
func (h *Host) Joined(ctx context.Context) error {
	if err := h.alive(ctx); err != nil {
		return err
	}
	for _, dc := range h.fleet.dcs {
		if _, err := h.ask(ctx, "/v1/catalog/nodes?dc="+dc.Name); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) alive(ctx context.Context) error {
	text, err := h.ask(ctx, "/v1/health/node/"+h.Name)
	if err != nil {
		return err
	}
	var checks []struct{ CheckID, Status string }
	if err := json.Unmarshal(text, &checks); err != nil {
		return fmt.Errorf("read health of %s: %w", h.Name, err)
	}
	for _, c := range checks {
		if c.CheckID == "serfHealth" && c.Status == "passing" {
			return nil
		}
	}
	return fmt.Errorf("%s is not in the cluster", h.Name)
}

// ask gets a document from the host's agent, as its root.
func (h *Host) ask(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, agentURL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Consul-Token", h.fleet.parts.Token)
	client := h.Client()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, res.Status, strings.TrimSpace(string(text)))
	}
	return text, err
}

// makeRoom makes the folders that a node of ours keeps its things in.
func (h *Host) makeRoom() error {
	for _, dir := range []string{"run", "docker-config"} {
		if err := os.MkdirAll(filepath.Join(h.Run(), dir), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	for _, dir := range []string{"state", "code", "consul"} {
		if err := os.MkdirAll(filepath.Join(h.Data(), dir), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	settings := fmt.Sprintf("run_dir: %s/run\nstate_dir: %s/state\ncode_dir: %s/code\n", h.Run(), h.Data(), h.Data())
	if err := os.WriteFile(h.Run()+"/node.yaml", []byte(settings), 0o644); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}
