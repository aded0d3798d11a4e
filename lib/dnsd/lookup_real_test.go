//go:build real

package dnsd

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"svckit/lab"
	"svckit/lib/fleet"
)

func register(t *testing.T, a *lab.Agent, body string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL()+"/v1/agent/service/register", strings.NewReader(body))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
}

func TestConsulGivesEveryInstanceOverTCP(t *testing.T) {
	a := lab.Consul(t, "-hcl", `dns_config { service_ttl { "*" = "5s" } }`)
	var want []fleet.Endpoint
	for i := range 20 {
		register(t, a, fmt.Sprintf(`{"ID":"w%d","Name":"web","Address":"127.0.0.1","Port":%d,"Weights":{"Passing":%d,"Warning":1}}`, i, 20000+i, i+1))
		want = append(want, fleet.Endpoint{Address: "127.0.0.1", Port: 20000 + i, Weight: i + 1})
	}
	register(t, a, `{"ID":"v6","Name":"six","Address":"fd00::7","Port":1}`)
	register(t, a, `{"ID":"n","Name":"nodeaddress","Port":2}`)
	register(t, a, `{"ID":"s","Name":"sick","Address":"127.0.0.1","Port":3,"Check":{"TTL":"1m"}}`)

	var got Answer
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got, err = Lookup(t.Context(), a.DNS, "web.service.consul"); err == nil && len(got.Endpoints) == 20 {
			break
		}
	}
	if err != nil || !reflect.DeepEqual(got, Answer{Endpoints: want, TTL: 5 * time.Second}) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, want := range map[string]Answer{
		"six.service.consul":             {Endpoints: []fleet.Endpoint{{Address: "fd00::7", Port: 1, Weight: 1}}, TTL: 5 * time.Second},
		"nodeaddress.service.dc1.consul": {Endpoints: []fleet.Endpoint{{Address: "127.0.0.1", Port: 2, Weight: 1}}, TTL: 5 * time.Second},
		"sick.service.consul":            {Missing: true},
		"nobody.service.consul":          {Missing: true},
	} {
		got, err := Lookup(t.Context(), a.DNS, name)
		for end := time.Now().Add(time.Minute); (err != nil || !reflect.DeepEqual(got, want)) && time.Now().Before(end); got, err = Lookup(t.Context(), a.DNS, name) {
			time.Sleep(50 * time.Millisecond) // the agent tells the servers one after another
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, want)
		}
	}
	if got, err := LookupA(t.Context(), a.DNS, "web.service.consul"); err != nil || fmt.Sprint(got) != "[127.0.0.1]" {
		t.Errorf("addresses %v, %v", got, err)
	}
	if _, err := Lookup(t.Context(), a.DNS, "web.example.com"); err == nil || !strings.Contains(err.Error(), a.DNS+": REFUSED") {
		t.Errorf("a name outside of Consul's domain: %v", err)
	}
}
