package nodeagent

import (
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const token = "0123456789abcdef"

// served runs an agent on a socket of its own until the test ends, and returns its address.
func served(t *testing.T, s Serving) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	a, _ := w.agent(t, nil)
	s.Listener = l
	a.Serve = s
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}

// reply is an answer with its body.
type reply struct {
	code   int
	header http.Header
	body   string
}

// get asks until there was a reading.
func get(t *testing.T, c *http.Client, url, bearer string) reply {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; {
		req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", bearer)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusServiceUnavailable || time.Now().After(until) {
			return reply{res.StatusCode, res.Header, string(body)}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestASampleIsServedPacked(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "figures 1\n") })
	at := served(t, Serving{Metrics: metrics})
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	res := get(t, c, "http://"+at+"/v1/sample", "")
	if res.code != http.StatusOK || res.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%d, %v", res.code, res.header)
	}
	z, err := gzip.NewReader(strings.NewReader(res.body))
	if err != nil {
		t.Fatal(err)
	}
	var s fleet.Sample
	if err := json.NewDecoder(z).Decode(&s); err != nil || s.Schema != 1 || s.Node != "n1" || s.CPUs != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	if text := get(t, c, "http://"+at+"/metrics", "").body; text != "figures 1\n" {
		t.Errorf("%q", text)
	}
	if res := get(t, c, "http://"+at+"/other", ""); res.code != http.StatusNotFound {
		t.Errorf("another path: %d", res.code)
	}
}

func TestOnlyWhoShowsTheTokenIsAnswered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(token + "\n")
	shown, err := Access{TokenFile: file}.Token()
	if err != nil {
		t.Fatal(err)
	}
	at := served(t, Serving{Token: shown})
	for bearer, want := range map[string]int{
		"Bearer " + token: http.StatusOK, "": http.StatusUnauthorized, "Bearer": http.StatusUnauthorized, "Bearer " + token + "x": http.StatusUnauthorized,
		token: http.StatusUnauthorized, "Basic " + token: http.StatusUnauthorized, "Bearer " + token[1:]: http.StatusUnauthorized,
	} {
		if res := get(t, http.DefaultClient, "http://"+at+"/v1/sample", bearer); res.code != want {
			t.Errorf("%q: %d, want %d", bearer, res.code, want)
		}
		if res := get(t, http.DefaultClient, "http://"+at+"/metrics", bearer); want == http.StatusUnauthorized && res.code != want {
			t.Errorf("%q: metrics %d, want %d", bearer, res.code, want)
		}
	}
	put(strings.Repeat("n", 20)) // another token takes its place
	for until := time.Now().Add(10 * time.Second); ; {
		res := get(t, http.DefaultClient, "http://"+at+"/v1/sample", "Bearer "+strings.Repeat("n", 20))
		if res.code == http.StatusOK {
			break
		}
		time.Sleep(10 * time.Millisecond)
		if time.Now().After(until) {
			t.Fatalf("the new token was never taken: %d", res.code)
		}
	}
	if res := get(t, http.DefaultClient, "http://"+at+"/v1/sample", "Bearer "+token); res.code != http.StatusUnauthorized {
		t.Errorf("the old token: %d", res.code)
	}
}

func TestATokenThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", 5000), "0123456789 abcdef"} {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (Access{TokenFile: file}).Token(); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestBeyondTheLoopbackClientsMustBeKnown(t *testing.T) {
	for _, row := range []struct {
		at   string
		may  Access
		want fault.Kind
	}{
		{"127.0.0.1:1", Access{}, 0},
		{"[::1]:1", Access{}, 0},
		{"10.0.0.1:1", Access{}, fault.Refused},
		{"10.0.0.1:1", Access{Cert: "c", Key: "k"}, fault.Refused},
		{"10.0.0.1:1", Access{TokenFile: "t"}, 0},
		{"10.0.0.1:1", Access{Cert: "c", Key: "k", CA: "a"}, 0},
		{"10.0.0.1:1", Access{CA: "a"}, fault.Invalid},
		{"127.0.0.1:1", Access{Cert: "c"}, fault.Invalid},
	} {
		err := row.may.Check(netip.MustParseAddrPort(row.at))
		if row.want == 0 && err != nil || row.want != 0 && fault.KindOf(err) != row.want {
			t.Errorf("%s, %+v: %v, want %v", row.at, row.may, err, row.want)
		}
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a *authority) issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: a.cert == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := form, k
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, &k.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		a.key = k
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestOnlyCertificatesOfTheCAAreLetIn(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := &authority{}, &authority{}
	ca, _ := ours.issue(t, dir, "ca")
	theirs.issue(t, dir, "other")
	cert, key := ours.issue(t, dir, "server")
	conf, err := Access{Cert: cert, Key: key, CA: ca}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	at := served(t, Serving{TLS: conf})
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	ask := func(by *authority, name string) error {
		c := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		if by != nil {
			pair, err := tls.LoadX509KeyPair(by.issue(t, dir, name))
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{pair}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}, Timeout: 10 * time.Second}
		defer client.CloseIdleConnections()
		res, err := client.Get("https://" + at + "/v1/sample")
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if err := ask(ours, "client"); err != nil {
		t.Errorf("a client of ours: %v", err)
	}
	if err := ask(theirs, "foreign"); err == nil {
		t.Error("a client of another CA was answered")
	}
	if err := ask(nil, ""); err == nil {
		t.Error("a client without a certificate was answered")
	}
}

func TestAFewRequestsAreAnsweredAtATime(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { enter <- struct{}{}; <-leave })
	at := served(t, Serving{Metrics: slow})
	ended := make(chan struct{}, requests)
	for range requests {
		go func() {
			defer func() { ended <- struct{}{} }()
			if res, err := http.Get("http://" + at + "/metrics"); err == nil {
				res.Body.Close()
			}
		}()
		<-enter
	}
	res, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %s", res.Status)
	}
	close(leave)
	for range requests {
		<-ended
	}
}
