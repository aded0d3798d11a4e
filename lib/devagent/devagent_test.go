package devagent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "consul")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPortThatIsTakenIsNotChosen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	got, err := choose(taken)
	if err != nil || got == taken || got == 0 {
		t.Errorf("got %d, %v, want a port other than %d", got, err, taken)
	}
}

func TestAnAgentOnlyListensOnLoopback(t *testing.T) {
	args := Ports{HTTP: 1, DNS: 2, Serf: 3, Server: 4}.Args()
	for _, want := range []string{"-bind=127.0.0.1", "-client=127.0.0.1", "-http-port=1", "-dns-port=2", "-serf-lan-port=3", "-server-port=4", "-grpc-port=-1"} {
		if !slices.Contains(args, want) {
			t.Errorf("%v lacks %s", args, want)
		}
	}
}

func TestAnAgentThatEndsTellsItsLastWords(t *testing.T) {
	_, err := Start(t.Context(), script(t, "echo ==\\> cannot bind >&2; exit 1"))
	var f *fault.Error
	if !errors.As(err, &f) || !strings.Contains(err.Error(), "it ended") || !slices.Contains(f.Detail, "==> cannot bind") {
		t.Errorf("got %v, want that it ended and its last line", err)
	}
}

func TestAStartThatIsCancelledLeavesNoProcess(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if text, err := os.ReadFile(pids); err == nil && len(text) > 1 {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := Start(ctx, script(t, "echo $$ >"+pids+"; exec sleep 600"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	pid, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("process %s is still there: %v", pid, err)
	}
}

func TestAProgramThatIsMissingIsNamed(t *testing.T) {
	_, err := Start(t.Context(), "/nonexistent/consul")
	if err == nil || !strings.Contains(err.Error(), "start /nonexistent/consul:") {
		t.Errorf("got %v", err)
	}
}
