package ground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Variables that the lab's command finds in its environment.
const (
	NameVar   = "SVCKIT_LAB"         // the lab's name
	CookieVar = "SVCKIT_LAB_COOKIE"  // marks every process of the command
	EngineVar = "SVCKIT_TEST_DOCKER" // address of the engine, also in DOCKER_HOST
	ExecVar   = "SVCKIT_LAB_EXEC"    // prefix that runs a program in the lab's network
	RunVar    = "SVCKIT_TEST_RUN"    // a folder on a tmpfs
	BaseVar   = "SVCKIT_TEST_BASE"   // tar file of the base image
	ConsulVar = "SVCKIT_TEST_CONSUL" // the Consul binary
)

// Command is what a lab runs.
type Command struct {
	Args   []string
	Inside bool     // in the lab's network, not the machine's
	Env    []string // more variables, NAME=VALUE
	Path   string   // folder of programs that is added to PATH
}

// Run runs a command with the lab's variables and returns its exit code.
// When ctx ends, the command is asked to stop (TERM) and after a grace of 10 s
// left to Sweep. The user's own Consul and Docker settings are taken out of its environment.
func Run(ctx context.Context, p Place, cookie string, c Command) (int, error) {
	args := c.Args
	if c.Inside {
		args = append(p.Inside(), args...)
	}
	run := p.Run() + "/run"
	if err := os.MkdirAll(run+"/docker-config", 0o755); err != nil {
		return 1, fmt.Errorf("make run folder: %w", err)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(slices.DeleteFunc(os.Environ(), foreign),
		NameVar+"="+p.String(), CookieVar+"="+cookie, EngineVar+"="+p.Host(), "DOCKER_HOST="+p.Host(),
		ExecVar+"="+strings.Join(p.Inside(), " "), RunVar+"="+run, "DOCKER_CONFIG="+run+"/docker-config")
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin:"+c.Path)
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	}
	return 1, fmt.Errorf("run %s: %w", c.Args[0], err)
}

// foreign is true for variables that would lead a program to the user's own Consul, Docker or svckit settings.
func foreign(variable string) bool {
	return slices.ContainsFunc([]string{"CONSUL_", "DOCKER_", "SVC_", "SVCKIT_"}, func(p string) bool {
		return strings.HasPrefix(variable, p)
	})
}
