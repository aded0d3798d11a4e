package spec

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func designed(t *testing.T) Service {
	t.Helper()
	app, bad := Decode("app.yaml", []byte(`
app: shortener
services:
  web:
    command: [gunicorn, "app<1>&"]
    port: 8000
    resources: {cpu: 1.5, memory: 512MiB}
    volumes: ["d2:/b", "d1:/a:ro"]
    config: {secrets: [TOKEN], files: [{template: b, to: /etc/b}, {template: a, to: /etc/a}]}
`))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return app.Services[0]
}

// A changed shape replaces every container of a fleet at the next up, so the text itself is pinned.
func TestShapeIsCanonicalJSONAndStaysAsItIs(t *testing.T) {
	want := `{"command":["gunicorn","app<1>&"],"port":8000,"network":"bridge","publish":"auto","stop":{"signal":"TERM","timeout":30},` +
		`"files":["/etc/a","/etc/b"],"secrets":true,"resources":{"cpu":1.5,"memory":536870912},"volumes":["d1:/a:ro","d2:/b"]}`
	if got := Shape(designed(t)); got != want {
		t.Errorf("got %s\nexpected %s", got, want)
	}
}

func TestDiffShapeNamesWhatAContainerCannotChange(t *testing.T) {
	old := designed(t)
	for _, row := range []struct {
		name   string
		change func(*Service)
		want   []string
	}{
		{"nothing", func(*Service) {}, nil},
		{"command", func(s *Service) { s.Command = []string{"x"} }, []string{"command"}},
		{"command gone", func(s *Service) { s.Command = nil }, []string{"command"}},
		{"port", func(s *Service) { s.Port = 1 }, []string{"port"}},
		{"network", func(s *Service) { s.Network = Network{Macvlan, "lan"} }, []string{"network", "publish"}},
		{"publish", func(s *Service) { s.Publish.Port = 8000 }, []string{"publish"}},
		{"stop", func(s *Service) { s.Stop = Stop{"QUIT", time.Minute, 0} }, []string{"stop.signal", "stop.timeout"}},
		{"code", func(s *Service) { s.Code.Mount = "/srv" }, []string{"code"}},
		{"file targets", func(s *Service) { s.Config.Files[0].To = "/etc/c" }, []string{"files"}},
		{"no secrets", func(s *Service) { s.Config.Secrets = nil }, []string{"secrets"}},
		{"resources", func(s *Service) { s.Resources = Resources{CPU: 2, Memory: 512 << 20, CPUBinding: true} }, []string{"resources.cpu", "resources.cpu_binding"}},
		{"volumes", func(s *Service) { s.Volumes[1].ReadOnly = true }, []string{"volumes"}},
		{"kind cron", func(s *Service) { s.Kind = Cron }, []string{"scheduled"}},
		{"what a container does not hold", func(s *Service) {
			s.Name, s.Tags, s.Overlap, s.Stop.Drain, s.Master = "x", []string{"v2"}, false, time.Hour, Gunicorn
			s.Check, s.Scale.Min, s.Config.Env, s.Config.Secrets = Check{}, 9, []string{"A"}, []string{"OTHER"}
			s.Config.Files[0].Template = "other"
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := designed(t)
			row.change(&s)
			if got := DiffShape(Shape(old), Shape(s)); !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %v, expected %v", got, row.want)
			}
			if got := DiffShape(Shape(s), Shape(old)); !reflect.DeepEqual(got, row.want) {
				t.Errorf("the other way round: got %v, expected %v", got, row.want)
			}
		})
	}
}

func TestDiffShapeToleratesForeignShapes(t *testing.T) {
	now := `{"port":8000,"stop":{"signal":"TERM"}}`
	for _, row := range []struct {
		name, old string
		want      []string
	}{
		{"not there", "", []string{"shape"}},
		{"not JSON", "{", []string{"shape"}},
		{"not an object", "[1]", []string{"shape"}},
		{"null", "null", []string{"shape"}},
		{"too large", `{"x":"` + strings.Repeat("x", 1<<20) + `"}`, []string{"shape"}},
		{"other order and blanks", `{ "stop": {"signal" : "TERM"}, "port": 8000 }`, nil},
		{"a field of a newer svckit", `{"port":8000,"stop":{"signal":"TERM"},"gpu":1}`, []string{"gpu"}},
		{"another type", `{"port":{"a":1},"stop":7}`, []string{"port", "port.a", "stop", "stop.signal"}},
	} {
		if got := DiffShape(row.old, now); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: got %v, expected %v", row.name, got, row.want)
		}
	}
}
