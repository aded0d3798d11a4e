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
	if !roomy(f, i) {
		return nil
	}
	p := in.at(code, command)
	p.Env = append(p.Env, "PWD=/") // else gunicorn shows a folder that nobody set as if somebody had
	ran, err := m.Engine.Exec(ctx, i.ID, p)
	if err != nil {
		return err
	}
	set := printedConfig(ran.Stdout)
	if again, ok := withPlaces(p, set, code); ok {
		if ran, err = m.Engine.Exec(ctx, i.ID, again); err != nil {
			return err
		}
	}
	f.Tried = true
	if ran.Code != 0 {
		f.Broken = lastOf(ran, "gunicorn --check-config")
	}
	gunicornFacts(f, set)
	if in.inCode(code) && !goesAgain(i.Command, set, code) {
		f.Deaf = fmt.Sprintf("no chdir is set: on HUP its workers would stay in the version from before and load that (chdir = %q in its settings mends it)", code.Mount)
	}
	return nil
}

// goesAgain reports whether gunicorn, on HUP, looks for its code by the name of
// its place again, through the link and so in the version that is current then.
func goesAgain(command []string, set map[string]string, code fleet.CodeAt) bool {
	for k, word := range command {
		value, ok := strings.CutPrefix(word, "--chdir=")
		if word == "--chdir" && k+1 < len(command) {
			value, ok = command[k+1], true
		}
		if ok {
			return within(value, code.Mount)
		}
	}
	return within(set["chdir"], code.Mount) || slices.ContainsFunc(strings.Split(set["pythonpath"], ","), func(at string) bool { return within(at, code.Mount) })
}

// gunicornCheck is the command that checks instead of serving; nil when it is not known.
func gunicornCheck(command []string) []string {
	at := slices.IndexFunc(command, func(word string) bool { return programName(word) == "gunicorn" })
	if at < 0 {
		return nil
	}
	return slices.Insert(slices.Clone(command), at+1, "--check-config", "--print-config")
}

// withPlaces is the check once more, where the first one cannot have meant the
// right code: gunicorn's own file names the place of the code, and only a flag is
// stronger; and --check-config does not use pythonpath, as serving does.
func withPlaces(p fleet.Program, set map[string]string, code fleet.CodeAt) (fleet.Program, bool) {
	again := fleet.Program{Command: slices.Clone(p.Command), Dir: p.Dir, Env: slices.Clone(p.Env)}
	if now := replaced(set["chdir"], code); code.At != "" && now != set["chdir"] {
		at := slices.Index(again.Command, "--print-config") + 1
		again.Command = slices.Insert(again.Command, at, "--chdir", now)
	}
	if set["pythonpath"] != "" && set["pythonpath"] != "None" {
		places := strings.ReplaceAll(set["pythonpath"], ",", ":")
		if code.At != "" {
			places = replaced(places, code)
		}
		again.Env = append(again.Env, "PYTHONPATH="+places)
	}
	return again, len(again.Command) != len(p.Command) || len(again.Env) != len(p.Env)
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
	f.Sizing = fleet.Sizing{Told: true} // TTIN and TTOU; HUP goes back to the number in its settings
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

// shownLines is how much of a traceback is shown: the end names the cause.
const shownLines = 10

// lastOf is what a program said at its end.
func lastOf(ran fleet.Ran, what string) []string {
	for _, said := range [][]string{ran.Errors, ran.Last} {
		if len(said) > 0 {
			return said[max(len(said)-shownLines, 0):]
		}
	}
	return []string{fmt.Sprintf("%s ended with exit code %d and said nothing", what, ran.Code)}
}
