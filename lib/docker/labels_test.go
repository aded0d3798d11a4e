package docker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"

	"svckit/lib/fleet"
)

// inspected is what the engine says of a healthy container of ours.
func inspected(labels map[string]string) container.InspectResponse {
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: strings.Repeat("ab", 32), Name: "/shortener-web-1", Created: "2026-11-21T07:00:00.5Z", RestartCount: 2,
			State:      &container.State{Status: "running", StartedAt: "2026-11-21T07:00:01Z"},
			HostConfig: &container.HostConfig{NetworkMode: "bridge", RestartPolicy: container.RestartPolicy{Name: "always"}, Resources: container.Resources{Memory: 64 << 20, CpusetCpus: "3,1"}},
		},
		Config: &container.Config{Labels: labels, Env: []string{"PATH=/bin", "URL=a=b", "EMPTY="}, StopSignal: "SIGTERM"},
	}
}

func TestALabelledContainerIsReadAsAnInstance(t *testing.T) {
	got := instanceOf(inspected(map[string]string{
		fleet.LabelApp: "shortener", fleet.LabelService: "web", fleet.LabelRelease: "3f2c0a1-dirty",
		fleet.LabelImage: "registry.service.consul:5000/shortener@sha256:" + strings.Repeat("0", 64),
		fleet.LabelShape: `{"port":8000}`, fleet.LabelEnv: "EMPTY,URL", fleet.LabelAddress: "10.0.0.7", fleet.LabelPort: "20001",
		fleet.LabelCPU: "1.5", fleet.LabelCores: "3,1", fleet.LabelExclusive: "1", fleet.LabelDir: "/run/svckit/shortener-web-1",
		fleet.LabelPrefix: "svc",
	}))
	want := fleet.Instance{
		ID: strings.Repeat("ab", 32), Name: "shortener-web-1", App: "shortener", Service: "web", Release: "3f2c0a1-dirty",
		Image: "registry.service.consul:5000/shortener@sha256:" + strings.Repeat("0", 64), Shape: `{"port":8000}`,
		Env: map[string]string{"URL": "a=b", "EMPTY": ""}, State: fleet.Running, Restarts: 2,
		StartedAt: time.Date(2026, 11, 21, 7, 0, 1, 0, time.UTC), CreatedAt: time.Date(2026, 11, 21, 7, 0, 0, 500_000_000, time.UTC),
		Address: "10.0.0.7", Port: 20001, CPU: 1.5, Cores: []int{3, 1}, Exclusive: 1, Allowed: []int{1, 3}, Memory: 64 << 20,
		Dir: "/run/svckit/shortener-web-1", Prefix: "svc", Network: "bridge", Restart: "always", StopSignal: "SIGTERM",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheEnginesCpusetIsReadAsCores(t *testing.T) {
	for _, row := range []struct {
		text string
		want []int
	}{
		{"", nil},
		{"0", []int{0}},
		{"1,0", []int{0, 1}},
		{"0-2,5", []int{0, 1, 2, 5}},
		{"0-1,1", []int{0, 1}},
		{"2-1", nil},
		{"x", nil},
		{"-1", nil},
		{"0-99999999", nil},
		{"0,,1", nil},
	} {
		if got := allowed(row.text); !slices.Equal(got, row.want) {
			t.Errorf("%q: %v, want %v", row.text, got, row.want)
		}
	}
}

func TestALabelThatMakesNoSenseLeavesItsFieldEmptyAndIsNamed(t *testing.T) {
	rows := []struct{ name, key, value string }{
		{"app with a slash", fleet.LabelApp, "a/b"},
		{"app in capitals", fleet.LabelApp, "Shop"},
		{"service with a line break", fleet.LabelService, "web\nroot"},
		{"release with a path", fleet.LabelRelease, "../x"},
		{"image with a blank", fleet.LabelImage, "repo x"},
		{"port beyond the end", fleet.LabelPort, "65536"},
		{"port in words", fleet.LabelPort, "http"},
		{"negative cpu", fleet.LabelCPU, "-1"},
		{"cpu that is no number", fleet.LabelCPU, "NaN"},
		{"endless cpu", fleet.LabelCPU, "Inf"},
		{"the same core twice", fleet.LabelCores, "1,1"},
		{"a negative core", fleet.LabelCores, "-1"},
		{"a core range", fleet.LabelCores, "0-3"},
		{"more exclusive cores than cores", fleet.LabelExclusive, "1"},
		{"relative folder", fleet.LabelDir, "run/x"},
		{"folder that climbs", fleet.LabelDir, "/run/svckit/../../etc"},
		{"address with a slash", fleet.LabelAddress, "10.0.0.1/8"},
		{"variable that the container has not", fleet.LabelEnv, "URL,GONE"},
		{"shape without end", fleet.LabelShape, strings.Repeat("x", maxLabel+1)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := instanceOf(inspected(map[string]string{row.key: row.value}))
			if len(got.Bad) != 1 || !strings.HasPrefix(got.Bad[0], "label "+row.key+": ") {
				t.Fatalf("bad = %q, want one line about %s", got.Bad, row.key)
			}
			got.Bad = nil
			want := instanceOf(inspected(nil))
			if row.key == fleet.LabelEnv {
				want.Env = map[string]string{"URL": "a=b"}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("more than that field differs (-want +got)\n%s", diff)
			}
		})
	}
}

func TestTheAddressOfAContainerWithItsOwnAddressIsTheNetworks(t *testing.T) {
	raw := inspected(map[string]string{fleet.LabelAddress: "10.0.0.7", fleet.LabelPort: "8000"})
	raw.HostConfig.NetworkMode = "lan"
	raw.NetworkSettings = &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{
		"lan": {IPAddress: "192.0.2.9"}, "other": {IPAddress: "192.0.2.10"},
	}}
	if got := instanceOf(raw); got.Address != "192.0.2.9" || got.Port != 8000 {
		t.Errorf("%s:%d, want 192.0.2.9:8000", got.Address, got.Port)
	}
	raw.NetworkSettings.Networks = nil // not started yet
	if got := instanceOf(raw); got.Address != "" {
		t.Errorf("address before the start %q, want none", got.Address)
	}
}

