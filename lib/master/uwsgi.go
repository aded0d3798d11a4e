package master

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"svckit/lib/fleet"
	"svckit/lib/proc"
)

// examineUWSGI reads what the options allow, and loads the application in a
// uwsgi of its own that serves nobody.
func (m Masters) examineUWSGI(ctx context.Context, i fleet.Instance, f *fleet.Master, o options, in inside, code fleet.CodeAt) error {
	if address := o.first("stats", "stats-server"); address != "" {
		if s, err := readStats(ctx, f.PID, address); err == nil {
			f.Version, _, _ = strings.Cut(s.Version, "-")
		}
	}
	uwsgiFacts(f, o)
	if in.inCode(code) {
		uwsgiPaths(f, o, code)
	}
	command := uwsgiCheck(i.Command, o)
	if !roomy(f, i) || command == nil {
		return nil
	}
	in.dir = startDir(i, in.dir)
	ran, err := m.Engine.Exec(ctx, i.ID, in.at(code, command))
	if err != nil {
		return err
	}
	f.Tried = true
	f.Broken = uwsgiBroken(ran)
	return nil
}

// uwsgiFacts are what its options say of how it can be reloaded.
func uwsgiFacts(f *fleet.Master, o options) {
	f.Lazy = o.on("lazy-apps", "lazy-app", "lazy")
	f.Chain = fleet.Chain{FIFO: o.fifo(), Touch: o.last("touch-chain-reload")}
	f.Sizing = uwsgiSizing(o)
	if !o.on("master") {
		f.Deaf = "uwsgi runs without its master: it cannot reload"
	}
	if f.Version == "2.0.27" {
		f.Deaf = "uwsgi 2.0.27 does not reload on HUP (uwsgi #2688)"
	}
	if o.on("daemonize", "daemonize2") {
		f.Unsafe = append(f.Unsafe, "daemonize is set: the process that the container was started with is not the master")
	}
	if others := otherChildren(o); len(others) > 0 && o.first("stats", "stats-server") == "" {
		f.Unsafe = append(f.Unsafe, fmt.Sprintf("its master has other children than workers (%s), and only its stats socket tells which is which: set stats = /tmp/uwsgi-stats.sock", strings.Join(others, ", ")))
	}
}

// uwsgiSizing reads who decides on the number of workers. Only with cheaper does
// it change while uwsgi runs: the orders + and - of the fifo have no effect
// without (2.0.21, core/master.c calls uwsgi_calc_cheaper for nothing else). The
// algorithm manual knows the orders alone.
func uwsgiSizing(o options) fleet.Sizing {
	least := number(o.last("cheaper"))
	if least <= 0 {
		return fleet.Sizing{}
	}
	return fleet.Sizing{
		Told: o.fifo() != "", Self: o.last("cheaper-algo") != "manual",
		First: max(number(o.last("cheaper-initial")), least), Least: least,
	}
}

// uwsgiPaths says what a uwsgi that stands in the code of its volume would load:
// its own "." is the version that it was started in, in workers of a chain for
// ever, after HUP unless it goes there again.
func uwsgiPaths(f *fleet.Master, o options, code fleet.CodeAt) {
	named := false
	for _, name := range []string{"pythonpath", "python-path", "pp"} { // a file that is named imports the rest from "."
		named = named || slices.ContainsFunc(o[name], func(at string) bool { return within(at, code.Mount) })
	}
	switch {
	case named:
	case within(o.last("chdir"), code.Mount):
		f.Chain = fleet.Chain{}
	default:
		f.Deaf = fmt.Sprintf("no pythonpath is set: it would load the version that it was started in again (pythonpath = %s in its settings mends it)", code.Mount)
	}
}

