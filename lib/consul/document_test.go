package consul

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fleet"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	imageA  = "registry.example:5000/shop@" + digestA
	imageB  = "registry.example:5000/shop@" + digestB
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sampleRelease(name string) fleet.Release {
	return fleet.Release{
		App: "shop", Name: name, Image: imageA, Tag: "registry.example:5000/shop:" + name,
		Spec:      "app: shop # <&> \"quoted\"\nservices: {web: {}}\n",
		Templates: map[string]string{"settings.tmpl": "{{ .Env.X }}\r\n"},
		Git:       fleet.Git{Commit: strings.Repeat("c", 40), Branch: "main", Remote: "ssh://git@example/shop", Dirty: true},
		BuiltBy:   "ana@laptop", BuiltAt: noon,
		Test: fleet.TestResult{Command: []string{"pytest", "-q"}, Seconds: 1.5, Ran: true},
	}
}

func TestAReleaseRecordReadsBackUnchanged(t *testing.T) {
	want := sampleRelease("v1")
	want.Stable = &fleet.Mark{Image: imageB, By: "ana@node1", At: noon}
	value, err := encodeRelease(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRelease("shop", "v1", value)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAnUnreadableReleaseIsReportedWithItsReason(t *testing.T) {
	good, err := encodeRelease(sampleRelease("v1"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(field string, v any) string {
		text, err := patch(good, map[string]any{field: v})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, row := range []struct{ name, value, want string }{
		{"empty", "", "not a JSON document of svckit"},
		{"text", "hello", "not a JSON document of svckit"},
		{"null", "null", "not a JSON document of svckit"},
		{"array", "[1]", "not a JSON document of svckit"},
		{"foreign object", `{"a":1}`, "not a JSON document of svckit"},
		{"two documents", string(good) + string(good), "not a JSON document of svckit"},
		{"not UTF-8", `{"schema":1,"spec":"` + "\xff" + `"}`, "not a JSON document of svckit"},
		{"nested deeply", strings.Repeat("[", 20000), "not a JSON document of svckit"},
		{"schema as text", with("schema", "1"), "not a JSON document of svckit"},
		{"schema 0", with("schema", 0), "not a JSON document of svckit"},
		{"newer schema", with("schema", 2), "schema 2 is newer than this program knows (1)"},
		{"too long", with("spec", strings.Repeat("x", maxValue)), "is too long"},
		{"wrong type", with("git", 7), "not what schema 1 says"},
		{"tag instead of digest", with("image", "registry.example/shop:v1"), "image is not repo@sha256"},
		{"option as image", with("image", "--privileged@"+digestA), "image is not repo@sha256"},
		{"no spec", with("spec", nil), "spec is empty"},
		{"no time", with("built_at", nil), "built_at is not a time"},
		{"escape sequence", with("built_by", "\x1b[2J"), "control characters"},
		{"bad mark", with("stable", map[string]any{"image": "x"}), "mark without a digest"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := decodeRelease("shop", "v1", []byte(row.value))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
	if _, err := decodeRelease("shop", "v1", []byte(with("added_later", true))); err != nil {
		t.Errorf("a field of a newer program makes the record unreadable: %v", err)
	}
}

func TestReleasesAreSortedNewestFirstAndBadOnesNamed(t *testing.T) {
	pair := func(name string, at time.Time) *api.KVPair {
		r := sampleRelease(name)
		r.BuiltAt = at
		value, err := encodeRelease(r)
		if err != nil {
			t.Fatal(err)
		}
		return &api.KVPair{Key: "svc/apps/shop/releases/" + name, Value: value}
	}
	list, bad := sortReleases("shop", "svc/apps/shop/releases/", []*api.KVPair{
		pair("old", noon.Add(-time.Hour)), pair("b", noon), pair("a", noon), pair("new", noon.Add(time.Hour)),
		{Key: "svc/apps/shop/releases/poison", Value: []byte("x")},
		{Key: "svc/apps/shop/releases/a/b", Value: []byte("{}")},
	})
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "new a b old" {
		t.Errorf("order %q", got)
	}
	if got := strings.Join(bad, "\n"); got != "svc/apps/shop/releases/a/b: not a name of a release\nsvc/apps/shop/releases/poison: not a JSON document of svckit" {
		t.Errorf("bad:\n%s", got)
	}
}

func TestAPushOfTheSameNameKeepsTheStableMark(t *testing.T) {
	stable, failed := &fleet.Mark{Image: imageA, By: "ana", At: noon}, &fleet.Mark{Image: imageA, By: "bob", At: noon}
	before := fleet.Release{Image: imageA, Stable: stable, Failed: failed}

	moved := succeed(before, fleet.Release{Image: imageB})
	if moved.Stable != stable || moved.Failed != nil {
		t.Errorf("new digest: stable %v, failed %v", moved.Stable, moved.Failed)
	}
	same := succeed(before, fleet.Release{Image: imageA})
	if same.Stable != stable || same.Failed != failed {
		t.Errorf("same digest: stable %v, failed %v", same.Stable, same.Failed)
	}
}

func TestPatchKeepsWhatItDoesNotKnow(t *testing.T) {
	got, err := patch([]byte(`{"schema":1,"added_later":[1,2],"failed":{}}`), map[string]any{"failed": nil, "stable": 7})
	if err != nil || string(got) != `{"added_later":[1,2],"schema":1,"stable":7}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAnUnreadableCurrentIsAnError(t *testing.T) {
	for _, row := range []struct{ name, value, want string }{
		{"poison", "\x00", "not a JSON document"},
		{"newer", `{"schema":9}`, "newer"},
		{"bad service", `{"schema":1,"services":{"../x":{"release":"v1","at":"2026-03-01T12:00:00Z"}}}`, `service "../x"`},
		{"no release", `{"schema":1,"services":{"web":{"at":"2026-03-01T12:00:00Z"}}}`, `service "web"`},
		{"moving release", `{"schema":1,"services":{"web":{"release":"a/b","at":"2026-03-01T12:00:00Z"}}}`, `service "web"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := decodeCurrent([]byte(row.value)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

func FuzzRelease(f *testing.F) {
	good, _ := encodeRelease(sampleRelease("v1"))
	f.Add(good)
	f.Add([]byte(`{"schema":1,"built_at":"9999-12-31T23:59:59-23:00"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeRelease("shop", "v1", value)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("unbounded reason of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := encodeRelease(r)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		if back, err := decodeRelease("shop", "v1", again); err != nil || back.Image != r.Image || back.Spec != r.Spec {
			t.Fatalf("not the same after writing: %v", err)
		}
	})
}

func FuzzCurrent(f *testing.F) {
	f.Add([]byte(`{"schema":1,"services":{"web":{"release":"v2","previous":"v1","at":"2026-03-01T12:00:00Z","by":"ana"}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		services, err := decodeCurrent(value)
		if err != nil {
			return
		}
		again, err := encodeCurrent(services)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		if back, err := decodeCurrent(again); err != nil || !reflect.DeepEqual(back, services) {
			t.Fatalf("not the same after writing: %v", err)
		}
	})
}

func FuzzHolder(f *testing.F) {
	f.Add([]byte(`{"schema":1,"who":"ana","node":"node1","pid":7,"since":"2026-03-01T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := decodeHolder(value)
		if err == nil && len(describe(held{known: true, holder: h})) > 5000 {
			t.Error("unbounded holder")
		}
	})
}

func FuzzAudit(f *testing.F) {
	f.Add([]byte(`{"schema":1,"at":"2026-03-01T12:00:00Z","command":"up","plan":["a"],"error":"x\u001b[2J"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		a, err := decodeAudit("svc/audit/", "svc/audit/shop/20260301T120000.000000Z-00000000", value)
		if err != nil {
			return
		}
		text, err := json.Marshal(a)
		if err != nil || len(a.Command)+len(a.Error)+len(a.Who) > 4500 || bytes.ContainsRune(text, '\x1b') {
			t.Errorf("record not bounded or not clean: %v %s", err, text)
		}
		if value, err := encodeAudit(a); err != nil || len(value) > maxRecord {
			t.Errorf("written back with %d bytes: %v", len(value), err)
		}
	})
}
