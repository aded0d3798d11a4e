package tool

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
)

func TestASecretIsSeenNowhere(t *testing.T) {
	const secret = "p@ss \"w<o>rd\"\\\n$1"
	quoted, _ := json.Marshal(secret)
	loose := strings.ReplaceAll(strings.ReplaceAll(string(quoted), `\u003c`, "<"), `\u003e`, ">")
	shapes := map[string]string{
		"as it is":        secret,
		"in JSON":         string(quoted),
		"in plain JSON":   loose,
		"quoted by Go":    fmt.Sprintf("%q", secret),
		"in a query":      url.QueryEscape(secret),
		"in a path":       url.PathEscape(secret),
		"in base64":       base64.StdEncoding.EncodeToString([]byte(secret)),
		"in URL base64":   base64.URLEncoding.EncodeToString([]byte(secret)),
		"its first line":  `p@ss "w<o>rd"\`,
		"without its end": strings.TrimSpace(secret),
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			with(t, &out, &stderr, func(_ context.Context, s *Session) error {
				s.Hide(secret)
				s.Say("say %s end", shape)
				s.Log.Warn("log", "v", shape)
				fmt.Fprintf(s.Stdout, "print %s end", shape)
				return errors.New("fail " + shape)
			})
			text := out.String() + stderr.String()
			for _, part := range []string{"p@ss", `rd"`, "rd%22", "cEBzcyA", "%22w"} {
				if strings.Contains(text, part) {
					t.Errorf("%q shows %q", text, part)
				}
			}
			if strings.Count(text, "***") < 4 {
				t.Errorf("%q hides too little", text)
			}
		})
	}
}

func TestASecretIsHiddenWhereverTheWritesAreCut(t *testing.T) {
	long := strings.Repeat("0123456789abcdef-", 600) + "end"
	tests := []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"one", []string{"topsecret"}, "a topsecret b topsecre c", "a *** b topsecre c"},
		{"one at the end", []string{"topsecret"}, "a topsecret", "a ***"},
		{"one within another", []string{"secret", "topsecret!"}, "topsecret! topsecret", "*** top***"},
		{"one that begins another", []string{"secret", "secretive"}, "secret secretive secreti", "*** *** ***i"},
		{"overlapping begins", []string{"aaaaaab"}, "aaaaaaaaab", "aaa***"},
		{"a short one stays", []string{"true", "12345"}, "true 12345", "true 12345"},
		{"a long one, piece by piece", []string{long}, "x" + long + "y", "x" + strings.Repeat("***", (len(long)-hideStep-hideFrom+hideStep-1)/hideStep+1) + "y"},
		{"lines of one", []string{"line number one\nx\nline number two"}, "x line number two", "x ***"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 3, 7, 100000} {
				h := &hidden{}
				h.add(tt.secrets...)
				var out bytes.Buffer
				w := &hiding{w: &out, hidden: h}
				for rest := tt.text; rest != ""; {
					n := min(step, len(rest))
					if _, err := io.WriteString(w, rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				if out.String() != tt.want {
					t.Errorf("in steps of %d: %q, want %q", step, out.String(), tt.want)
				}
			}
		})
	}
}

func FuzzHidingKeepsAllElseAndShowsNoSecret(f *testing.F) {
	f.Add("topsecret", "a topsecret b", 3)
	f.Add("aaaaaab", "aaaaaaaaab", 1)
	f.Fuzz(func(t *testing.T, secret, text string, cut int) {
		h := &hidden{}
		h.add(secret)
		var out bytes.Buffer
		w := &hiding{w: &out, hidden: h}
		cut = max(0, min(cut, len(text)))
		_, _ = io.WriteString(w, text[:cut])
		_, _ = io.WriteString(w, text[cut:])
		_ = w.Flush()
		if len(secret) >= hideFrom && len(secret) <= hideStep && !strings.Contains(secret, "*") && strings.Contains(out.String(), secret) {
			t.Errorf("%q shows %q", out.String(), secret)
		}
		if len(secret) < hideFrom && out.String() != text {
			t.Errorf("%q became %q", text, out.String())
		}
	})
}

func TestAVeiledTextHidesWhatTheOutputHides(t *testing.T) {
	s := &Session{hidden: &hidden{}}
	s.Hide("hunter2-hunter2")
	if got := s.Veil(`cannot open "hunter2-hunter2": no`); got != `cannot open "***": no` {
		t.Errorf("got %s", got)
	}
	if got := (&Session{}).Veil("nothing is hidden"); got != "nothing is hidden" {
		t.Errorf("got %s", got)
	}
}
