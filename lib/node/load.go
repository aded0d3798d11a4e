package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"

	"svckit/lib/fault"
	"svckit/lib/spec"
	y "svckit/lib/strictyaml"
)

// DefaultPath is where the settings are when nobody says otherwise.
const DefaultPath = "/etc/svckit/node.yaml"

// Load reads the settings of this machine: defaults, overridden by the file,
// overridden by the SVC_* variables that getenv knows ("" is not set). A path of
// "" is DefaultPath. Only the default file may be missing. Everything that is
// wrong is one fault of kind Invalid with a line for each problem; a file that
// is named and not there is NotFound.
func Load(path string, getenv func(string) string) (Settings, error) {
	if path == "" {
		path = DefaultPath
	}
	text, err := read(path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && path != DefaultPath:
		return Settings{}, fault.WithHint(fault.New(fault.NotFound, "read settings: %w", err), "without a file of your own, %s and the SVC_* variables are read", DefaultPath)
	case err != nil && !missing:
		return Settings{}, fault.New(fault.Invalid, "read settings: %w", err)
	case missing:
		text = nil
	}
	s, problems := Decode(path, text, getenv)
	if err := spec.Invalid("read settings", problems); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// read takes at most a byte more than Decode accepts, from regular files only.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", path))
	}
	return io.ReadAll(io.LimitReader(f, y.MaxBytes+1))
}

// setting is one row of the table that ties a key of the file to its variable.
type setting struct {
	key, env string
	list     bool
	rule     y.Rule
	put      func(*Settings, []string) // called with what follows the rule; one value unless list
}

// Decode is Load without the file system. A text without any value, e.g. all comments, is no problem.
func Decode(file string, text []byte, getenv func(string) string) (Settings, []spec.Problem) {
	out := Default()
	var problems []spec.Problem
	rows := table()
	root, bad := y.Parse(text)
	if len(bad) > 0 && !blank(text) {
		problems = append(problems, places(file, bad)...)
	}
	var r y.Reader
	keys := make([]string, len(rows))
	for i, row := range rows {
		keys[i] = row.key
	}
	fields := r.Fields(root, "a mapping such as {zone: a}", keys...)
	for _, row := range rows {
		row.fromFile(&r, fields.Get(row.key), &out)
	}
	problems = append(problems, places(file, r.Problems())...)
	for _, row := range rows {
		if p := row.fromEnv(getenv(row.env), &out); p != nil {
			problems = append(problems, *p)
		}
	}
	if len(problems) > 0 {
		return Settings{}, problems
	}
	return out, nil
}

// Default returns the settings of a machine without a file and without variables.
func Default() Settings {
	return Settings{
		Prefix: "svc", Ports: Range{20000, 29999}, RunDir: "/run/svckit", StateDir: "/var/lib/svckit", CodeDir: "/var/lib/svckit/code",
		DNSMargin: time.Second, Keep: 3,
		DNSScale: 1, DNSWatches: 120, DNSRate: 5000, DNSHold: 2 * time.Minute, DNSMaxAge: 24 * time.Hour,
	}
}

func blank(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}

func places(file string, bad []y.Problem) (out []spec.Problem) {
	for _, p := range bad {
		out = append(out, spec.Problem{File: file, Line: p.Line, Col: p.Col, Path: p.Path, Msg: p.Msg})
	}
	return out
}

// fromFile reads the setting from the file. A number or a boolean may stand without quotes where one is meant.
func (s setting) fromFile(r *y.Reader, v y.Value, out *Settings) {
	if !v.Given() {
		return
	}
	items := []y.Value{v}
	if s.list {
		items = r.List(v, "a list, each item "+s.rule.Want, 64)
	}
	var texts []string
	for _, item := range items {
		if s.rule.OK("1") && item.Kind == y.Number {
			item.Kind = y.Text
		}
		if s.rule.OK("true") && item.Kind == y.Bool {
			item.Kind = y.Text
		}
		before := len(r.Problems())
		text := r.Text(item, "", s.rule)
		if len(r.Problems()) > before {
			return
		}
		texts = append(texts, text)
	}
	s.put(out, texts)
}

