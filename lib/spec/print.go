package spec

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	y "svckit/lib/strictyaml"
)

// Marshal prints the whole spec, every default included, in app.yaml's own
// notation. Decode of the result gives the same App. What is unlimited or not
// there is left out, since app.yaml has no word for it.
func (a App) Marshal() []byte {
	p := &printer{}
	p.line(0, "app", scalar(a.Name))
	if len(a.Notify) == 0 {
		p.line(0, "notify", "[]")
	} else {
		p.line(0, "notify", "")
	}
	for _, n := range a.Notify {
		fmt.Fprintf(&p.b, "  - {webhook: %s}\n", scalar(n.Webhook))
	}
	p.build(a.Build)
	p.deploy(a.Deploy)
	p.line(0, "services", "")
	for _, s := range a.Services {
		p.service(s)
	}
	return []byte(p.b.String())
}

type printer struct{ b strings.Builder }

// line prints "key: value" at a depth; an empty value opens a block.
func (p *printer) line(depth int, key, value string) {
	p.b.WriteString(strings.Repeat("  ", depth) + scalar(key) + ":")
	if value != "" {
		p.b.WriteString(" " + value)
	}
	p.b.WriteByte('\n')
}

func (p *printer) build(b Build) {
	p.line(0, "build", "")
	if b.Dockerfile != "" {
		p.line(1, "dockerfile", scalar(b.Dockerfile))
	}
	if b.Runtime != "" {
		p.line(1, "runtime", string(b.Runtime))
	}
	if b.Image != "" {
		p.line(1, "image", scalar(b.Image))
	}
	var args flow
	for _, k := range slices.Sorted(maps.Keys(b.Args)) {
		args.add(scalar(k), scalar(b.Args[k]))
	}
	p.line(1, "args", args.String())
	p.line(1, "secrets", list(b.Secrets))
	p.line(1, "test", list(b.Test))
}

func (p *printer) service(s Service) {
	p.line(1, s.Key, "")
	p.line(2, "name", scalar(s.Name))
	p.line(2, "kind", string(s.Kind))
	if s.Kind == Cron {
		p.line(2, "schedule", scalar(s.Schedule))
		p.line(2, "cron", cronText(s.Cron))
	}
	p.line(2, "command", list(s.Command))
	if s.Kind != Cron {
		p.line(2, "master", string(s.Master))
	}
	if s.Port > 0 {
		p.line(2, "port", strconv.Itoa(s.Port))
	}
	p.line(2, "network", scalar(s.Network.String()))
	if s.Network.Mode == Bridge && s.Port > 0 {
		p.line(2, "publish", publishText(s.Publish))
	}
	if s.Kind != Cron {
		p.line(2, "check", checkText(s.Check))
	}
	if s.Smoke.Given() {
		p.line(2, "smoke", smokeText(s.Smoke))
	}
	var stop flow
	stop.add("signal", scalar(s.Stop.Signal))
	stop.add("timeout", y.FormatDuration(s.Stop.Timeout))
	stop.add("drain", y.FormatDuration(s.Stop.Drain))
	p.line(2, "stop", stop.String())
	p.line(2, "overlap", strconv.FormatBool(s.Overlap))
	if s.Code.Mount != "" {
		p.line(2, "code", "{mount: "+scalar(s.Code.Mount)+"}")
	}
	p.config(s.Config)
	p.line(2, "resources", resourcesText(s.Resources))
	p.line(2, "volumes", list(volumeTexts(s.Volumes)))
	p.line(2, "tags", list(s.Tags))
	switch {
	case s.Scale.Set && s.Kind == Cron:
		p.line(2, "scale", "{pool: "+scalar(s.Scale.Pool)+"}")
	case s.Scale.Set:
		p.scale(s.Scale)
	}
}

func (p *printer) config(c Config) {
	p.line(2, "config", "")
	p.line(3, "env", list(c.Env))
	p.line(3, "secrets", list(c.Secrets))
	if len(c.Files) == 0 {
		p.line(3, "files", "[]")
		return
	}
	p.line(3, "files", "")
	for _, f := range c.Files {
		fmt.Fprintf(&p.b, "        - {template: %s, to: %s}\n", scalar(f.Template), scalar(f.To))
	}
}

