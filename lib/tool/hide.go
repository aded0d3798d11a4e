package tool

import (
	"encoding/base64"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	hideFrom = 6   // bytes: shorter values would garble ordinary text
	hideStep = 256 // bytes: longer values are hidden piece by piece
	veil     = "***"
)

// indexLen is how many first bytes the hidden texts are indexed by; at most hideFrom.
const indexLen = 4

// hidden is the set of texts that must not be seen. It is safe for many goroutines.
type hidden struct {
	mu     sync.Mutex
	known  map[string]bool
	forms  map[string][]string // by their first indexLen bytes, longest first
	begins map[string]bool     // their beginnings shorter than that
}

func (h *hidden) add(values ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known, h.forms, h.begins = map[string]bool{}, map[string][]string{}, map[string]bool{}
	}
	touched := map[string]bool{}
	for _, v := range values {
		for _, f := range formsOf(v) {
			if h.known[f] {
				continue
			}
			h.known[f] = true
			key := f[:indexLen]
			h.forms[key] = append(h.forms[key], f)
			touched[key] = true
			for n := 1; n < indexLen; n++ {
				h.begins[f[:n]] = true
			}
		}
	}
	for key := range touched {
		slices.SortFunc(h.forms[key], func(a, b string) int { return len(b) - len(a) })
	}
}

// formsOf lists the ways in which a value may appear in a text.
func formsOf(value string) []string {
	whole := []string{value, strings.TrimSpace(value)}
	if all := strings.Split(value, "\n"); len(all) > 1 {
		for _, l := range all {
			whole = append(whole, strings.TrimSpace(l))
		}
	}
	slices.Sort(whole)
	var out []string
	for _, w := range slices.Compact(whole) {
		if len(w) < hideFrom {
			continue
		}
		forms := append(escapes(w), w, url.QueryEscape(w), url.PathEscape(w),
			base64.RawStdEncoding.EncodeToString([]byte(w)), base64.RawURLEncoding.EncodeToString([]byte(w)))
		for _, once := range escapes(w) {
			forms = append(forms, escapes(once)...) // JSON in a log line, JSON in JSON
		}
		for _, f := range forms {
			out = append(out, pieces(f)...)
		}
	}
	return out
}

// escapes are the ways in which JSON, Go and the log write a text between quotes.
func escapes(w string) []string {
	var plain strings.Builder
	_ = encode(&plain, w)
	inner := func(quoted string) string { return strings.TrimSuffix(strings.TrimPrefix(quoted, `"`), `"`) }
	bare := inner(strings.TrimSuffix(plain.String(), "\n"))
	return []string{
		bare, strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(bare),
		inner(strconv.Quote(w)), strings.ReplaceAll(w, `"`, `\"`),
	}
}

// pieces cuts a long text so that no piece is shorter than hideFrom or longer than hideStep+hideFrom.
func pieces(s string) []string {
	var out []string
	for len(s) > hideStep+hideFrom {
		out = append(out, s[:hideStep])
		s = s[hideStep:]
	}
	return append(out, s)
}

// hiding is a writer that replaces what is hidden, also where it is spread over
// several writes: it holds back an end that may be the begin of something hidden.
type hiding struct {
	mu      sync.Mutex
	w       io.Writer
	hidden  *hidden
	pending string
	broken  error
}

// Write replaces and writes p. After an error every later write returns it.
func (h *hiding) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return 0, h.broken
	}
	text, rest := h.hidden.replace(h.pending+string(p), false)
	h.pending = rest
	return h.put(len(p), text)
}

// Flush writes what was held back.
func (h *hiding) Flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	text, _ := h.hidden.replace(h.pending, true)
	h.pending = ""
	_, err := h.put(0, text)
	return err
}

// caused reports whether err is what became of a reader who went away, also
// where somebody on the way kept only its text.
func (h *hiding) caused(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	pipe, ok := h.broken.(*brokenPipe) //nolint:errorlint // it is stored as it is
	return ok && strings.Contains(err.Error(), pipe.err.Error())
}

func (h *hiding) put(n int, text string) (int, error) {
	if text == "" || h.broken != nil {
		return n, h.broken
	}
	if _, err := io.WriteString(h.w, text); err != nil {
		h.broken = pipeError(err)
		return 0, h.broken
	}
	return n, nil
}

// replace returns text without what is hidden, and its end that must wait for
// more text: it is the begin of something hidden. The last text waits for nothing.
func (h *hidden) replace(text string, last bool) (ready, rest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out strings.Builder
	from := 0
	for i := 0; i < len(text); {
		match, wait := h.at(text[i:])
		switch {
		case wait && !last:
			return out.String() + text[from:i], text[i:]
		case match == 0:
			i++
		default:
			out.WriteString(text[from:i] + veil)
			i += match
			from = i
		}
	}
	return out.String() + text[from:], ""
}

// at returns the length of the longest hidden text that text begins with, and
// whether more text could make it a longer one.
func (h *hidden) at(text string) (match int, wait bool) {
	if len(text) < indexLen {
		return 0, h.begins[text]
	}
	for _, f := range h.forms[text[:indexLen]] {
		switch {
		case len(text) < len(f):
			wait = wait || strings.HasPrefix(f, text)
		case match == 0 && strings.HasPrefix(text, f):
			match = len(f)
		}
	}
	return match, wait
}
