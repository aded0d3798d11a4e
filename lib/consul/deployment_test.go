package consul

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/deploy"
	"svckit/lib/spec"
)

func sampleDeployment() deploy.State {
	s, _ := deploy.Plan(deploy.Wanted{
		App: "shop", Release: "r2", Image: imageB, Services: []string{"web"}, Stable: map[string]deploy.Aim{"web": {Release: "r1", Image: imageA}},
		Nodes: map[string]string{"n1": "a", "n2": "b"}, How: spec.DefaultDeploy(), Run: "run1", Holder: "ann@desk",
	}, noon)
	s = deploy.Start(s, "n1", deploy.DoPull, map[string]int{"web": 2}, noon.Add(time.Second))
	s, _ = deploy.Note(s, "n1", deploy.DoPull, &deploy.Failure{Check: "pull", Output: "no such image"}, noon.Add(2*time.Second))
	return s
}

func TestADeployIsReadAsItWasWritten(t *testing.T) {
	want := sampleDeployment()
	value, err := encode(deploymentDoc{Schema: schema, State: want})
	if err != nil {
		t.Fatal(err)
	}
	want.Index = 7
	got, err := decodeDeployment("shop", &api.KVPair{Value: value, ModifyIndex: 7})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestADeployThatMakesNoSenseIsNotTaken(t *testing.T) {
	for _, row := range []struct {
		name, want string
		change     func(d map[string]any)
	}{
		{"a newer schema", "newer than this program knows", func(d map[string]any) { d["schema"] = 9 }},
		{"no image", "release or image is not one", func(d map[string]any) { d["image"] = "shop:latest" }},
		{"no run", "run or holder", func(d map[string]any) { delete(d, "run") }},
		{"a phase of nobody", `phase "sideways" is none`, func(d map[string]any) { d["phase"] = "sideways" }},
		{"back without a reason", "does not say why", func(d map[string]any) { d["phase"] = "back" }},
		{"failed without a reason", "does not say why", func(d map[string]any) { d["phase"], d["result"] = "ended", "failed" }},
		{"a batch below none", "out of bounds", func(d map[string]any) { d["at"] = -1 }},
		{"a node that is a path", `node "../n" is none`, func(d map[string]any) { d["nodes"] = map[string]any{"../n": map[string]any{"is": "done"}} }},
		{"a batch of strangers", `node "n9" is in a batch only`, func(d map[string]any) { d["batches"] = [][]string{{"n9"}} }},
		{"a service that is a key of ours", `service "releases" is none`, func(d map[string]any) { d["services"] = []string{"releases"} }},
		{"stable without a digest", `stable release of "web" is none`, func(d map[string]any) {
			d["stable"] = map[string]any{"web": map[string]string{"release": "r1", "image": "x"}}
		}},
		{"a time before time", "not a time of this century", func(d map[string]any) { d["began"] = "0001-01-01T00:00:00Z" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			value, err := encode(deploymentDoc{Schema: schema, State: sampleDeployment()})
			if err != nil {
				t.Fatal(err)
			}
			var doc map[string]any
			if err := json.Unmarshal(value, &doc); err != nil {
				t.Fatal(err)
			}
			row.change(doc)
			if value, err = json.Marshal(doc); err != nil {
				t.Fatal(err)
			}
			if _, err := decodeDeployment("shop", &api.KVPair{Value: value}); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}

// Whatever lies under the key of a deploy: what is taken can be advanced, shown and written again.
func FuzzDeployment(f *testing.F) {
	value, err := encode(deploymentDoc{Schema: schema, State: sampleDeployment()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"schema":1,"phase":"back","nodes":null}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := decodeDeployment("shop", &api.KVPair{Value: value})
		if err != nil {
			return
		}
		_, _ = s.Words(), s.Steps()
		next, _, _ := deploy.Advance(s, nil, true, noon)
		if strings.ContainsAny(s.Holder+s.Words(), "\n\x1b") {
			t.Errorf("a terminal would be shown %q", s.Words())
		}
		if err := checkDeployment(next); err != nil {
			t.Errorf("advanced it is not one any more: %v", err)
		}
	})
}