func (p *printer) scale(s Scale) {
	p.line(2, "scale", "")
	p.line(3, "unit", s.Unit)
	p.line(3, "strategy", s.Strategy)
	if s.Target > 0 {
		p.line(3, "target", decimal(s.Target))
	}
	if s.Wait > 0 {
		p.line(3, "wait", y.FormatPercent(s.Wait))
		p.line(3, "wait_over", y.FormatDuration(s.WaitOver))
	}
	p.line(3, "min", strconv.Itoa(s.Min))
	if s.Max > 0 {
		p.line(3, "max", strconv.Itoa(s.Max))
	}
	p.line(3, "min_nodes", strconv.Itoa(s.MinNodes))
	p.line(3, "spread", s.Spread)
	p.line(3, "survive", s.Survive)
	p.line(3, "down", "{after: "+y.FormatDuration(s.Down.After)+", step: "+y.FormatPercent(s.Down.Step)+"}")
	p.line(3, "pool", scalar(s.Pool))
	p.line(3, "priority", s.Priority)
	if s.Exactly {
		p.line(3, "exactly", "true")
	}
	if s.Unit == "workers" {
		p.line(3, "worker", "{cpu: "+decimal(s.Worker.CPU)+", memory: "+y.FormatSize(s.Worker.Memory)+"}")
	}
	p.line(3, "start_up", y.FormatDuration(s.StartUp))
	p.line(3, "on_blind", s.OnBlind)
	p.line(3, "seasonal", strconv.FormatBool(s.Seasonal))
	if s.Strategy == "queue" {
		p.line(3, "drain", y.FormatDuration(s.Drain))
		p.line(3, "queue", queueText(s.Queue))
	}
	if len(s.Schedules) == 0 {
		p.line(3, "schedules", "[]")
		return
	}
	p.line(3, "schedules", "")
	for _, c := range s.Schedules {
		var out flow
		out.add("name", scalar(c.Name))
		out.add("days", list(c.Days))
		out.add("from", scalar(c.From))
		out.add("to", scalar(c.To))
		out.add("zone", scalar(c.Zone))
		out.add("min", strconv.Itoa(c.Min))
		if c.Max > 0 {
			out.add("max", strconv.Itoa(c.Max))
		}
		fmt.Fprintf(&p.b, "        - %s\n", out.String())
	}
}

func cronText(r CronRules) string {
	var out flow
	out.add("zone", scalar(r.Zone))
	out.add("missed", r.Missed)
	if r.Missed == "once" {
		out.add("within", y.FormatDuration(r.Within))
	}
	out.add("busy", r.Busy)
	out.add("timeout", y.FormatDuration(r.Timeout))
	out.add("exclusive", strconv.FormatBool(r.Exclusive))
	return out.String()
}

func queueText(q Queue) string {
	var out flow
	for _, pair := range [][2]string{
		{"from", q.From}, {"list", q.List}, {"busy", q.Busy}, {"done", q.Done}, {"stream", q.Stream}, {"group", q.Group}, {"rabbitmq", q.RabbitMQ},
	} {
		if pair[1] != "" {
			out.add(pair[0], scalar(pair[1]))
		}
	}
	return out.String()
}

// String is bridge, host or macvlan:NAME, as in app.yaml.
func (n Network) String() string {
	if n.Name != "" {
		return string(n.Mode) + ":" + n.Name
	}
	return string(n.Mode)
}

func publishText(p Publish) string {
	if p.Auto() {
		return "auto"
	}
	return strconv.Itoa(p.Port)
}

func checkText(c Check) string {
	var out flow
	switch c.Type {
	case CheckHTTP:
		out.add("http", scalar(c.Path))
	case CheckTCP:
		out.add("tcp", "true")
	case CheckGRPC:
		name := "true"
		if c.Path != "" {
			name = scalar(c.Path)
		}
		out.add("grpc", name)
	case CheckTTL:
		out.add("ttl", y.FormatDuration(c.Interval))
	}
	if c.Type != CheckTTL && c.Type != NoCheck {
		out.add("interval", y.FormatDuration(c.Interval))
		out.add("timeout", y.FormatDuration(c.Timeout))
	}
	out.add("min_healthy", y.FormatDuration(c.MinHealthy))
	out.add("deadline", y.FormatDuration(c.Deadline))
	return out.String()
}

func resourcesText(r Resources) string {
	var out flow
	if r.CPU > 0 {
		out.add("cpu", decimal(r.CPU))
	}
	if r.Memory > 0 {
		out.add("memory", y.FormatSize(r.Memory))
	}
	out.add("cpu_binding", strconv.FormatBool(r.CPUBinding))
	return out.String()
}

func volumeTexts(volumes []Volume) (out []string) {
	for _, v := range volumes {
		out = append(out, v.String())
	}
	return out
}

// String is "SOURCE:TARGET[:ro]", as in app.yaml.
func (v Volume) String() string {
	s := v.Source + ":" + v.Target
	if v.ReadOnly {
		s += ":ro"
	}
	return s
}

// flow is a mapping on one line.
type flow struct{ parts []string }

func (f *flow) add(key, value string) { f.parts = append(f.parts, key+": "+value) }

func (f *flow) String() string { return "{" + strings.Join(f.parts, ", ") + "}" }

func list(items []string) string {
	texts := make([]string, len(items))
	for i, s := range items {
		texts[i] = scalar(s)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

var plainSyntax = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)

// scalar writes a text so that YAML 1.1 and 1.2 both read that text and nothing else.
func scalar(s string) string {
	words := []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
	if plainSyntax.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
