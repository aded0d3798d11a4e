package spec

import (
	"strings"

	y "svckit/lib/strictyaml"
)

const queueExample = "{from: QUEUE_URL, list: jobs}"

// queue reads which queue a service consumes.
func (d *decoder) queue(v y.Value) Queue {
	before := len(d.Problems())
	f := d.Fields(v, "a mapping such as "+queueExample, "from", "list", "busy", "done", "stream", "group", "rabbitmq")
	if !v.Given() || len(d.Problems()) > before {
		return Queue{}
	}
	d.require(f, "from", "expected the name of the config or secret key that holds the server's URL")
	key := func(what string) y.Rule {
		return y.Rule{Want: what + " of at most 255 bytes, without blanks", OK: func(s string) bool {
			return len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
		}}
	}
	q := Queue{
		From:     d.Text(f.Get("from"), "", y.Rule{Want: "the name of a key: letters, digits and _, not beginning with a digit", OK: keySyntax.MatchString}),
		List:     d.Text(f.Get("list"), "", key("the key of a Redis list")),
		Busy:     d.Text(f.Get("busy"), "", key("the key of a Redis list")),
		Done:     d.Text(f.Get("done"), "", key("the key of a Redis counter")),
		Stream:   d.Text(f.Get("stream"), "", key("the key of a Redis stream")),
		Group:    d.Text(f.Get("group"), "", key("the name of a consumer group")),
		RabbitMQ: d.Text(f.Get("rabbitmq"), "", key("the name of a RabbitMQ queue")),
	}
	var kinds []string
	for _, name := range []string{"list", "stream", "rabbitmq"} {
		if f.Get(name).Given() {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) != 1 {
		found := "none"
		if len(kinds) > 0 {
			found = strings.Join(kinds, " and ")
		}
		d.Addf(v, "expected one of list, stream and rabbitmq, found %s", found)
		return q
	}
	for _, name := range []string{"busy", "done"} {
		if f.Get(name).Given() && kinds[0] != "list" {
			d.Addf(f.Get(name), "%s belongs to list", name)
		}
	}
	if f.Get("group").Given() && kinds[0] != "stream" {
		d.Addf(f.Get("group"), "group belongs to stream")
	}
	if kinds[0] == "stream" && !f.Get("group").Given() {
		d.Addf(f.Get("stream"), "a stream needs the group of its consumers: add group")
	}
	return q
}
