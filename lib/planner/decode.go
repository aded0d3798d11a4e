package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/place"
	"svckit/lib/scale"
)

// Bounds of a snapshot. They are far above any fleet that this is made for.
const (
	MaxBytes    = 256 << 20
	maxServices = 50_000
	maxNodes    = 20_000
	maxPools    = 1_000
	maxPlaced   = 2_000_000
	maxFreezes  = 10_000
	maxAnnounce = 50_000
)

// outer is a snapshot whose parts are read one by one.
type outer struct {
	Schema     *int              `json:"schema"`
	At         int64             `json:"at"`
	Services   []json.RawMessage `json:"services"`
	Nodes      []json.RawMessage `json:"nodes"`
	Pools      []json.RawMessage `json:"pools"`
	Placed     []json.RawMessage `json:"placed"`
	Freezes    []json.RawMessage `json:"freezes"`
	Announced  []json.RawMessage `json:"announced"`
	Memory     Memory            `json:"memory"`
	Rules      *place.Rules      `json:"rules"`
	Unreadable []Unreadable      `json:"unreadable"`
}

// Decode reads a snapshot. What is no snapshot at all is a fault of kind
// Invalid that names the line. A part that cannot be read does not spoil the
// rest: it is listed in Unreadable, and nothing is lowered for it: an unreadable
// service is held as it is placed, an unreadable node gets nothing new and keeps
// what it has, an unreadable freeze freezes all lowering.
func Decode(text []byte) (Snapshot, error) {
	var o outer
	if len(text) > MaxBytes {
		return Snapshot{}, fault.New(fault.Invalid, "read snapshot: it has %d bytes, expected at most %d", len(text), MaxBytes)
	}
	if err := strict(text, &o); err != nil {
		return Snapshot{}, fault.New(fault.Invalid, "read snapshot: %s%w", lineOf(text, err), plain(err))
	}
	switch {
	case o.Schema == nil:
		return Snapshot{}, fault.New(fault.Invalid, "read snapshot: schema is missing, expected %d", Schema)
	case *o.Schema != Schema:
		return Snapshot{}, fault.New(fault.Invalid, "read snapshot: schema %d, expected %d", *o.Schema, Schema)
	case o.At <= 0 || o.At > 1<<40:
		return Snapshot{}, fault.New(fault.Invalid, "read snapshot: at: expected unix seconds, got %d", o.At)
	}
	for _, x := range []struct {
		name string
		n, m int
	}{
		{"services", len(o.Services), maxServices},
		{"nodes", len(o.Nodes), maxNodes},
		{"pools", len(o.Pools), maxPools},
		{"placed", len(o.Placed), maxPlaced},
		{"freezes", len(o.Freezes), maxFreezes},
		{"announced", len(o.Announced), maxAnnounce},
	} {
		if x.n > x.m {
			return Snapshot{}, fault.New(fault.Invalid, "read snapshot: %s: has %d entries, expected at most %d", x.name, x.n, x.m)
		}
	}
	if o.Rules != nil {
		if err := checkRules(*o.Rules); err != nil {
			return Snapshot{}, fault.New(fault.Invalid, "read snapshot: rules: %w", err)
		}
	}
	d := decoder{out: Snapshot{Schema: Schema, At: o.At, Memory: o.Memory, Rules: o.Rules, Unreadable: o.Unreadable}, holds: map[string]string{}}
	d.read(o)
	return d.out, nil
}

// decoder collects what can be read.
type decoder struct {
	out   Snapshot
	holds map[string]string // services to hold → why
}

