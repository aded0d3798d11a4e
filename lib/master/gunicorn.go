package master

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"svckit/lib/fleet"
)

// examineGunicorn lets gunicorn itself, in a process beside the master, resolve
// its settings and load the application: --check-config and --print-config.
func (m Masters) examineGunicorn(ctx context.Context, i fleet.Instance, f *fleet.Master, in inside, code fleet.CodeAt) error {
	command := gunicornCheck(i.Command)
	if command == nil {
		f.Unsafe = append(f.Unsafe, "its command does not name gunicorn: what it would load cannot be tried")
		return nil
	}
	ran, err := m.Engine.Exec(ctx, i.ID, in.at(code, command))
	if err != nil {
		return err
	}
	set := printedConfig(ran.Stdout)
	if more := movedSettings(set, code); len(more) > 0 {
		// Its own file names the place of the code: only a flag is stronger than that.
		at := in.at(code, command)
		at.Command = slices.Insert(at.Command, checkAt(at.Command)+1, more...)
		if ran, err = m.Engine.Exec(ctx, i.ID, at); err != nil {
			return err
		}
	}
	f.Tried = true
	if ran.Code != 0 {
		f.Broken = lastOf(ran, "gunicorn --check-config")
	}
	gunicornFacts(f, set)
	return nil
}

// gunicornCheck is the command that checks instead of serving; nil when it is not known.
func gunicornCheck(command []string) []string {
	at := slices.IndexFunc(command, func(word string) bool { return programName(word) == "gunicorn" })
	if at < 0 {
		return nil
	}
	return slices.Insert(slices.Clone(command), at+1, "--check-config", "--print-config")
}

func checkAt(command []string) int { return slices.Index(command, "--print-config") }

// movedSettings are flags for the settings that still name the place of the code
// although another version is meant.
func movedSettings(set map[string]string, code fleet.CodeAt) []string {
	if code.At == "" {
		return nil
	}
	var out []string
	for _, name := range []string{"chdir", "pythonpath"} {
		if now := replaced(set[name], code); now != set[name] {
			out = append(out, "--"+name, now)
		}
	}
	return out
}

// printedConfig reads what --print-config prints: "name   = value", a setting a line.
func printedConfig(text []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && name != "" && !strings.Contains(name, " ") {
			if _, twice := out[name]; !twice {
				out[name] = strings.TrimSpace(value)
			}
		}
	}
	return out
}

// gunicornFacts reads the settings that decide how it can be reloaded.
func gunicornFacts(f *fleet.Master, set map[string]string) {
	f.Expected = number(set["workers"])
	f.Preload = set["preload_app"] == "True"
	threaded := number(set["threads"]) > 1
	class := set["worker_class"]
	sync := !threaded && (class == "sync" || strings.HasSuffix(class, "SyncWorker"))
	f.KeepAlive = class != "" && !sync && number(set["keepalive"]) > 0
	switch {
	case set["daemon"] == "True":
		f.Unsafe = append(f.Unsafe, "daemon = True: the process that the container was started with is not the master")
	case set["reload"] == "True":
		f.Unsafe = append(f.Unsafe, "reload = True: its workers load changed code by themselves, untested; it is made for development")
	case set["reuse_port"] == "True":
		f.Unsafe = append(f.Unsafe, "reuse_port = True: a worker that ends drops the connections that wait for it (gunicorn #3038)")
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// lastOf is what a program said at its end.
func lastOf(ran fleet.Ran, what string) []string {
	if len(ran.Errors) > 0 {
		return ran.Errors
	}
	if len(ran.Last) > 0 {
		return ran.Last
	}
	return []string{fmt.Sprintf("%s ended with exit code %d and said nothing", what, ran.Code)}
}
