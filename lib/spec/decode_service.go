package spec

import (
	"fmt"
	"slices"
	"strings"
	"time"

	y "svckit/lib/strictyaml"
)

// held is something that only one service of an app can have.
type held struct {
	what string // "host port 8000", "the Consul name x"
	by   string // key of the service
	at   y.Value
}

func (d *decoder) service(app string, e y.Entry) Service {
	key := e.Key.Text
	d.serviceKey(e.Key)
	f := d.Fields(e.Value, "a mapping such as {port: 8000}",
		"kind", "name", "schedule", "cron", "command", "master", "port", "network", "publish", "check", "smoke", "stop", "overlap",
		"code", "config", "resources", "volumes", "tags", "scale")
	s := Service{
		App: app, Key: key,
		Kind:    y.OneOf(&d.Reader, f.Get("kind"), Web, Web, RPC, Daemon, Cron),
		Command: d.words(f.Get("command"), "a list of arguments such as [gunicorn, app:application]; no shell reads it"),
		Master:  y.OneOf(&d.Reader, f.Get("master"), NoMaster, Gunicorn, UWSGI, NoMaster),
		Port:    d.Int(f.Get("port"), 0, 1, 65535),
		Network: d.network(f.Get("network")),
		Stop:    d.stop(f.Get("stop")),
		Tags:    d.tags(f.Get("tags")),
	}
	s.Name = d.name(app, f.Get("name"), e.Key)
	d.kind(f, s.Kind, &s)
	s.Publish = d.publish(f, s.Network)
	s.Overlap = d.overlap(f, s)
	s.Check = d.check(f.Get("check"), s.Kind, f.Get("port"))
	s.Smoke = d.smoke(f.Get("smoke"), f.Get("port"))
	s.Code = d.code(f.Get("code"))
	s.Volumes = d.volumes(f.Get("volumes"), s.Code)
	s.Config = d.config(f.Get("config"), s)
	s.Resources = d.resources(f.Get("resources"))
	s.Scale = d.scale(f.Get("scale"), s.Master)
	d.exactly(f, s)
	d.hold(f, e.Key, s)
	return s
}

// serviceKey checks the name of a service, which is also a folder among the app's keys in Consul.
func (d *decoder) serviceKey(key y.Value) {
	switch {
	case !nameSyntax.MatchString(key.Text) || strings.HasSuffix(key.Text, "-"):
		d.Addf(key, "expected a service name of at most 40 letters a-z, digits and -, beginning with a letter and not ending with -")
	case slices.Contains(reservedServices(), key.Text):
		d.Addf(key, "the name %s is reserved: an app keeps its own keys under it in Consul", key.Text)
	}
}

// reservedServices are the folders that an app has in Consul beside those of its services.
func reservedServices() []string { return []string{"config", "secrets", "releases", "current"} }

func (d *decoder) name(app string, v, key y.Value) string {
	if v.Given() {
		if v.Text == "consul" {
			d.Addf(v, "the name consul is Consul's own")
		}
		return d.Text(v, "", labelRule("a Consul name"))
	}
	name := app + "-" + key.Text
	if app != "" && nameSyntax.MatchString(key.Text) && len(name) > 63 {
		d.Addf(key, "the Consul name %s has %d bytes, a DNS label at most 63: set name", name, len(name))
	}
	return name
}

func (d *decoder) network(v y.Value) Network {
	rule := y.Rule{Want: "bridge, host or macvlan:NAME", OK: func(s string) bool {
		name, ok := strings.CutPrefix(s, "macvlan:")
		return s == string(Bridge) || s == string(Host) || ok && networkSyntax.MatchString(name)
	}}
	s := d.Text(v, string(Bridge), rule)
	mode, name, _ := strings.Cut(s, ":")
	return Network{Mode: NetworkMode(mode), Name: name}
}

