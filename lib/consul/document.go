package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"svckit/lib/fleet"
)

// schema is the version of every JSON document that svckit keeps in Consul.
const schema = 1

// The document types are the shape of the values; fleet holds what they mean.
type (
	releaseDoc struct {
		Schema    int               `json:"schema"`
		Image     string            `json:"image"`
		Tag       string            `json:"tag,omitempty"`
		Spec      string            `json:"spec"`
		Templates map[string]string `json:"templates,omitempty"`
		Git       gitDoc            `json:"git"`
		BuiltBy   string            `json:"built_by"`
		BuiltAt   time.Time         `json:"built_at"`
		Test      testDoc           `json:"test"`
		Stable    *markDoc          `json:"stable,omitempty"`
		Failed    *markDoc          `json:"failed,omitempty"`
	}
	gitDoc struct {
		Commit string `json:"commit,omitempty"`
		Branch string `json:"branch,omitempty"`
		Remote string `json:"remote,omitempty"`
		Dirty  bool   `json:"dirty,omitempty"`
	}
	testDoc struct {
		Command []string `json:"command,omitempty"`
		Seconds float64  `json:"seconds"`
		Ran     bool     `json:"ran"`
	}
	markDoc struct {
		Image string    `json:"image"`
		By    string    `json:"by"`
		At    time.Time `json:"at"`
		Why   string    `json:"why,omitempty"`
	}
	currentDoc struct {
		Schema   int                   `json:"schema"`
		Services map[string]pointerDoc `json:"services"`
	}
	pointerDoc struct {
		Release  string    `json:"release"`
		Previous string    `json:"previous,omitempty"`
		Image    string    `json:"image,omitempty"`
		At       time.Time `json:"at"`
		By       string    `json:"by"`
	}
)

