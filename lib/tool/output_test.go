package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urfave/cli/v2"
)

// with runs one command with a session of a real call.
func with(t *testing.T, stdout, stderr io.Writer, f func(ctx context.Context, s *Session) error, words ...string) int {
	t.Helper()
	app := &cli.App{Name: "prog", Usage: "tests", Action: Action(func(ctx context.Context, s *Session, _ *cli.Context) error { return f(ctx, s) })}
	return Run(t.Context(), app, append([]string{"prog"}, words...), nil, stdout, stderr)
}

func TestResultIsOneLineOfJSONThatBeginsWithTheSchema(t *testing.T) {
	tests := []struct {
		name string
		v    any
		want string
		code int
	}{
		{"struct", struct {
			Image   string `json:"image"`
			Changed bool   `json:"changed"`
		}{"a@sha256:1", true}, `{"schema":1,"image":"a@sha256:1","changed":true}` + "\n", 0},
		{"map", map[string]any{"b": "<&>", "a": 1}, `{"schema":1,"a":1,"b":"<&>"}` + "\n", 0},
		{"empty", struct{}{}, `{"schema":1}` + "\n", 0},
		{"list", []int{1}, "", 1},
		{"nil", nil, "", 1},
		{"schema of its own", map[string]int{"schema": 2}, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code := with(t, &out, io.Discard, func(_ context.Context, s *Session) error {
				return s.Result(tt.v, func(w io.Writer) { fmt.Fprint(w, "text") })
			}, "--json")
			if code != tt.code || out.String() != tt.want {
				t.Errorf("exit code %d, stdout %q; want %d, %q", code, out.String(), tt.code, tt.want)
			}
		})
	}
}

func TestTalkGoesToStderrAndCanBeTurnedOff(t *testing.T) {
	talk := func(_ context.Context, s *Session) error {
		s.Say("pulling %s", "web\x1b[2J")
		s.Log.Debug("detail", "key", "value")
		s.Log.Warn("odd", "key", "value")
		return nil
	}
	tests := []struct {
		words string
		has   string
		not   string
	}{
		{"", "pulling web\\x1b[2J\n", "detail"},
		{"--quiet", "", "pulling"},
		{"--quiet", "", "odd"},
		{"--verbose", "[DEBUG] prog: detail: key=value", "never"},
		{"--log-json", `"@level":"info","@message":"pulling web\\x1b[2J"`, "\npulling"},
		{"--log-json", `"@level":"warn","@message":"odd","@module":"prog"`, "detail"},
	}
	for _, tt := range tests {
		t.Run(tt.words, func(t *testing.T) {
			var out, stderr bytes.Buffer
			with(t, &out, &stderr, talk, strings.Fields(tt.words)...)
			if got := stderr.String(); !strings.Contains(got, tt.has) || strings.Contains(got, tt.not) {
				t.Errorf("stderr %q, want %q and not %q", got, tt.has, tt.not)
			}
			if out.Len() > 0 {
				t.Errorf("stdout %q, want nothing", out.String())
			}
		})
	}
}

func TestAReaderWhoGoesAwayEndsTheProgramQuietly(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var stderr bytes.Buffer
	writes := 0
	code := with(t, w, &stderr, func(_ context.Context, s *Session) error {
		for range 3 {
			writes++
			if _, err := fmt.Fprintln(s.Stdout, "line"); err != nil {
				return fmt.Errorf("show logs: %w", err)
			}
		}
		return nil
	})
	if code != 0 || stderr.Len() > 0 || writes != 1 {
		t.Errorf("exit code %d, stderr %q after %d writes; want 0, nothing, 1", code, stderr.String(), writes)
	}
}

func TestAFullDiskIsAFailure(t *testing.T) {
	var stderr bytes.Buffer
	code := with(t, failing{syscall.ENOSPC}, &stderr, func(_ context.Context, s *Session) error {
		return s.Result(nil, func(w io.Writer) { fmt.Fprint(w, "text") })
	})
	if code != 1 || stderr.String() != "prog: write result: no space left on device\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestProgressWithoutATerminalIsALineNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		with(t, io.Discard, &stderr, func(_ context.Context, s *Session) error {
			p, done := s.Progress("pull web")
			time.Sleep(time.Second)
			p("layer 1", 3<<20, 10<<20)
			time.Sleep(5 * time.Second)
			p("unpack", 0, 0)
			time.Sleep(5500 * time.Millisecond)
			done()
			done()
			return nil
		})
		want := "pull web …\npull web: layer 1 3.0 MiB of 10.0 MiB, 5s\npull web: unpack, 10s\npull web: 12s\n"
		if stderr.String() != want {
			t.Errorf("stderr\n%swant\n%s", stderr.String(), want)
		}
	})
}

func TestProgressOnATerminalIsOneLineThatMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		s := &Session{screen: newScreen(&hiding{w: &stderr, hidden: &hidden{}}, true)}
		s.Stderr = s.screen
		p, done := s.Progress("push")
		p("layer", 512, 1024)
		time.Sleep(200 * time.Millisecond)
		s.Say("note")
		time.Sleep(100 * time.Millisecond)
		done()
		s.screen.close()
		wipe := "\r\x1b[K"
		want := "push: 0s" + wipe + "push: layer 512 B of 1.0 KiB, 0s" + wipe + "note\npush: layer 512 B of 1.0 KiB, 0s" + wipe + "push: 300ms\n"
		if stderr.String() != want {
			t.Errorf("terminal shows\n%q, want\n%q", stderr.String(), want)
		}
	})
}

func TestQuietMeansNoProgress(t *testing.T) {
	var stderr bytes.Buffer
	with(t, io.Discard, &stderr, func(_ context.Context, s *Session) error {
		p, done := s.Progress("pull")
		p.Report("layer", 1, 2)
		done()
		return nil
	}, "--quiet")
	if stderr.Len() > 0 {
		t.Errorf("stderr %q, want nothing", stderr.String())
	}
}

func TestATableIsAlignedAndSafe(t *testing.T) {
	table := func(colour bool) string {
		var out bytes.Buffer
		tab := (&Session{colour: colour}).Table("NAME", "HEALTH", "NOTE")
		tab.Cells(Cell{Text: "web"}, Cell{"passing", Good}, Cell{})
		tab.Row("größer", "x", "a\nb\x1b[0m")
		tab.Write(&out)
		return out.String()
	}
	plain := "NAME    HEALTH   NOTE\nweb     passing  -\ngrößer  x        a\\x0ab\\x1b[0m\n"
	if got := table(false); got != plain {
		t.Errorf("table\n%swant\n%s", got, plain)
	}
	coloured := strings.Replace(plain, "passing", "\x1b[32mpassing\x1b[0m", 1)
	if got := table(true); got != coloured {
		t.Errorf("table\n%qwant\n%q", got, coloured)
	}
}

func TestBytesCarryTheirUnit(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 512 << 20: "512.0 MiB", 3 << 40: "3.0 TiB", 1 << 62: "4096.0 PiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestTheCallInWordsHasNoFlagsOfEveryCommand(t *testing.T) {
	var got string
	app := program(new([]ran))
	app.Commands[0].Action = Action(func(_ context.Context, s *Session, _ *cli.Context) error { got = s.Command; return errors.New("x") })
	Run(t.Context(), app, []string{"prog", "--json", "up", "--release", "r1", "shop/web", "-n", "--config=x"}, nil, io.Discard, io.Discard)
	if want := "up shop/web --release=r1 --dry-run"; got != want {
		t.Errorf("command %q, want %q", got, want)
	}
}

func TestTheManualHasWhatTheHelpHas(t *testing.T) {
	page, err := Man(completing())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		".TH PROG 1", `.SS "prog up [flags] [TARGET]"`, `.B \-r, \-\-release NAME`, ".SH EXIT STATUS", ".B 17\nrefused as unsafe, nothing touched",
		"CONSUL_HTTP_ADDR", ".B NO_COLOR", "/etc/svckit/node.yaml", `.SS "prog set one [flags] [A] [B]"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("manual has no %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "man\n") {
		t.Error("the manual shows a hidden command")
	}
	again, _ := Man(completing())
	if again != page {
		t.Error("two manuals of one program differ")
	}
}

func TestVersionIsACommandAndAFlag(t *testing.T) {
	for _, line := range []string{"version", "--version", "up --version"} {
		code, stdout, stderr, _ := run(t, strings.Fields(line)...)
		if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "prog ") || !strings.Contains(stdout, " go1.") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", line, code, stdout, stderr)
		}
	}
	_, stdout, _, _ := run(t, "version", "--json")
	if !strings.HasPrefix(stdout, `{"schema":1,"version":"`) {
		t.Errorf("stdout %q", stdout)
	}
	b := Build{Version: "v1.2.0", Commit: "3f2c91d8aa", Dirty: true, Go: "go1.26.8", System: "linux/amd64"}
	if want := "v1.2.0 (3f2c91d8, dirty) go1.26.8 linux/amd64"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