func (d *decoder) read(o outer) {
	nodes, blind := map[string]bool{}, map[string]bool{}
	for i, raw := range o.Pools {
		var p place.Pool
		if d.part("pools", i, raw, &p, func() (string, error) { return p.Name, checkPool(p) }) {
			d.out.Pools = append(d.out.Pools, p)
		}
	}
	for i, raw := range o.Nodes {
		var n struct {
			Node
			Alive *bool `json:"alive"`
		}
		ok := d.part("nodes", i, raw, &n, func() (string, error) {
			switch {
			case nodes[n.Name]:
				return n.Name, errors.New("the name is there twice")
			case n.Alive == nil:
				return n.Name, errors.New("alive is missing")
			}
			n.Node.Alive = *n.Alive
			return n.Name, checkNode(n.Node)
		})
		name := nameIn(raw)
		if !ok && name != "" && !nodes[name] {
			blind[name] = true
			n.Node = Node{Host: place.Host{Name: name, Alive: true}}
			d.out.Nodes = append(d.out.Nodes, n.Node)
		}
		if nodes[name] = true; ok {
			d.out.Nodes = append(d.out.Nodes, n.Node)
		}
	}
	for i, raw := range o.Placed {
		var s place.Share
		if d.part("placed", i, raw, &s, func() (string, error) { return s.Name, checkShare(s) }) {
			d.out.Placed = append(d.out.Placed, s)
			if blind[s.Node] {
				d.holds[s.Name] = fmt.Sprintf("runs on %s, which cannot be read", s.Node)
			}
		} else if name := nameIn(raw); name != "" {
			d.holds[name] = "what is placed of it cannot be read"
		}
	}
	d.readServices(o)
	for i, raw := range o.Freezes {
		var z Freeze
		if !d.part("freezes", i, raw, &z, func() (string, error) { return z.Name, checkFreeze(z) }) {
			z = Freeze{Scope: "all", Freeze: scale.Freeze{Mode: scale.NoDown, Why: "a freeze that cannot be read"}}
		}
		d.out.Freezes = append(d.out.Freezes, z)
	}
	for i, raw := range o.Announced {
		var a Announcement
		if d.part("announced", i, raw, &a, func() (string, error) { return a.Service, checkAnnouncement(a) }) {
			d.out.Announced = append(d.out.Announced, a)
		}
	}
}

func (d *decoder) readServices(o outer) {
	there := map[string]bool{}
	for i, raw := range o.Services {
		var s Service
		ok := d.part("services", i, raw, &s, func() (string, error) {
			if there[s.Name] {
				return s.Name, errors.New("the name is there twice")
			}
			return s.Name, checkService(s)
		})
		name := nameIn(raw)
		switch {
		case !ok && (name == "" || there[name]):
			continue
		case !ok:
			s = Service{Name: name, Hold: "cannot be read", Shape: shapeIn(raw), Policy: scale.Policy{Pool: poolIn(raw)}}
		case s.Hold == "":
			s.Hold = d.holds[s.Name]
		}
		there[name] = true
		d.out.Services = append(d.out.Services, s)
	}
}

// part reads one entry of a list; what is wrong with it goes into Unreadable.
func (d *decoder) part(list string, i int, raw json.RawMessage, into any, check func() (string, error)) bool {
	err := strict(raw, into)
	name := ""
	if err == nil {
		name, err = check()
	} else {
		name, err = nameIn(raw), plain(err)
	}
	if err == nil {
		return true
	}
	d.out.Unreadable = append(d.out.Unreadable, Unreadable{Place: fmt.Sprintf("%s[%d]", list, i), Name: name, Reason: err.Error()})
	return false
}

// strict decodes one JSON value, knows every key, and wants nothing after it.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("expected nothing after the document")
	}
	return nil
}

// plain words a JSON error for people.
func plain(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("%s: expected %s, got %s", orThis(kind.Field), wordFor(kind.Type.Kind().String()), kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("it ends in the middle")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

func orThis(field string) string {
	if field == "" {
		return "this"
	}
	return field
}

func wordFor(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	}
	switch kind {
	case "slice", "array":
		return "a list"
	case "struct", "map", "ptr":
		return "an object"
	case "bool":
		return "true or false"
	}
	return "a text"
}

// lineOf says at which line of a text a JSON error lies, as far as it is known.
func lineOf(text []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	at := int64(-1)
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &kind):
		at = kind.Offset
	}
	if at < 0 || at > int64(len(text)) {
		return ""
	}
	return fmt.Sprintf("line %d: ", 1+bytes.Count(text[:at], []byte("\n")))
}

// nameIn finds the name of an entry that cannot be read otherwise, "" when it has none that may be used.
func nameIn(raw json.RawMessage) string {
	var v struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(raw, &v) // what could be read of it is enough
	if checkText("name", v.Name) != nil {
		return ""
	}
	return v.Name
}

// shapeIn and poolIn read what they can: a service that is held is still counted where it runs.
func shapeIn(raw json.RawMessage) Shape {
	var v struct {
		Shape Shape `json:"shape"`
	}
	_ = json.Unmarshal(raw, &v)
	if checkShape(v.Shape) != nil {
		return Shape{}
	}
	return v.Shape
}

func poolIn(raw json.RawMessage) string {
	var v struct {
		Policy struct {
			Pool string `json:"pool"`
		} `json:"policy"`
	}
	_ = json.Unmarshal(raw, &v)
	if checkText("pool", v.Policy.Pool) != nil {
		return ""
	}
	return v.Policy.Pool
}
