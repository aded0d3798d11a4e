package tool

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"svckit/lib/fault"
)

// environment are the variables that every program honours.
func environment() [][2]string {
	return [][2]string{
		{"CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE", "how the local Consul agent is reached"},
		{"DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH, DOCKER_API_VERSION, DOCKER_CONFIG", "how the local Docker engine is reached, and where its credentials are"},
		{"SVC_CONFIG", "the node's settings, instead of /etc/svckit/node.yaml"},
		{"SVC_NODE, SVC_ZONE, SVC_ADDRESS", "what the node is called in Consul, where it is, and where its instances are reached"},
		{"SVC_PREFIX", "root of svckit's keys in Consul, default svc"},
		{"SVC_PORTS", "host ports for services that publish one, default 20000-29999"},
		{"SVC_RUN_DIR, SVC_STATE_DIR, SVC_CODE_DIR", "rendered files and secrets, the last good config, and code that images do not hold"},
		{"SVC_DNS, SVC_CONTAINER_DNS, SVC_DNS_MARGIN", "the DNS server that is asked, those that containers get, and the time waited after DNS forgot an instance"},
		{"SVC_HOST_PATHS, SVC_REGISTRIES, SVC_KEEP_IMAGES", "paths that a spec may mount, mirrors, and images kept per app"},
		{"SVC_DNS_LISTEN, SVC_DNS_LINK, SVC_DNS_ALLOW, SVC_DNS_UPSTREAMS", "where svc-dns answers, and whom, and whom it asks for other names"},
		{"SVC_DNS_ONE, SVC_DNS_LIMIT, SVC_DNS_SRV_SCALE, SVC_DNS_TTL", "how svc-dns answers: one pick for each question, how many addresses, what SRV weights are multiplied by, how long an answer may be kept"},
		{"SVC_DNS_WATCHES, SVC_DNS_RATE, SVC_DNS_HOLD, SVC_DNS_MAX_AGE", "what svc-dns follows, what a client may ask, and how long it goes on with what it knows"},
		{"NO_COLOR", "no colours on a terminal"},
	}
}

// files are the files that every program knows.
func files() [][2]string {
	return [][2]string{
		{"/etc/svckit/node.yaml", "settings of this node; flags and SVC_* variables override them"},
		{"app.yaml", "the spec of an app and its services, in the folder of its source"},
		{"/run/svckit", "rendered files and secrets of the instances that run here; a tmpfs"},
		{"/var/lib/svckit", "the last good config of each service; below code, the code of services with code.mount"},
	}
}

// Man returns the program's manual page in roff, made from the same text as its help.
// It has no date, so that the same source gives the same page.
func Man(app *cli.App) (string, error) {
	if err := prepare(app); err != nil {
		return "", err
	}
	p := pageOf(app, nil)
	m := &manual{}
	m.line(".TH %s 1 \"\" svckit \"User commands\"", strings.ToUpper(roff(app.Name)))
	m.section("NAME")
	m.text(app.Name + " - " + app.Usage)
	m.section("SYNOPSIS")
	m.line(".B %s", roff(p.synopsis))
	m.section("DESCRIPTION")
	m.paragraphs(firstOf(p.text, app.Usage+"."))
	if len(p.flags) > 0 {
		m.section("FLAGS")
		m.rows(flagRows(p.flags))
	}
	if len(p.commands) > 0 {
		m.section("COMMANDS")
		for _, c := range p.commands {
			m.command(app, []*cli.Command{c})
		}
	}
	m.section("FLAGS OF EVERY COMMAND")
	m.rows(flagRows(sharedFlags()))
	m.section("EXIT STATUS")
	for _, c := range fault.Codes() {
		m.row(fmt.Sprint(int(c.Kind)), c.Meaning)
	}
	m.section("ENVIRONMENT")
	m.rows(environment())
	m.section("FILES")
	m.rows(files())
	m.section("SEE ALSO")
	m.text("svc-build(1), svc-run(1), svc-reload(1), scaled(1), svc-dns(1)")
	return m.b.String(), nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// manual is a page in the man macros.
type manual struct{ b strings.Builder }

func (m *manual) command(app *cli.App, path []*cli.Command) {
	p := pageOf(app, path)
	m.line(".SS \"%s\"", roff(p.synopsis))
	m.paragraphs(sentence(p.usage) + "\n\n" + p.text)
	m.rows(flagRows(p.flags))
	for _, c := range p.commands {
		m.command(app, append(append([]*cli.Command{}, path...), c))
	}
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func (m *manual) section(title string)            { m.line(".SH %s", title) }
func (m *manual) line(format string, args ...any) { fmt.Fprintf(&m.b, format+"\n", args...) }

func (m *manual) rows(rows [][2]string) {
	for _, r := range rows {
		m.row(r[0], r[1])
	}
}

func (m *manual) row(name, text string) {
	m.line(".TP\n.B %s", roff(name))
	m.text(text)
}

// paragraphs writes text whose blank lines part paragraphs; lines that begin with a blank stand as they are.
func (m *manual) paragraphs(text string) {
	for i, p := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			m.line(".PP")
		}
		asIs := strings.Contains(p, "\n ") || strings.HasPrefix(p, " ")
		if asIs {
			m.line(".nf")
		}
		for _, l := range strings.Split(p, "\n") {
			m.text(l)
		}
		if asIs {
			m.line(".fi")
		}
	}
}

func (m *manual) text(line string) {
	t := roff(line)
	if strings.HasPrefix(t, ".") || strings.HasPrefix(t, "'") {
		t = `\&` + t
	}
	m.line("%s", t)
}

// roff escapes what the typesetter would act on.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`, "…", "...", "·", `\(bu`, "×", "x").Replace(s)
}

func manCommand() *cli.Command {
	return &cli.Command{Name: "man", Usage: "print the manual page", Hidden: true, Action: func(c *cli.Context) error {
		text, err := Man(c.App)
		if err != nil {
			return err
		}
		_, err = io.WriteString(c.App.Writer, text)
		return err
	}}
}
