package spec

import (
	"math"
	"slices"
	"strings"
	"time"

	y "svckit/lib/strictyaml"
)

// check reads the health check. Without one a web service is asked for /, an
// RPC service for a connection; a daemon is well while it runs.
func (d *decoder) check(v y.Value, kind Kind, port y.Value) Check {
	f := d.Fields(v, "a mapping such as {http: /healthz, interval: 2s}",
		"http", "tcp", "grpc", "ttl", "interval", "timeout", "min_healthy", "deadline")
	c := Check{
		Interval:   d.Duration(f.Get("interval"), 2*time.Second, time.Second, time.Hour), // the agent runs none more often than once a second
		Timeout:    d.Duration(f.Get("timeout"), time.Second, 10*time.Millisecond, 10*time.Minute),
		MinHealthy: d.Duration(f.Get("min_healthy"), 5*time.Second, 0, time.Hour),
		Deadline:   d.Duration(f.Get("deadline"), 2*time.Minute, time.Second, 6*time.Hour),
	}
	switch kind {
	case Web:
		c.Type, c.Path = CheckHTTP, "/"
	case RPC:
		c.Type = CheckTCP
	}
	d.checkType(f, &c, port)
	if c.MinHealthy >= c.Deadline {
		at := f.Get("min_healthy")
		if !at.Given() {
			at = f.Get("deadline")
		}
		d.Addf(at, "min_healthy (%s) must be shorter than deadline (%s)", y.FormatDuration(c.MinHealthy), y.FormatDuration(c.Deadline))
	}
	for _, key := range []string{"interval", "timeout"} {
		switch at := f.Get(key); {
		case !at.Given():
		case c.Type == CheckTTL:
			d.Addf(at, "a ttl check has no %s: the service reports by itself within the ttl", key)
		case c.Type == NoCheck:
			d.Addf(at, "there is no check that has an %s: name one of http, tcp, grpc or ttl", key)
		}
	}
	return c
}

func (d *decoder) checkType(f y.Fields, c *Check, port y.Value) {
	var first string
	for _, t := range []CheckType{CheckHTTP, CheckTCP, CheckGRPC, CheckTTL} {
		v := f.Get(string(t))
		if !v.Given() {
			continue
		}
		if first != "" {
			d.Addf(v, "expected one type of check, found %s and %s", first, t)
			continue
		}
		first, c.Type, c.Path = string(t), t, ""
		if t != CheckTTL && !port.Given() {
			d.Addf(v, "the check needs a port, and the service has none")
		}
		switch t {
		case CheckHTTP:
			c.Path = d.Text(v, "", httpPathRule())
		case CheckTCP:
			d.isTrue(v, "true")
		case CheckGRPC:
			if v.Kind == y.Text {
				c.Path = d.Text(v, "", y.Rule{Want: "true or the name of a gRPC service such as shortener.v1.Links", OK: grpcSyntax.MatchString})
			} else {
				d.isTrue(v, "true or the name of a gRPC service")
			}
		case CheckTTL:
			c.Interval = d.Duration(v, c.Interval, time.Second, 24*time.Hour)
		}
	}
}

func (d *decoder) isTrue(v y.Value, want string) {
	if v.Kind != y.Bool || !d.Bool(v, true) {
		d.Addf(v, "expected %s, found %s", want, v.Found())
	}
}

func (d *decoder) config(v y.Value, s Service) Config {
	f := d.Fields(v, "a mapping such as {env: [DATABASE_URL]}", "env", "secrets", "files")
	c := Config{
		Env:     d.sorted(f.Get("env"), "a list of keys such as [DATABASE_URL]", keyRule()),
		Secrets: d.sorted(f.Get("secrets"), "a list of keys such as [SESSION_KEY]", keyRule()),
	}
	for _, item := range slices.Concat(f.Get("env").Items, f.Get("secrets").Items) {
		if reservedKey(item.Text) {
			d.Addf(item, "keys that begin with %s are reserved", reservedPrefix)
		}
	}
	for _, item := range f.Get("secrets").Items {
		if item.Kind == y.Text && slices.Contains(c.Env, item.Text) {
			d.Addf(item, "%s is in env too: a secret never goes into the environment", item.Text)
		}
	}
	c.Files = d.files(f.Get("files"), s)
	return c
}

// reservedPrefix begins the variables that are svckit's own.
const reservedPrefix = "SVC_"

func reservedKey(key string) bool { return strings.HasPrefix(key, reservedPrefix) }