var digestRef = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,400}@sha256:[0-9a-f]{64}$`)

// decode fills doc from a value of ours. The error says why a value is not one.
// Fields it does not know are left alone: a newer program may have added them.
func decode(value []byte, doc any) error {
	if len(value) > maxValue {
		return fmt.Errorf("%d KiB is too long", len(value)>>10)
	}
	if !utf8.Valid(value) {
		return errors.New("not a JSON document of svckit")
	}
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(value, &head); err != nil || head.Schema == nil || *head.Schema < 1 {
		return errors.New("not a JSON document of svckit")
	}
	if *head.Schema > schema {
		return fmt.Errorf("schema %d is newer than this program knows (%d)", *head.Schema, schema)
	}
	if err := json.Unmarshal(value, doc); err != nil {
		return fmt.Errorf("not what schema %d says: %s", schema, clean(err.Error(), 200))
	}
	return nil
}

// encode writes doc without HTML escapes, which would make a spec longer for nothing.
func encode(doc any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(doc)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func decodeRelease(app, name string, value []byte) (fleet.Release, error) {
	var d releaseDoc
	if err := decode(value, &d); err != nil {
		return fleet.Release{}, err
	}
	r := fleet.Release{
		App: app, Name: name, Image: d.Image, Tag: d.Tag, Spec: d.Spec, Templates: d.Templates,
		Git: fleet.Git(d.Git), BuiltBy: d.BuiltBy, BuiltAt: d.BuiltAt.UTC(),
		Test:   fleet.TestResult{Command: d.Test.Command, Seconds: d.Test.Seconds, Ran: d.Test.Ran},
		Stable: d.Stable.mark(), Failed: d.Failed.mark(),
	}
	return r, checkRelease(r)
}

func encodeRelease(r fleet.Release) ([]byte, error) {
	if err := checkRelease(r); err != nil {
		return nil, err
	}
	return encode(releaseDoc{
		Schema: schema, Image: r.Image, Tag: r.Tag, Spec: r.Spec, Templates: r.Templates,
		Git: gitDoc(r.Git), BuiltBy: r.BuiltBy, BuiltAt: r.BuiltAt.UTC(),
		Test:   testDoc{Command: r.Test.Command, Seconds: r.Test.Seconds, Ran: r.Test.Ran},
		Stable: docOf(r.Stable), Failed: docOf(r.Failed),
	})
}

// checkRelease holds for both directions: what is refused when read is never written.
func checkRelease(r fleet.Release) error {
	switch {
	case !digestRef.MatchString(r.Image):
		return errors.New("image is not repo@sha256:… with 64 hex digits")
	case r.Spec == "" || !utf8.ValidString(r.Spec):
		return errors.New("spec is empty or not UTF-8")
	case !sane(r.BuiltAt):
		return errors.New("built_at is not a time of this century")
	case !line(r.Tag, 500) || !line(r.BuiltBy, 300) || !line(r.Git.Commit, 100) || !line(r.Git.Branch, 300) || !line(r.Git.Remote, 1000):
		return errors.New("tag, built_by or git holds control characters or is too long")
	case len(r.Templates) > 100 || len(r.Test.Command) > 1000 || r.Test.Seconds < 0:
		return errors.New("templates or test are out of bounds")
	}
	for path, text := range r.Templates {
		if path == "" || !line(path, 500) || !utf8.ValidString(text) {
			return fmt.Errorf("template %q is not UTF-8 or has a bad path", clean(path, 80))
		}
	}
	for _, m := range []*fleet.Mark{r.Stable, r.Failed} {
		if m != nil {
			if err := checkMark(*m); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxWhy bounds the reason of a mark, in bytes.
const maxWhy = 2000

func checkMark(m fleet.Mark) error {
	if !digestRef.MatchString(m.Image) || !line(m.By, 300) || !sane(m.At) {
		return errors.New("mark without a digest, a name or a time")
	}
	if !line(m.Why, maxWhy) {
		return errors.New("mark whose reason is no line of at most 2000 bytes")
	}
	return nil
}

func decodeCurrent(value []byte) (map[string]fleet.Pointer, error) {
	var d currentDoc
	if err := decode(value, &d); err != nil {
		return nil, err
	}
	services := make(map[string]fleet.Pointer, len(d.Services))
	for service, p := range d.Services {
		p.At = p.At.UTC()
		services[service] = fleet.Pointer(p)
	}
	return services, checkCurrent(services)
}

func encodeCurrent(services map[string]fleet.Pointer) ([]byte, error) {
	if err := checkCurrent(services); err != nil {
		return nil, err
	}
	d := currentDoc{Schema: schema, Services: make(map[string]pointerDoc, len(services))}
	for service, p := range services {
		d.Services[service] = pointerDoc(p)
	}
	return encode(d)
}

func checkCurrent(services map[string]fleet.Pointer) error {
	if len(services) > 1000 {
		return fmt.Errorf("%d services are too many", len(services))
	}
	for service, p := range services {
		if checkService(service) != nil || !releaseName.MatchString(p.Release) ||
			p.Previous != "" && !releaseName.MatchString(p.Previous) || p.Image != "" && !digestRef.MatchString(p.Image) || !line(p.By, 300) || !sane(p.At) {
			return fmt.Errorf("service %q has a bad name, release, image, time or author", clean(service, 80))
		}
	}
	return nil
}

func decodeHolder(value []byte) (fleet.Holder, error) {
	var h fleet.Holder
	if err := decode(value, &h); err != nil {
		return fleet.Holder{}, err
	}
	for _, text := range []string{h.Who, h.Node, h.Started, h.Boot, h.Space, h.Command} {
		if !line(text, 1000) {
			return fleet.Holder{}, errors.New("a field holds control characters or is too long")
		}
	}
	if h.Who == "" && h.Node == "" && h.PID == 0 {
		return fleet.Holder{}, errors.New("not a holder of a lock")
	}
	return h, nil
}

func (d *markDoc) mark() *fleet.Mark {
	if d == nil {
		return nil
	}
	return &fleet.Mark{Image: d.Image, By: d.By, At: d.At.UTC(), Why: d.Why}
}

func docOf(m *fleet.Mark) *markDoc {
	if m == nil {
		return nil
	}
	return &markDoc{Image: m.Image, By: m.By, At: m.At.UTC(), Why: m.Why}
}

// line reports whether s is one line of at most limit bytes that a terminal may be shown.
func line(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// sane keeps times within what JSON can carry in every zone.
func sane(t time.Time) bool { return t.UTC().Year() >= 2000 && t.UTC().Year() < 3000 }
