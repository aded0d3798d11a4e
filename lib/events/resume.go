package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"svckit/lib/fault"
)

// Bounds of a resume point.
const (
	MaxPoint = 64 << 20 // bytes
	maxText  = 4000     // of one text in it
)

// Of is whose events a stream tells: a resume point of one is none of another.
type Of struct {
	Datacenter string `json:"datacenter"`
	Prefix     string `json:"prefix"`        // root of the keys
	App        string `json:"app,omitempty"` // "": all apps
}

// point is a resume point: what a stream told last, and how far Consul was then.
type point struct {
	Schema int             `json:"schema"`
	SHA256 string          `json:"sha256"` // of Body, byte for byte
	Body   json.RawMessage `json:"body"`
}

type body struct {
	Of
	Saved time.Time       `json:"saved"`
	Parts map[string]part `json:"parts"`
}

// Save returns the resume point: whoever begins with it is told what differs from
// what this stream has told.
func (s *Stream) Save(of Of, at time.Time) ([]byte, error) {
	text, err := json.Marshal(body{Of: of, Saved: at.UTC(), Parts: s.parts})
	if err != nil {
		return nil, fault.New(fault.Failed, "write resume point: %w", err)
	}
	sum := sha256.Sum256(text)
	text, err = json.Marshal(point{Schema, hex.EncodeToString(sum[:]), text})
	if err != nil || len(text) > MaxPoint {
		return nil, fault.New(fault.Failed, "write resume point: more than %d MiB: follow one app", MaxPoint>>20)
	}
	return text, nil
}

// Resume makes a stream out of a resume point. A fault of kind Invalid says why it
// is none, one of kind Usage that it is another stream's.
func Resume(text []byte, of Of, f Filter) (*Stream, error) {
	var p point
	if len(text) > MaxPoint {
		return nil, damaged("longer than %d MiB", MaxPoint>>20)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, damaged("not JSON")
	}
	if p.Schema != Schema {
		return nil, damaged("schema %d, expected %d", p.Schema, Schema)
	}
	if sum := sha256.Sum256(p.Body); hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, damaged("its checksum is another one")
	}
	var b body
	d := json.NewDecoder(bytes.NewReader(p.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return nil, damaged("not what schema %d says", Schema)
	}
	if b.Of != of {
		return nil, fault.WithHint(fault.New(fault.Usage, "resume: the point is of datacenter %q, prefix %q, app %q, not of %q, %q, %q",
			b.Datacenter, b.Prefix, b.App, of.Datacenter, of.Prefix, of.App), "take another file for another stream")
	}
	s := Begin(f)
	for _, name := range slices.Sorted(maps.Keys(b.Parts)) {
		for _, fact := range b.Parts[name].Facts {
			if why := fact.wrong(); why != "" {
				return nil, damaged("%s: %s", name, why)
			}
		}
		if !plain(name) {
			return nil, damaged("the name of a part")
		}
		s.parts[name] = part{Index: b.Parts[name].Index, Facts: sorted(b.Parts[name].Facts)}
	}
	s.resumed = true
	return s, nil
}

func damaged(format string, args ...any) error {
	return fault.WithHint(fault.New(fault.Invalid, "read resume point: "+format, args...), "remove the file to begin anew: what is there is told as initial then")
}

// wrong says why a fact cannot be one, "" if it can.
func (f Fact) wrong() string {
	set := map[Kind]bool{
		OfInstance: f.Instance != nil, OfRelease: f.Release != nil, OfCurrent: f.Current != nil, OfDeploy: f.Deploy != nil,
		OfScaling: f.Scaling != nil, OfFreeze: f.Freeze != nil, OfLoan: f.Loan != nil, Unreadable: f.Bad != nil,
	}
	if !set[f.Kind] {
		return "a fact without what it is about"
	}
	delete(set, f.Kind)
	for _, other := range set {
		if other {
			return "a fact about two things"
		}
	}
	if f.ID == "" {
		return "a fact without an ID"
	}
	texts := []string{f.ID, f.App, f.Service, f.Node, f.Zone, f.Key}
	for _, x := range f.fields() {
		texts = append(texts, x.value)
	}
	if f.Scaling != nil {
		texts = append(append(texts, f.Scaling.Words, f.Scaling.Reason, f.Scaling.Held, f.Scaling.Pool), f.Scaling.Alarms...)
	}
	if !slices.ContainsFunc(texts, func(s string) bool { return !plain(s) }) {
		return ""
	}
	return "a text with control characters, or too long"
}

func plain(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