func (s setting) fromEnv(value string, out *Settings) *spec.Problem {
	if value == "" {
		return nil
	}
	texts := []string{value}
	if s.list {
		texts = strings.Split(value, ",")
	}
	for i, text := range texts {
		texts[i] = strings.TrimSpace(text)
		if !s.rule.OK(texts[i]) {
			return &spec.Problem{Path: s.env, Msg: fmt.Sprintf("expected %s, found %q", s.rule.Want, clip(texts[i]))}
		}
	}
	s.put(out, texts)
	return nil
}

// clip bounds what somebody put into the environment.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

var (
	nodeSyntax = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	partSyntax = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

func table() []setting {
	one := func(put func(*Settings, string)) func(*Settings, []string) {
		return func(s *Settings, v []string) { put(s, v[0]) }
	}
	dir := y.Rule{Want: "a clean absolute path", OK: absolute}
	ip := y.Rule{Want: "an IP address", OK: address}
	return []setting{
		{"name", "SVC_NODE", false, y.Rule{Want: "a node name of at most 63 letters, digits, . _ and -", OK: nodeSyntax.MatchString}, one(func(s *Settings, v string) { s.Name = v })},
		{"zone", "SVC_ZONE", false, y.Rule{Want: "a zone of at most 63 letters, digits, . _ and -", OK: nodeSyntax.MatchString}, one(func(s *Settings, v string) { s.Zone = v })},
		{"address", "SVC_ADDRESS", false, ip, one(func(s *Settings, v string) { s.Address = v })},
		{"prefix", "SVC_PREFIX", false, y.Rule{Want: "a key prefix such as svc, without / at its front, // and ..", OK: prefix}, one(func(s *Settings, v string) { s.Prefix = strings.TrimSuffix(v, "/") })},
		{"ports", "SVC_PORTS", false, y.Rule{Want: "a range of ports from 1024 to 65535 such as 20000-29999", OK: func(v string) bool { _, ok := portRange(v); return ok }}, one(func(s *Settings, v string) { s.Ports, _ = portRange(v) })},
		{"run_dir", "SVC_RUN_DIR", false, dir, one(func(s *Settings, v string) { s.RunDir = v })},
		{"state_dir", "SVC_STATE_DIR", false, dir, one(func(s *Settings, v string) { s.StateDir = v })},
		{"code_dir", "SVC_CODE_DIR", false, dir, one(func(s *Settings, v string) { s.CodeDir = v })},
		{"dns", "SVC_DNS", false, y.Rule{Want: "an IP address and a port such as 127.0.0.1:8600, or off", OK: func(v string) bool { return v == "off" || addressPort(v) }}, one(func(s *Settings, v string) { s.DNS = v })},
		{"container_dns", "SVC_CONTAINER_DNS", true, ip, func(s *Settings, v []string) { s.ContainerDNS = v }},
		{"dns_margin", "SVC_DNS_MARGIN", false, y.Rule{Want: "a duration with a unit of at most 5m such as 1s", OK: margin}, one(func(s *Settings, v string) { s.DNSMargin, _ = y.ParseDuration(v) })},
		{"host_paths", "SVC_HOST_PATHS", true, dir, func(s *Settings, v []string) { s.HostPaths = v }},
		{"registries", "SVC_REGISTRIES", true, y.Rule{Want: "a registry such as registry.service.consul:5000", OK: registry}, func(s *Settings, v []string) { s.Registries = v }},
		{"keep_images", "SVC_KEEP_IMAGES", false, number(0, 1000), one(func(s *Settings, v string) { s.Keep, _ = strconv.Atoi(v) })},
		{"dns_listen", "SVC_DNS_LISTEN", true, y.Rule{Want: "an IP address and a port such as 127.0.0.1:53", OK: addressPort}, func(s *Settings, v []string) { s.DNSListen = v }},
		{"dns_link", "SVC_DNS_LINK", false, ip, one(func(s *Settings, v string) { s.DNSLink = v })},
		{"dns_allow", "SVC_DNS_ALLOW", true, y.Rule{Want: "a network such as 10.0.0.0/8", OK: network}, func(s *Settings, v []string) { s.DNSAllow = v }},
		{"dns_upstreams", "SVC_DNS_UPSTREAMS", true, y.Rule{Want: "an IP address, with a port or without, such as 9.9.9.9", OK: func(v string) bool { return address(v) || addressPort(v) }}, func(s *Settings, v []string) { s.DNSUpstreams = v }},
		{"dns_ttl", "SVC_DNS_TTL", false, y.Rule{Want: "a duration with a unit of at most 5m such as 1s", OK: margin}, one(func(s *Settings, v string) { s.DNSTTL, _ = y.ParseDuration(v) })},
		{"dns_one", "SVC_DNS_ONE", false, y.Rule{Want: "true or false", OK: boolean}, one(func(s *Settings, v string) { s.DNSOne = v == "true" })},
		{"dns_limit", "SVC_DNS_LIMIT", false, number(0, 1000), one(func(s *Settings, v string) { s.DNSLimit, _ = strconv.Atoi(v) })},
		{"dns_srv_scale", "SVC_DNS_SRV_SCALE", false, number(1, 65535), one(func(s *Settings, v string) { s.DNSScale, _ = strconv.Atoi(v) })},
		{"dns_watches", "SVC_DNS_WATCHES", false, number(0, 10000), one(func(s *Settings, v string) { s.DNSWatches, _ = strconv.Atoi(v) })},
		{"dns_rate", "SVC_DNS_RATE", false, number(0, 1_000_000), one(func(s *Settings, v string) { s.DNSRate, _ = strconv.Atoi(v) })},
		{"dns_hold", "SVC_DNS_HOLD", false, y.Rule{Want: "a duration with a unit of at most 5m such as 2m", OK: margin}, one(func(s *Settings, v string) { s.DNSHold, _ = y.ParseDuration(v) })},
		{"dns_max_age", "SVC_DNS_MAX_AGE", false, y.Rule{Want: "a duration with a unit of at most 168h such as 24h", OK: week}, one(func(s *Settings, v string) { s.DNSMaxAge, _ = y.ParseDuration(v) })},
		{"scaled_listen", "SVC_SCALED_LISTEN", false, y.Rule{Want: "an IP address and a port such as 10.0.0.5:9654", OK: addressPort}, one(func(s *Settings, v string) { s.ScaledListen = v })},
		{"scaled_token_file", "SVC_SCALED_TOKEN_FILE", false, dir, one(func(s *Settings, v string) { s.ScaledToken = v })},
		{"scaled_cert", "SVC_SCALED_CERT", false, dir, one(func(s *Settings, v string) { s.ScaledCert = v })},
		{"scaled_key", "SVC_SCALED_KEY", false, dir, one(func(s *Settings, v string) { s.ScaledKey = v })},
		{"scaled_ca", "SVC_SCALED_CA", false, dir, one(func(s *Settings, v string) { s.ScaledCA = v })},
	}
}

func boolean(s string) bool { return s == "true" || s == "false" }

func week(s string) bool {
	d, err := y.ParseDuration(s)
	return err == nil && d <= 7*24*time.Hour
}

// number is a whole number from low to high.
func number(low, high int) y.Rule {
	return y.Rule{Want: fmt.Sprintf("a whole number from %d to %d", low, high), OK: func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n >= low && n <= high && s == strconv.Itoa(n)
	}}
}

