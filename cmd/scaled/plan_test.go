package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"svckit/lib/here"
	"svckit/lib/planner"
	"svckit/lib/tool"
)

// call runs scaled with a standard input and returns its code, result and talk.
func call(t *testing.T, stdin string, args ...string) (code int, out, talk string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = tool.Run(t.Context(), app(here.This()), append([]string{"scaled"}, args...), strings.NewReader(stdin), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

const fleetFile = "testdata/plan/fleet.json"

// The goldens are what scaled prints for testdata/plan/fleet.json; SVCKIT_UPDATE=1 writes them anew.
func TestPlanPrintsSizesPlacesAndReasons(t *testing.T) {
	for _, row := range []struct {
		golden string
		args   []string
	}{
		{"fleet.txt", nil},
		{"blog-web.txt", []string{"blog/web"}},
		{"shop-mailer.txt", []string{"shop/mailer"}},
		{"old-web.txt", []string{"old/web"}},
	} {
		t.Run(row.golden, func(t *testing.T) {
			code, out, talk := call(t, "", append([]string{"plan", "--from", fleetFile}, row.args...)...)
			if code != 0 || talk != "" {
				t.Fatalf("code %d: %s", code, talk)
			}
			path := filepath.Join("testdata/plan", row.golden)
			if os.Getenv("SVCKIT_UPDATE") == "1" {
				if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if out != string(want) {
				t.Errorf("got\n%s\nwant\n%s", out, want)
			}
		})
	}
}

func TestPlanAsJSONIsOneDocumentWithASchema(t *testing.T) {
	for _, args := range [][]string{{"plan", "--json", "--from", fleetFile}, {"plan", "--json", "--from", fleetFile, "shop/web"}} {
		code, out, talk := call(t, "", args...)
		var v struct {
			Schema int `json:"schema"`
		}
		if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || v.Schema != 1 || strings.Count(out, "\n") != 1 {
			t.Errorf("%v: code %d, %v, %s %.200s", args, code, err, talk, out)
		}
	}
}

func TestPlanReadsTheStandardInputAndItsJournalReplays(t *testing.T) {
	text, err := os.ReadFile(fleetFile)
	if err != nil {
		t.Fatal(err)
	}
	code, out, _ := call(t, string(text), "plan", "--from", "-", "--journal")
	lines := 0
	for line := range bytes.Lines([]byte(out)) {
		lines++
		again, err := planner.Replay(line)
		if err != nil || !bytes.Equal(line, again) {
			t.Errorf("%v\n%s%s", err, line, again)
		}
	}
	if code != 0 || lines < 2 {
		t.Errorf("code %d, %d lines", code, lines)
	}
}

func TestPlanSaysWhatIsWrong(t *testing.T) {
	text, err := os.ReadFile(fleetFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, stdin string
		args        []string
		code        int
		talk        string
	}{
		{"no snapshot", "", []string{"plan"}, 10, "plan: no snapshot is named\nhint: give one with --from FILE"},
		{"two services", string(text), []string{"plan", "--from", "-", "a/b", "c/d"}, 10, `unexpected argument "c/d"`},
		{"no file", "", []string{"plan", "--from", "testdata/none.json"}, 12, "read snapshot: open testdata/none.json"},
		{"no JSON", "schema: 1", []string{"plan", "--from", "-"}, 11, "read snapshot: line 1: invalid character 's'"},
		{"no such service", string(text), []string{"plan", "--from", "-", "shop/none"}, 12, `the snapshot has no service "shop/none"`},
		{"a service that cannot be read", strings.Replace(string(text), `"strategy": "noop"`, `"strategy": "none"`, 1), []string{"plan", "--from", "-"}, 0, "unreadable, left as it is: services[0] shop/web: policy.strategy: expected one of"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, _, talk := call(t, row.stdin, row.args...)
			if code != row.code || !strings.Contains(talk, row.talk) {
				t.Errorf("code %d, want %d; said %q, want %q", code, row.code, talk, row.talk)
			}
		})
	}
}
