//go:build real

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"svckit/lab"
)

// The image of these rows has a virtualenv with a module of its own, and ini files.
const uwsgiDockerfile = `FROM %s
RUN python3 -m venv --without-pip /opt/venv && echo 'WORD = "from the venv"' >"$(echo /opt/venv/lib/python3*/site-packages)/dep.py"
COPY app.ini base.ini /etc/app/
WORKDIR /etc/app
`

var uwsgiFiles = map[string]string{
	"base.ini": "[uwsgi]\nplugin = python3\nmaster = true\nneed-app = true\nprocesses = 2\nlazy-apps = true\nhttp-socket = 0.0.0.0:8000\nstats = /tmp/stats.sock\nmaster-fifo = /tmp/fifo\ndie-on-term = true\n",
	"app.ini":  "[uwsgi]\nset-placeholder = code=/srv/app\nini = %dbase.ini\nchdir = %(code)\npythonpath = %(code)\nvirtualenv = /opt/venv\nmodule = app\ncallable = main\n",
}

func uwsgiImage(t *testing.T, registry string) string {
	t.Helper()
	dir, ref := t.TempDir(), registry+"/uwsgi:env"
	for name, text := range uwsgiFiles {
		write(t, filepath.Join(dir, name), text)
	}
	write(t, filepath.Join(dir, "Dockerfile"), fmt.Sprintf(uwsgiDockerfile, lab.BaseImage))
	dockerDo(t, "build", "--quiet", "--tag", ref, dir)
	return registry + "/uwsgi@" + regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(dockerDo(t, "push", ref))
}

const bareUWSGI = `
  web:
    command: [uwsgi, %s]
    master: uwsgi
    port: 8000
    code: {mount: /srv/app}
    check: {http: /healthz, interval: 1s, timeout: 10s, min_healthy: 300ms, deadline: 90s}
    stop: {timeout: 10s, drain: 100ms}
`

const uwsgiServes = `--plugin, python3, --need-app, --master, --processes, "2", --http-socket, "0.0.0.0:8000", --stats, /tmp/stats.sock, --die-on-term, `

// theRightCodeIsTried: new code is tried as the master would load it, wherever its
// options say that it is. What it imports is there in the new version only, and
// broken code, or such as needs what is not there, is refused.
func theRightCodeIsTried(env environment) (rows []row) {
	for _, k := range []struct{ name, command, callable string }{
		{"virtualenv", uwsgiServes + `--virtualenv, /opt/venv, --chdir, /srv/app, --pythonpath, /srv/app, --module, app`, "application"},
		{"callable", uwsgiServes + `--virtualenv, /opt/venv, --chdir, /srv/app, --pythonpath, /srv/app, --module, app, --callable, main`, "main"},
		{"mount", uwsgiServes + `--home, /opt/venv, --chdir, /srv/app, --pythonpath, /srv/app, --manage-script-name, --mount, "/=app:main"`, "main"},
		{"mount of a file", uwsgiServes + `--home, /opt/venv, --chdir, /srv/app, --mount, "/=/srv/app/app.py"`, "application"},
		{"chdir alone", uwsgiServes + `--home, /opt/venv, --chdir, /srv/app, --module, "app:main"`, "main"},
		{"chdir alone, lazy, with a fifo", uwsgiServes + `--lazy-apps, --master-fifo, /tmp/fifo, --home, /opt/venv, --chdir, /srv/app, --module, "app:main"`, "main"},
		{"pythonpath alone, lazy, with a fifo", uwsgiServes + `--lazy-apps, --master-fifo, /tmp/fifo, --home, /opt/venv, --pythonpath, /srv/app, --wsgi, "app:main"`, "main"},
		{"wsgi-file and chdir, lazy, with a fifo", uwsgiServes + `--lazy-apps, --master-fifo, /tmp/fifo, --home, /opt/venv, --chdir, /srv/app, --wsgi-file, /srv/app/app.py`, "application"},
		{"ini files", `--ini, /etc/app/app.ini`, "main"},
		{"an ini file by a short name", `app.ini`, "main"},
		{"an ini file in the code", `/srv/app/conf/uwsgi.ini`, "main"},
	} {
		rows = append(rows, row{"uwsgi's right code is tried: " + k.name, func(t *testing.T) {
			r := newRig(t, env)
			r.env.image = env.uwsgi
			r.release("r1", fmt.Sprintf(bareUWSGI, k.command))
			code := func(generation, helper string) map[string]string {
				files := appCode(generation)
				files["app.py"] = "from helper import WORD\n" + strings.ReplaceAll(files["app.py"], "def application(", "def "+k.callable+"(")
				files["app.py"] = strings.Replace(files["app.py"], `(GENERATION + "\n")`, `(GENERATION + " " + WORD + "\n")`, 1)
				files["helper.py"] = helper
				files["conf/uwsgi.ini"] = strings.Replace(uwsgiFiles["app.ini"], "%dbase.ini", "/etc/app/base.ini", 1)
				return files
			}
			r.code(code("one", "from dep import WORD\n"))
			r.must(r.service(), "--source", r.source)
			r.run("up", r.service())
			for _, broken := range []struct{ helper, want string }{
				{"from dep import NOT_THERE\n", "ImportError: cannot import name 'NOT_THERE' from 'dep'"},
				{"import fresh\n", "No module named 'fresh'"},
				{"def broken(:\n", "SyntaxError"},
			} {
				r.code(code("broken", broken.helper))
				got := r.reload(r.service(), "--source", r.source, "--floor", "0")
				if got.code != 17 || !strings.Contains(got.stderr, broken.want) {
					t.Errorf("%q: exit %d, want 17 and %q\n%s", broken.helper, got.code, broken.want, got.stderr)
				}
			}
			if said := r.get("/")[0]; said != "one from the venv" {
				t.Errorf("it says %q", said)
			}
			next := code("two", "import fresh\nfrom dep import WORD\nWORD = fresh.PREFIX + WORD\n")
			next["fresh.py"] = "PREFIX = 'fresh and '\n"
			r.code(next)
			r.must(r.service(), "--source", r.source, "--floor", "0")
			if said := r.get("/")[0]; said != "two fresh and from the venv" {
				t.Errorf("it says %q", said)
			}
		}})
	}
	return rows
}
