package consul

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

func TestCredentialsOfTheAddressAreNotShown(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:8500":                     "localhost:8500",
		"https://ana:secret@consul.lan:8501": "consul.lan:8501",
		"ana:se@cret@consul.lan":             "consul.lan",
		"unix:///run/consul.sock":            "unix:///run/consul.sock",
	} {
		if got := withoutCredentials(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestABadEnvironmentIsAUsageErrorWithoutTheToken(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "s3cret")
	t.Setenv("CONSUL_CACERT", "/nowhere/ca.pem")
	_, err := Open("svc", nil)
	if fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "/nowhere/ca.pem") {
		t.Errorf("%v", err)
	}
}

func TestTheDNSAddressIsOneThatThisNodeCanAsk(t *testing.T) {
	for _, row := range []struct {
		name string
		in   []string
		want string
	}{
		{"loopback", []string{"udp://127.0.0.1:8600", "tcp://127.0.0.1:8600"}, "127.0.0.1:8600"},
		{"every address", []string{"tcp://0.0.0.0:8600"}, "127.0.0.1:8600"},
		{"every address, v6", []string{"tcp://[::]:8600"}, "[::1]:8600"},
		{"one address", []string{"tcp://10.0.0.5:53"}, "10.0.0.5:53"},
		{"off", nil, ""},
		{"nonsense", []string{"tcp://:::", "x"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := dnsAddress(row.in); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

func TestConfigKeysThatCannotBeNamesAreSkippedWithAReason(t *testing.T) {
	pair := func(name, value string) *api.KVPair {
		return &api.KVPair{Key: "svc/shared/config/" + name, Value: []byte(value)}
	}
	values, skipped := sortLevel("svc/shared/config/", []*api.KVPair{
		pair("DATABASE_URL", "line\n$two\x00\xff"), pair("EMPTY", ""), pair("a/b", "x"), pair("9LIVES", "x"), pair("A-B", "x"), pair("A\x1b", "x"),
	})
	if len(values) != 2 || values["DATABASE_URL"] != "line\n$two\x00\xff" || values["EMPTY"] != "" {
		t.Errorf("values %q", values)
	}
	want := []string{
		"svc/shared/config/a/b: nested path, expected one name",
		"svc/shared/config/9LIVES: not a name of a variable, expected [A-Za-z_][A-Za-z0-9_]{0,127}",
		"svc/shared/config/A-B: not a name of a variable, expected [A-Za-z_][A-Za-z0-9_]{0,127}",
		`"svc/shared/config/A": not a name of a variable, expected [A-Za-z_][A-Za-z0-9_]{0,127}`,
	}
	if strings.Join(skipped, "\n") != strings.Join(want, "\n") {
		t.Errorf("skipped\n%s", strings.Join(skipped, "\n"))
	}
}

func TestACheckSurvivesItsTextInTheMeta(t *testing.T) {
	for _, k := range []fleet.Check{
		{},
		{Type: "http", Target: "http://10.0.0.1:8000/healthz?a=b c", Interval: 2e9, Timeout: 1e9},
		{Type: "tcp", Target: "[fd00::1]:6379", Interval: 2e9, Timeout: 1e9},
		{Type: "grpc", Target: "10.0.0.1:9000/shop.v1.Cart", Interval: 2e9, Timeout: 1e9},
		{Type: "ttl", Interval: 30e9},
	} {
		if got := parseCheck(checkText(k)); got != k {
			t.Errorf("%+v came back as %+v", k, got)
		}
	}
	for _, text := range []string{"http", "http 2s", "http x 1s http://a", "script 1s 1s rm", "http 2s 1s ftp://x", "tcp 2s 1s nohost"} {
		if got := parseCheck(text); got != (fleet.Check{}) {
			t.Errorf("%q became %+v", text, got)
		}
	}
}

func TestAMalformedRegistrationIsRefusedBeforeTheAgentSeesIt(t *testing.T) {
	good := fleet.Registration{ID: "shop-web-node1-0a1b2c3d", Name: "shop-web", Address: "127.0.0.1", Port: 8000, Weight: 1}
	if err := checkRegistration(good); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func(*fleet.Registration)
		want   string
	}{
		{"path in id", func(r *fleet.Registration) { r.ID = "../x" }, "id is not"},
		{"name with a dot", func(r *fleet.Registration) { r.Name = "shop.web" }, "not a DNS label"},
		{"name of 64 bytes", func(r *fleet.Registration) { r.Name = strings.Repeat("a", 64) }, "not a DNS label"},
		{"no address", func(r *fleet.Registration) { r.Address = "" }, "no address"},
		{"port", func(r *fleet.Registration) { r.Port = 70000 }, "port 70000"},
		{"weight 0", func(r *fleet.Registration) { r.Weight = 0 }, "weight 0"},
		{"meta key", func(r *fleet.Registration) { r.Meta = map[string]string{"a b": ""} }, `meta "a b"`},
		{"meta value", func(r *fleet.Registration) { r.Meta = map[string]string{"a": strings.Repeat("x", 513)} }, `meta "a"`},
		{"script check", func(r *fleet.Registration) { r.Check.Type = "script" }, `check type "script"`},
		{"check of a file", func(r *fleet.Registration) {
			r.Check = fleet.Check{Type: "http", Target: "file:///etc/passwd", Interval: 1e9, Timeout: 1e9}
		}, "http check"},
		{"no interval", func(r *fleet.Registration) { r.Check = fleet.Check{Type: "tcp", Target: "127.0.0.1:1", Timeout: 1e9} }, "tcp check"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := good
			row.change(&r)
			if err := checkRegistration(r); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}
