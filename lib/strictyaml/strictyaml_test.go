package strictyaml

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// outline writes values as "kind text @line:col path" lines.
func outline(v Value) string {
	var b strings.Builder
	var walk func(Value)
	walk = func(v Value) {
		kind := []string{"missing", "null", "bool", "number", "text", "list", "map"}[v.Kind]
		fmt.Fprintf(&b, "%s %q @%d:%d %s\n", kind, v.Text, v.Line, v.Col, v.Path)
		for _, item := range v.Items {
			walk(item)
		}
		for _, e := range v.Entries {
			walk(e.Value)
		}
	}
	walk(v)
	return b.String()
}

func TestParseKnowsKindTextAndPlaceOfEveryValue(t *testing.T) {
	text := "\ufeff# head\r\na: 1\r\nb:\r\n  - x # c\r\n  - {k: 'v''w', \"odd key\": true}\r\nc: |\r\n  two\r\n  lines\r\nd:\r\n  e: 3.10\r\nf:\r\ng: 1_0\r\nh: yes\r\n"
	v, bad := Parse([]byte(text))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	want := `map "" @2:1 
number "1" @2:4 a
list "" @3:1 b
text "x" @4:5 b[0]
map "" @5:5 b[1]
text "v'w" @5:9 b[1].k
bool "true" @5:28 b[1]."odd key"
text "two\nlines\n" @6:4 c
map "" @9:1 d
number "3.10" @10:6 d.e
null "" @11:3 f
number "1_0" @12:4 g
text "yes" @13:4 h
`
	if got := outline(v); got != want {
		t.Errorf("got\n%s\nexpected\n%s", got, want)
	}
}

func TestParseEndsSoonWhateverTheDocumentRepeats(t *testing.T) {
	for _, piece := range []string{"[", "{a: ", "- ", "? ", "a: ", "[[a],", "\"", "'", "- |\n", "! ", "&a ", "*a ", "\n- a", " ", "{", "[]", "a,", "a:\n ", "--- ", "\n---", "%a\n", "|", ">", ":", "#", "\\", "<<: "} {
		start := time.Now()
		Parse([]byte(strings.Repeat(piece, MaxBytes/len(piece))))
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%q repeated takes %s", piece, took)
		}
	}
}

func TestNestingIsCountedInEveryStyle(t *testing.T) {
	block := func(depth int) string {
		var b strings.Builder
		for i := range depth {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String()
	}
	for name, row := range map[string]struct {
		text string
		ok   bool
	}{
		"flow within":   {strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), true},
		"flow beyond":   {strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), false},
		"dashes beyond": {strings.Repeat("- ", MaxDepth+1) + "a", false},
		"block within":  {block(MaxDepth), true},
		"block beyond":  {block(MaxDepth + 2), false},
	} {
		_, bad := Parse([]byte(row.text))
		if row.ok != (len(bad) == 0) || !row.ok && bad[0].Msg != "nested more than 20 deep" {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5s": 5 * time.Second, "1m30s": 90 * time.Second, "1.5s": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond, "0s": 0, "36h": 36 * time.Hour,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, expected %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "0", "-1s", "+1s", "1d", "5 s", "1us", "1.0005s", "s", "1e3s", ".5s", strings.Repeat("9h", 30)} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is read as %v, expected an error", text, d)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 2 * time.Minute: "2m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s", 10 * time.Minute: "10m", 20 * time.Hour: "20h"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is written as %s, expected %s", d, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1B": 1, "512MiB": 512 << 20, "1.5GiB": 3 << 29, "100MB": 100_000_000, "2kB": 2000, "16TiB": 16 << 40} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v, expected %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "512", "512M", "512m", "1.5B", "-1MiB", "1 MiB", "MiB", "0x1MiB", "999999999999999TiB", "1e3MiB"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q is read as %d, expected an error", text, n)
		}
	}
	for n, want := range map[int64]string{1: "1B", 1 << 10: "1KiB", 1536 << 20: "1536MiB", 2 << 30: "2GiB", 100_000_000: "100000000B", 0: "0B"} {
		if got := FormatSize(n); got != want {
			t.Errorf("%d is written as %s, expected %s", n, got, want)
		}
	}
}

func TestPercentagesKeepTwoDecimalsExactly(t *testing.T) {
	for n := 0; n <= 10_000; n++ {
		text := FormatPercent(float64(n) / 1e4)
		f, err := ParsePercent(text)
		if err != nil || f != float64(n)/1e4 {
			t.Fatalf("%d: %s is read as %v, %v", n, text, f, err)
		}
	}
	for _, text := range []string{"", "%", "10", "-1%", "0.001%", "1e1%", "10 %"} {
		if f, err := ParsePercent(text); err == nil {
			t.Errorf("%q is read as %v, expected an error", text, f)
		}
	}
}

func TestNearFindsTheWordThatWasMeant(t *testing.T) {
	options := []string{"port", "publish", "min_healthy", "stop", "overlap"}
	for word, want := range map[string]string{
		"prot": "port", "Port": "port", "ports": "port", "pubish": "publish", "minHealthy": "min_healthy", "min-healthy": "min_healthy",
		"overlpa": "overlap", "replicas": "", "x": "", "": "", "pt": "", strings.Repeat("p", 10_000): "",
	} {
		if got, ok := Near(word, options); got != want || ok != (want != "") {
			t.Errorf("%.20q: got %q, expected %q", word, got, want)
		}
	}
}

func TestAURLIsNeverRepeatedInAMessage(t *testing.T) {
	v := Value{Kind: Text, Text: "https://user:geheim@host/x"}
	if got := v.Found(); got != `"https://…"` {
		t.Errorf("got %s", got)
	}
}

func TestProblemsAreSortedByPlace(t *testing.T) {
	var r Reader
	r.Addf(Value{Line: 3, Col: 1}, "c")
	r.Addf(Value{Line: 1, Col: 9}, "b")
	r.Addf(Value{Line: 1, Col: 2}, "a")
	want := []Problem{{1, 2, "", "a"}, {1, 9, "", "b"}, {3, 1, "", "c"}}
	if got := r.Problems(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
}

func FuzzParseNeverPanicsAndPlacesEverything(f *testing.F) {
	for _, s := range []string{"a: 1", "- a\n- {b: [c, 'd']}\n", "a: |\n  x\n", "? a\n: b", "&a *a", "%YAML 1.2\n---\n", "\"\\u00e9\\x00\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, bad := Parse(text)
		if len(bad) == 0 && v.Kind == Missing {
			t.Error("neither a value nor a problem")
		}
		var walk func(Value)
		walk = func(v Value) {
			if v.Line < 1 || v.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("%s is on line %d", v.Path, v.Line)
			}
			for _, item := range v.Items {
				walk(item)
			}
			for _, e := range v.Entries {
				walk(e.Value)
			}
		}
		if len(bad) == 0 {
			walk(v)
		}
	})
}