func absolute(s string) bool {
	return path.IsAbs(s) && path.Clean(s) == s && s != "/" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) &&
		!strings.ContainsAny(s, ":,") && len(s) <= 255
}

func address(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}

func addressPort(s string) bool {
	a, err := netip.ParseAddrPort(s)
	return err == nil && a.Port() > 0 && address(a.Addr().String())
}

func network(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Masked() == p
}

// prefix may end with a slash, as people write the name of a folder.
func prefix(s string) bool {
	for part := range strings.SplitSeq(strings.TrimSuffix(s, "/"), "/") {
		if !partSyntax.MatchString(part) || strings.Contains(part, "..") {
			return false
		}
	}
	return len(s) <= 128
}

func portRange(s string) (Range, bool) {
	low, high, ok := strings.Cut(s, "-")
	first, err := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	r := Range{int(first), int(last)}
	return r, ok && err == nil && err2 == nil && r.First >= 1024 && r.First <= r.Last && s == fmt.Sprintf("%d-%d", r.First, r.Last)
}

func margin(s string) bool {
	d, err := y.ParseDuration(s)
	return err == nil && d <= 5*time.Minute
}

func registry(s string) bool {
	_, err := reference.WithName(s + "/x")
	return err == nil && strings.ContainsAny(s, ".:")
}