func (d *decoder) publish(f y.Fields, n Network) Publish {
	v := f.Get("publish")
	switch {
	case !v.Given():
		return Publish{}
	case n.Mode != Bridge:
		d.Addf(v, "only a bridged service publishes a port: with network %s it is reached at its own", n.Mode)
		return Publish{}
	case !f.Get("port").Given():
		d.Addf(v, "there is nothing to publish without a port")
		return Publish{}
	case v.Kind == y.Text && v.Text == "auto":
		return Publish{}
	case v.Kind == y.Text:
		d.Addf(v, "expected auto or a port from 1 to 65535, found %s", v.Found())
		return Publish{}
	}
	return Publish{Port: d.Int(v, 0, 1, 65535)}
}

// overlap is whether the new instance starts before the old one stops: it
// cannot where both want the same port of the host. A program on the host
// network may share its port (SO_REUSEPORT), so there it can be asked for.
func (d *decoder) overlap(f y.Fields, s Service) bool {
	fixed := !s.Publish.Auto()
	v := f.Get("overlap")
	once := d.exact(f)
	out := d.Bool(v, !fixed && !once && !(s.Network.Mode == Host && s.Port > 0))
	if out && fixed {
		d.Addf(v, "two instances cannot hold port %d of the host: expected false, or publish: auto", s.Publish.Port)
	}
	return out
}

// hold notes the Consul name and the host port of a service.
func (d *decoder) hold(f y.Fields, key y.Value, s Service) {
	if at := f.Get("name"); s.Name != "" && s.App != "" {
		if !at.Given() {
			at = key
		}
		d.held = append(d.held, held{"the Consul name " + s.Name, s.Key, at})
	}
	switch {
	case !s.Publish.Auto():
		d.held = append(d.held, held{fmt.Sprintf("port %d of the host", s.Publish.Port), s.Key, f.Get("publish")})
	case s.Network.Mode == Host && s.Port > 0:
		d.held = append(d.held, held{fmt.Sprintf("port %d of the host", s.Port), s.Key, f.Get("port")})
	}
}

func (d *decoder) collisions() {
	first := map[string]string{}
	for _, h := range d.held {
		if by, taken := first[h.what]; taken {
			d.Addf(h.at, "%s is already taken by service %s", h.what, by)
			continue
		}
		first[h.what] = h.by
	}
}

func (d *decoder) stop(v y.Value) Stop {
	f := d.Fields(v, "a mapping such as {signal: TERM, timeout: 30s, drain: 5s}", "signal", "timeout", "drain")
	signal := f.Get("signal")
	if name, ok := strings.CutPrefix(signal.Text, "SIG"); ok && slices.Contains(signals(), name) {
		d.Addf(signal, "expected the signal without SIG: %s", name)
		signal = y.Value{}
	}
	s := Stop{
		Signal:  y.OneOf(&d.Reader, signal, "TERM", signals()...),
		Timeout: d.Duration(f.Get("timeout"), 30*time.Second, time.Second, 24*time.Hour),
		Drain:   d.Duration(f.Get("drain"), 5*time.Second, 0, time.Hour),
	}
	if s.Timeout%time.Second != 0 { // the engine counts it in seconds
		d.Addf(f.Get("timeout"), "expected whole seconds, found %s", y.FormatDuration(s.Timeout))
	}
	return s
}

func (d *decoder) tags(v y.Value) []string {
	out := d.sorted(v, "a list of tags such as [v2]", labelRule("a tag"))
	for _, item := range v.Items {
		if item.Kind == y.Text && (item.Text == "tcp" || item.Text == "udp" || strings.HasPrefix(item.Text, "svckit")) {
			d.Addf(item, "the tag %s is reserved: tcp and udp mean every instance in DNS, svckit marks our own", item.Text)
		}
	}
	return out
}

func (d *decoder) code(v y.Value) Code {
	f := d.Fields(v, "a mapping such as {mount: /srv/app}", "mount")
	d.require(f, "mount", "expected an absolute path in the container")
	rule := targetRule()
	return Code{Mount: d.Text(f.Get("mount"), "", y.Rule{
		Want: rule.Want + ", nor above or under " + ownDir,
		OK:   func(s string) bool { return rule.OK(s) && !under(s, ownDir) && !under(ownDir, s) },
	})}
}
