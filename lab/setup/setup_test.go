package setup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyPackagesOfMissingProgramsAreInstalled(t *testing.T) {
	there := []string{"git", "containerd", "runc", "ip", "nsenter", "mmdebstrap", "gcc", "ps", "zsh"}
	got := missingPackages(func(program string) bool { return slices.Contains(there, program) })
	if want := []string{"ansible-core", "ansible-lint", "apparmor", "chromium", "curl", "dnsmasq-base", "dnsperf", "docker-compose", "docker.io", "fish", "hey", "iptables", "jq", "openssh-client", "rabbitmq-server", "redis-tools", "systemd", "wrk"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestConsulVersionIsTheOneOfItsModule(t *testing.T) {
	text, err := os.ReadFile("../../tools/consul/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/hashicorp/consul v" + ConsulVersion + " "; !strings.Contains(string(text), want) {
		t.Errorf("tools/consul/go.mod has no %q", want)
	}
}

func TestPartThatFailsLeavesNothingHalfMade(t *testing.T) {
	cache := t.TempDir()
	if err := os.Mkdir(filepath.Join(cache, "work"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(cache, "bin", "thing")
	broken := errors.New("interrupted")
	err := makePart(t.Context(), cache, part{file: file, make: func(_ context.Context, _, out string) error {
		return errors.Join(os.WriteFile(out, []byte("half"), 0o600), broken)
	}})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	for _, pattern := range []string{"bin/*", "work/*"} {
		if left, _ := filepath.Glob(filepath.Join(cache, pattern)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}

	err = makePart(t.Context(), cache, part{file: file, make: func(_ context.Context, _, out string) error {
		return os.WriteFile(out, []byte("whole"), 0o600)
	}})
	if text, _ := os.ReadFile(file); err != nil || string(text) != "whole" {
		t.Errorf("part %q, error %v", text, err)
	}
}

func TestStepTellsWhatItDoesAndHowLongItTakes(t *testing.T) {
	for _, row := range []struct {
		name     string
		terminal bool
		every    time.Duration
		want     string
	}{
		{"in a log", false, 30 * time.Second, `lab: boil tea (usually 1 min)
lab: boil tea (usually 1 min): 30s
lab: boil tea: done in 45s
`},
		{"on a terminal", true, 20 * time.Second, "\r\x1b[Klab: boil tea (usually 1 min)" +
			"\r\x1b[Klab: boil tea (usually 1 min): 20s\r\x1b[Klab: boil tea (usually 1 min): 40s\r\x1b[Klab: boil tea: done in 45s\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				teller := &Teller{w: &said, terminal: row.terminal, every: row.every}
				err := teller.Step(t.Context(), "boil tea", "1 min", func() error { time.Sleep(45 * time.Second); return nil })
				if err != nil || said.String() != row.want {
					t.Errorf("error %v, said\n%q\nwant\n%q", err, said.String(), row.want)
				}
			})
		})
	}
}