// otherChildren names the options that give a master children that are no workers.
func otherChildren(o options) []string {
	var out []string
	for _, name := range []string{"http", "https", "http-to-https", "fastrouter", "mule", "mules", "spooler", "attach-daemon", "smart-attach-daemon"} {
		if len(o[name]) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// loading are the options that decide what a uwsgi loads, and from where. The
// check gets them and no other: no socket, no fifo, no pidfile of the one that serves.
func loading() []string {
	return []string{
		"plugins-dir", "plugin-dir", "plugin", "plugins", "chdir", "chdir2", "pythonpath", "python-path", "pp", "home", "virtualenv", "venv", "pyhome",
		"module", "wsgi", "wsgi-file", "file", "pyrun", "callable", "env", "import", "pyimport", "shared-import", "pyargv", "mount", "manage-script-name",
		"enable-threads", "single-interpreter", "set", "eval", "paste",
	}
}

// uwsgiCheck is the command that loads the application and ends; nil where its
// options name none.
func uwsgiCheck(command []string, o options) []string {
	at := slices.IndexFunc(command, func(word string) bool { return strings.HasPrefix(programName(word), "uwsgi") })
	if at < 0 || o.first("module", "wsgi", "wsgi-file", "file", "mount", "paste") == "" {
		return nil
	}
	out := []string{command[at], "--no-server", "--need-app"}
	for _, name := range loading() {
		if isSwitch(name) {
			if o.on(name) {
				out = append(out, "--"+name)
			}
			continue
		}
		for _, value := range o[name] {
			out = append(out, "--"+name, value)
		}
	}
	return out
}

// uwsgiBroken is what a check said of code that does not load; nil when it
// loads. uwsgi without a server ends with 0 in any case, so its words count.
func uwsgiBroken(ran fleet.Ran) []string {
	lines := slices.Concat(ran.Last, ran.Errors)
	loaded := slices.ContainsFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "WSGI app ") && strings.Contains(line, " ready in ")
	})
	failed := slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "unable to load app") })
	if loaded && !failed && ran.Code == 0 {
		return nil
	}
	var out []string
	for _, line := range lastOf(ran, "uwsgi --no-server") {
		if !uwsgiNoise(line) {
			out = append(out, line)
		}
	}
	// From the traceback on, where there is one.
	if at := slices.IndexFunc(out, func(line string) bool { return strings.HasPrefix(line, "Traceback") }); at > 0 {
		out = out[at:]
	}
	return out
}

// uwsgiNoise is what every uwsgi says at its start.
func uwsgiNoise(line string) bool {
	return strings.HasPrefix(line, "***") || strings.HasPrefix(line, "uWSGI running as root") || strings.HasPrefix(line, "no-server mode requested")
}

// uwsgiWorkers picks the workers out of a master's children: by its stats socket
// where it has one that can be reached, else all of them.
func uwsgiWorkers(ctx context.Context, pid int, o options, children []fleet.Process) ([]fleet.Process, error) {
	address := o.first("stats", "stats-server")
	if address == "" {
		return children, nil
	}
	s, err := readStats(ctx, pid, address)
	if err != nil {
		if len(otherChildren(o)) == 0 {
			return children, nil // at its start and while it reloads the socket is away
		}
		return nil, err
	}
	serving := map[int]bool{}
	for _, w := range s.Workers {
		if w.PID > 0 && w.Status != "cheap" {
			serving[w.PID] = true
		}
	}
	var out []fleet.Process
	for _, c := range children {
		if inner, err := proc.Inner(c.PID); err == nil && serving[inner] {
			out = append(out, c)
		}
	}
	return out, nil
}

// chain makes a uwsgi replace one worker after the other: by our own hand where
// its workers can be watched, else by its own chain reload.
func chain(ctx context.Context, i fleet.Instance, f fleet.Master) error {
	if opts, err := identify(i, f); err == nil {
		if err := turn(ctx, f, opts); !errors.Is(err, errNotHere) {
			return err
		}
	}
	if f.Chain.FIFO != "" {
		return proc.WriteFIFO(f.PID, f.Chain.FIFO, "c")
	}
	return proc.Touch(f.PID, f.Chain.Touch, time.Now())
}
