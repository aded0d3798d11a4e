package tool

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// waiting is a program for tests of signals: `obey` ends with its context, `ignore` does not, `serve` is a daemon.
func waiting() *cli.App {
	work := func(obey bool) Func {
		return func(ctx context.Context, s *Session, _ *cli.Context) error {
			_, _ = s.Stdout.Write([]byte("ready\n"))
			<-ctx.Done()
			_, _ = s.Stdout.Write([]byte("told\n"))
			if !obey {
				time.Sleep(time.Minute)
			}
			return ctx.Err()
		}
	}
	return &cli.App{Name: "prog", Usage: "waits", Commands: []*cli.Command{
		{Name: "obey", Usage: "obeys", Action: Action(work(true))},
		{Name: "ignore", Usage: "ignores", Action: Action(work(false))},
		{Name: "serve", Usage: "serves", Action: Daemon(work(true))},
	}}
}

func TestSignalsEndTheProcess(t *testing.T) {
	tests := []struct {
		name, command string
		signals       []os.Signal
		code          int
	}{
		{"interrupted", "obey", []os.Signal{syscall.SIGINT}, 130},
		{"terminated", "obey", []os.Signal{syscall.SIGTERM}, 143},
		{"the second signal ends at once", "ignore", []os.Signal{syscall.SIGTERM, syscall.SIGINT}, 130},
		{"a daemon that is terminated ended well", "serve", []os.Signal{syscall.SIGTERM}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, tt.command)
			cmd.Env = append(os.Environ(), "SVCKIT_TEST_PROGRAM=waiting", "GORACE=atexit_sleep_ms=0")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			for _, sig := range tt.signals {
				if !lines.Scan() {
					t.Fatal("the program ended too early")
				}
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			for lines.Scan() { // until the end
			}
			err = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d (%v)", code, tt.code, err)
			}
		})
	}
}

func TestAClosedPipeDoesNotKillTheProcess(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), self, "version")
	cmd.Env = append(os.Environ(), "SVCKIT_TEST_PROGRAM=waiting", "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = w, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) || stderr.Len() > 0 {
		t.Errorf("ended with %v and said %q, want a quiet good end", err, stderr.String())
	}
}
