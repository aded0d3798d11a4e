package consul

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// tokenFile sends the token that a file holds at the moment: Consul's client
// reads it once, and a token that is replaced while a daemon runs would be the
// old one for ever. While the file cannot be read, or is empty, the last token stays.
type tokenFile struct {
	path string
	next http.RoundTripper

	mu       sync.Mutex
	modified time.Time
	size     int64
	token    string
}

// RoundTrip implements http.RoundTripper.
func (f *tokenFile) RoundTrip(req *http.Request) (*http.Response, error) {
	if token := f.current(); token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("X-Consul-Token", token)
	}
	return f.next.RoundTrip(req)
}

func (f *tokenFile) current() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil || info.ModTime().Equal(f.modified) && info.Size() == f.size {
		return f.token
	}
	text, err := os.ReadFile(f.path)
	if token := strings.TrimSpace(string(text)); err == nil && token != "" {
		f.token, f.modified, f.size = token, info.ModTime(), info.Size()
	}
	return f.token
}
