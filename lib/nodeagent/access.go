package nodeagent

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"svckit/lib/fault"
)

// Access is by what clients are known. Files are read again when they change.
type Access struct {
	TokenFile string // the token that clients show as a bearer; "" none
	Cert, Key string // of this node, PEM; "" plain HTTP
	CA        string // whose clients are let in (mTLS); "" any
}

// Known reports whether not everybody is answered.
func (a Access) Known() bool { return a.TokenFile != "" || a.CA != "" }

// Check refuses an address that others reach and where everybody would be answered.
func (a Access) Check(at netip.AddrPort) error {
	switch {
	case (a.Cert == "") != (a.Key == ""):
		return fault.New(fault.Invalid, "a certificate needs its key and the other way round: cert %q, key %q", a.Cert, a.Key)
	case a.CA != "" && a.Cert == "":
		return fault.New(fault.Invalid, "clients can show certificates of %s only where this node has one: set cert and key too", a.CA)
	case !at.Addr().IsLoopback() && !a.Known():
		return fault.WithHint(fault.New(fault.Refused, "serve samples at %s: everybody in the network could read them", at),
			"give a token file (SVC_SCALED_TOKEN_FILE) or a CA for clients' certificates (SVC_SCALED_CA), or listen on 127.0.0.1")
	}
	return nil
}

// Scheme is http or https.
func (a Access) Scheme() string {
	if a.Cert != "" {
		return "https"
	}
	return "http"
}

// Bounds of a token.
const (
	leastToken = 16
	mostToken  = 4096
)

// Token returns what reads the token that clients must show; nil where none is set.
func (a Access) Token() (func() (string, error), error) {
	if a.TokenFile == "" {
		return nil, nil
	}
	f := &fresh[string]{files: []string{a.TokenFile}, read: func() (string, error) { return readToken(a.TokenFile) }}
	_, err := f.get()
	return f.get, err
}

func readToken(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fault.New(fault.Invalid, "read token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostToken+1))
	if err != nil {
		return "", fault.New(fault.Invalid, "read token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < leastToken || len(text) > mostToken || strings.ContainsAny(token, " \t\r\n") {
		return "", fault.New(fault.Invalid, "read token: %s holds no token of %d to %d bytes on one line", name, leastToken, mostToken)
	}
	return token, nil
}

// shows reports whether a client shows the token. It takes as long for any other text.
func shows(r *http.Request, want string) bool {
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok
}

// TLS is the configuration of the server; nil where it has no certificate.
func (a Access) TLS() (*tls.Config, error) {
	if a.Cert == "" {
		return nil, nil
	}
	files := []string{a.Cert, a.Key}
	if a.CA != "" {
		files = append(files, a.CA)
	}
	f := &fresh[*tls.Config]{files: files, read: a.readTLS}
	if _, err := f.get(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.get() }}, nil
}

func (a Access) readTLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(a.Cert, a.Key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read certificate: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if a.CA == "" {
		return out, nil
	}
	text, err := os.ReadFile(a.CA)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read CA: %w", err)
	}
	out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !out.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "read CA: %s holds no certificate", a.CA)
	}
	return out, nil
}

// fresh is what some files say, read again when one of them has changed. While
// they cannot be read, what they said before counts.
type fresh[T any] struct {
	files []string
	read  func() (T, error)

	mu    sync.Mutex
	value T
	state string
	next  time.Time
}

// freshEvery is how often files are looked at.
const freshEvery = time.Second

func (f *fresh[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Before(f.next) {
		return f.value, nil
	}
	state := ""
	for _, name := range f.files {
		if info, err := os.Stat(name); err == nil {
			state += fmt.Sprintf("%s %d %d\n", name, info.ModTime().UnixNano(), info.Size())
		}
	}
	if state != f.state || f.state == "" {
		value, err := f.read()
		if err != nil && f.state == "" {
			return value, err
		}
		if err == nil {
			f.value, f.state = value, state
		}
	}
	f.next = now.Add(freshEvery)
	return f.value, nil
}

// Client is the configuration of who asks nodes: it trusts certificates of the
// CA, where one is set, and shows its own, which is read anew for each connection.
func (a Access) Client() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CA != "" {
		text, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read CA: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(text) {
			return nil, fault.New(fault.Invalid, "read CA: %s holds no certificate", a.CA)
		}
	}
	if a.Cert != "" {
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(a.Cert, a.Key)
			return &pair, err
		}
	}
	return out, nil
}

// Guard lets through who shows the token, where one is set: as a bearer, or as
// the password of a browser's dialogue, under any name.
func (a Access) Guard(next http.Handler) (http.Handler, error) {
	token, err := a.Token()
	if err != nil || token == nil {
		return next, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := token()
		if err != nil {
			http.Error(w, "the token cannot be read", http.StatusServiceUnavailable)
			return
		}
		if _, password, ok := r.BasicAuth(); ok {
			r.Header.Set("Authorization", "Bearer "+password)
		}
		if !shows(r, want) {
			w.Header().Set("WWW-Authenticate", `Basic realm="scaled"`)
			http.Error(w, "show the token of scaled as the password", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}), nil
}