func TestTheOwnerOfAContainerIsAProcessOrNobody(t *testing.T) {
	got := instanceOf(inspected(map[string]string{fleet.LabelOwner: `{"pid":7,"started":"12","boot":"b"}`}))
	if got.Owner == nil || got.Owner.PID != 7 || got.Owner.Started != "12" || got.Owner.Boot != "b" || len(got.Bad) != 0 {
		t.Errorf("owner %+v, bad %q", got.Owner, got.Bad)
	}
	for _, text := range []string{"{", `{"pid":0}`, `{"pid":7,"who":"` + strings.Repeat("x", 5000) + `"}`} {
		if got := instanceOf(inspected(map[string]string{fleet.LabelOwner: text})); got.Owner != nil || len(got.Bad) != 1 {
			t.Errorf("%.20s: owner %+v, bad %q, want none and one line", text, got.Owner, got.Bad)
		}
	}
}

func TestAnEmptyAnswerOfTheEngineIsNoPanic(t *testing.T) {
	if got := instanceOf(container.InspectResponse{}); len(got.Bad) != 1 {
		t.Errorf("bad = %q, want one line", got.Bad)
	}
	if got := instanceOf(container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{ID: "x"}}); got.ID != "x" {
		t.Errorf("id %q, want x", got.ID)
	}
}

func FuzzLabelsNeverGiveWhatCannotBe(f *testing.F) {
	f.Add("0,1", "1", "20000", "1.5", "/run/x", "A,B", "web")
	f.Add("1,,2", "9", "-1", "1e309", "/", ",", "\x00")
	f.Fuzz(func(t *testing.T, cores, exclusive, port, cpu, dir, env, app string) {
		in := instanceOf(inspected(map[string]string{
			fleet.LabelCores: cores, fleet.LabelExclusive: exclusive, fleet.LabelPort: port, fleet.LabelCPU: cpu,
			fleet.LabelDir: dir, fleet.LabelEnv: env, fleet.LabelApp: app,
		}))
		if in.Port < 0 || in.Port > 65535 || !(in.CPU >= 0 && in.CPU <= maxCores) || in.Exclusive < 0 || in.Exclusive > len(in.Cores) {
			t.Errorf("impossible instance %+v", in)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(in.Cores)))) != len(in.Cores) {
			t.Errorf("cores %v name one twice", in.Cores)
		}
		if strings.Contains(in.Dir, "..") && strings.Contains(in.Dir, "/../") || in.Dir != "" && in.Dir[0] != '/' {
			t.Errorf("folder %q", in.Dir)
		}
		for name := range in.Env {
			if name != "PATH" && name != "URL" && name != "EMPTY" {
				t.Errorf("variable %q from nowhere", name)
			}
		}
	})
}
