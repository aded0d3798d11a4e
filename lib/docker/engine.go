// Package docker converts between svckit's facts and the Docker engine's API
// (1.41 = Docker 20.10 and later). It decides nothing: convert, call, return.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"github.com/hashicorp/go-hclog"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// oldestAPI is the API of Docker 20.10, the oldest that svckit is tested with.
const oldestAPI = "1.41"

// pingLimit bounds the first question to the engine: a socket may accept and never answer.
const pingLimit = 5 * time.Second

// Engine is a connection to the container engine of this node. It is safe for concurrent use.
type Engine struct {
	api *client.Client
	log hclog.Logger
}

// Open connects to the engine that DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH
// and DOCKER_API_VERSION name (default: the local socket) and asks it for its
// version. An engine that cannot be used is a fault.Unreachable that says whether
// the socket, the permission, the daemon or its version is the cause.
func Open(ctx context.Context, log hclog.Logger) (*Engine, error) {
	if strings.HasPrefix(os.Getenv(client.EnvOverrideHost), "ssh://") {
		return nil, fault.WithHint(fault.New(fault.Unreachable, "open docker: DOCKER_HOST is an ssh address, which svckit does not use"),
			"run svckit on that node itself")
	}
	api, err := client.NewClientWithOpts(client.FromEnv, tlsFromHome, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fault.WithHint(fault.New(fault.Unreachable, "open docker: %w", err),
			"check DOCKER_HOST, DOCKER_CERT_PATH and DOCKER_TLS_VERIFY")
	}
	if err := ping(ctx, api); err != nil {
		_ = api.Close()
		return nil, err
	}
	log.Debug("connected", "host", api.DaemonHost(), "api", api.ClientVersion())
	return &Engine{api: api, log: log}, nil
}

// Close frees the idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// tlsFromHome does what the docker command does with DOCKER_TLS_VERIFY and no
// DOCKER_CERT_PATH: the certificates are in DOCKER_CONFIG, default ~/.docker.
func tlsFromHome(c *client.Client) error {
	if os.Getenv(client.EnvTLSVerify) == "" || os.Getenv(client.EnvOverrideCertPath) != "" {
		return nil
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		dir = filepath.Join(home, ".docker")
	}
	return client.WithTLSClientConfig(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))(c)
}

// ping asks the engine for its API version. Negotiation by itself is lazy and hides a dead socket.
func ping(ctx context.Context, api *client.Client) error {
	limited, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	pong, err := api.Ping(limited)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return unreachable(api.DaemonHost(), err)
	}
	if v := pong.APIVersion; v == "" || versions.LessThan(v, oldestAPI) {
		return fault.WithHint(fault.New(fault.Unreachable, "docker at %s speaks API %q: too old, %s or later is needed", api.DaemonHost(), v, oldestAPI),
			"upgrade Docker to 20.10 or later")
	}
	api.NegotiateAPIVersionPing(pong)
	if v := api.ClientVersion(); versions.LessThan(v, oldestAPI) || versions.GreaterThan(v, pong.APIVersion) {
		return fault.WithHint(fault.New(fault.Unreachable, "DOCKER_API_VERSION %s cannot be used with docker at %s: %s to %s can", v, api.DaemonHost(), oldestAPI, pong.APIVersion),
			"unset DOCKER_API_VERSION")
	}
	return nil
}

// unreachable names the cause of a failed ping in one line. The client hides it for
// sockets ("is the docker daemon running?"), so the socket is dialled once more.
func unreachable(host string, cause error) error {
	path, isSocket := strings.CutPrefix(host, "unix://")
	if isSocket {
		conn, err := net.DialTimeout("unix", path, pingLimit)
		if err != nil {
			return socketError(path, err)
		}
		_ = conn.Close()
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return fault.WithHint(fault.New(fault.Unreachable, "ping docker at %s: no answer in %s", host, pingLimit),
			"the daemon hangs: see `journalctl -u docker`")
	}
	return fault.WithHint(fault.New(fault.Unreachable, "ping docker at %s: %s", host, oneLine(cause.Error())), "check DOCKER_HOST, and that the daemon runs")
}

func socketError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fault.WithHint(fault.New(fault.Unreachable, "open docker: socket %s is missing", path),
			"start Docker (`systemctl start docker`) or set DOCKER_HOST")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault.WithHint(fault.New(fault.Unreachable, "open docker: permission denied on socket %s", path),
			"run as root, or add your user to the group docker and log in again")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.WithHint(fault.New(fault.Unreachable, "open docker: the daemon behind socket %s is not running", path),
			"`systemctl start docker`, then `journalctl -u docker`")
	}
	return fault.New(fault.Unreachable, "open docker: %w", err)
}

// Info says what engine this is.
func (e *Engine) Info(ctx context.Context) (fleet.Engine, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return fleet.Engine{}, e.wrap(err, "ask docker for its info")
	}
	return engineOf(info, e.api.ClientVersion()), nil
}

func engineOf(info system.Info, api string) fleet.Engine {
	out := fleet.Engine{
		Version: info.ServerVersion, API: api,
		CPUs: info.NCPU, Memory: info.MemTotal,
		Root:      info.DockerRootDir,
		CgroupV2:  info.CgroupVersion == "2",
		LiveStore: info.LiveRestoreEnabled,
	}
	if r := info.RegistryConfig; r != nil {
		for _, n := range r.InsecureRegistryCIDRs {
			out.Insecure = append(out.Insecure, n.String())
		}
		for name, index := range r.IndexConfigs {
			if index != nil && !index.Secure {
				out.Insecure = append(out.Insecure, name)
			}
		}
	}
	slices.Sort(out.Insecure)
	for _, o := range info.SecurityOptions {
		out.UserNS = out.UserNS || o == "name=userns"
	}
	return out
}

// wrap turns an error of the engine's client into ours: one line, with its kind.
// It is nil for nil.
func (e *Engine) wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return mapError(err, fmt.Sprintf(format, args...), e.api.DaemonHost())
}