func (d *decoder) files(v y.Value, s Service) (out []File) {
	for _, item := range d.List(v, "a list such as [{template: settings.tmpl, to: /etc/settings.json}]", 64) {
		f := d.Fields(item, "a mapping such as {template: settings.tmpl, to: /etc/settings.json}", "template", "to")
		d.require(f, "template", "expected the path of a template in the source folder")
		d.require(f, "to", "expected an absolute path in the container")
		file := File{
			Template: d.Text(f.Get("template"), "", insideRule("the path of a template")),
			To:       d.Text(f.Get("to"), "", targetRule()),
		}
		if to := f.Get("to"); file.To != "" {
			d.fileTarget(to, file.To, out, s)
		}
		out = append(out, file)
	}
	slices.SortStableFunc(out, func(a, b File) int { return strings.Compare(a.To, b.To) })
	return out
}

// fileTarget checks a file against those before it, and against volumes: a
// rendered file is a link in the container's own layer, which a mount hides.
func (d *decoder) fileTarget(at y.Value, to string, before []File, s Service) {
	for _, b := range before {
		switch {
		case b.To == "":
		case b.To == to:
			d.Addf(at, "duplicate: another file goes to %s", to)
			return
		case under(to, b.To) || under(b.To, to):
			d.Addf(at, "%s and %s cannot both be files", to, b.To)
			return
		}
	}
	if s.Code.Mount != "" && (under(to, s.Code.Mount) || under(s.Code.Mount, to)) {
		d.Addf(at, "%s collides with code.mount %s", to, s.Code.Mount)
	}
	for _, v := range s.Volumes {
		if under(to, v.Target) || under(v.Target, to) {
			d.Addf(at, "%s collides with the volume at %s", to, v.Target)
		}
	}
}

func (d *decoder) volumes(v y.Value, code Code) (out []Volume) {
	for _, item := range d.List(v, `a list such as ["/var/lib/app:/data"]`, 64) {
		rule := y.Rule{Want: "SOURCE:TARGET or SOURCE:TARGET:ro (source: an absolute path or a volume's name; target: an absolute path outside /run/secrets, /proc, /sys and /dev)", OK: func(s string) bool {
			_, ok := parseVolume(s)
			return ok
		}}
		vol, ok := parseVolume(d.Text(item, "", rule))
		if !ok {
			continue
		}
		switch {
		case vol.Target == code.Mount:
			d.Addf(item, "%s is already code.mount", vol.Target)
		case code.Mount != "" && (under(vol.Target, code.Mount) || under(code.Mount, vol.Target)):
			d.Addf(item, "%s collides with code.mount %s", vol.Target, code.Mount)
		case slices.ContainsFunc(out, func(o Volume) bool { return o.Target == vol.Target }):
			d.Addf(item, "duplicate: another volume is mounted at %s", vol.Target)
		}
		out = append(out, vol)
	}
	slices.SortStableFunc(out, func(a, b Volume) int { return strings.Compare(a.Target, b.Target) })
	return out
}

func parseVolume(s string) (Volume, bool) {
	rest, readOnly := strings.CutSuffix(s, ":ro")
	source, target, ok := strings.Cut(rest, ":")
	v := Volume{Source: source, Target: target, ReadOnly: readOnly}
	return v, ok && (source == "/" || absolute(source) || volumeSyntax.MatchString(source)) && targetRule().OK(target)
}

func (d *decoder) resources(v y.Value) Resources {
	f := d.Fields(v, "a mapping such as {cpu: 1.5, memory: 512MiB}", "cpu", "memory", "cpu_binding")
	r := Resources{
		CPU:        d.cores(f.Get("cpu"), 0),
		Memory:     d.Size(f.Get("memory"), 0, 6<<20, 16<<40), // the engine refuses less than 6 MiB
		CPUBinding: d.Bool(f.Get("cpu_binding"), false),
	}
	if r.CPUBinding && !f.Get("cpu").Given() {
		d.Addf(f.Get("cpu_binding"), "cores are bound by their number: set cpu too")
	}
	return r
}

// cores reads a number of cores, in hundredths.
func (d *decoder) cores(v y.Value, otherwise float64) float64 {
	n := d.Number(v, otherwise, 0, 1024)
	hundredths := math.Round(n * 100)
	if math.Abs(n*100-hundredths) > 1e-9 || n > 0 && hundredths == 0 {
		d.Addf(v, "expected a multiple of 0.01, found %s", v.Found())
	}
	return hundredths / 100
}
