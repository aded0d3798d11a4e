package master

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

func TestTheMasterIsFoundAndAShellIsNot(t *testing.T) {
	p := func(pid, parent int, command string) fleet.Process {
		return fleet.Process{PID: pid, Parent: parent, Command: command}
	}
	gunicorn := "/usr/bin/python3 /usr/bin/gunicorn -c gunicorn.conf.py app:application"
	for _, row := range []struct {
		name string
		kind spec.Master
		list []fleet.Process
		pid  int
		why  string
	}{
		{"below Docker's init", spec.Gunicorn, []fleet.Process{p(10, 1, "/sbin/docker-init -- gunicorn"), p(11, 10, gunicorn), p(12, 11, gunicorn)}, 11, ""},
		{"without an init", spec.Gunicorn, []fleet.Process{p(10, 1, gunicorn), p(12, 10, gunicorn)}, 10, ""},
		{"beside an orphan that the init adopted", spec.Gunicorn, []fleet.Process{p(10, 1, "tini -- x"), p(9, 10, "sleep 9"), p(11, 10, gunicorn)}, 11, ""},
		{"a program that was started beside it", spec.Gunicorn, []fleet.Process{p(3, 2, gunicorn), p(10, 1, "/sbin/docker-init -- gunicorn"), p(11, 10, gunicorn)}, 11, ""},
		{"by its own title", spec.Gunicorn, []fleet.Process{p(10, 1, "gunicorn: master [app]"), p(12, 10, "gunicorn: worker [app]")}, 10, ""},
		{"python -m", spec.Gunicorn, []fleet.Process{p(10, 1, "python3 -m gunicorn app:application")}, 10, ""},
		{"uwsgi", spec.UWSGI, []fleet.Process{p(10, 1, "uwsgi --ini uwsgi.ini"), p(12, 10, "uwsgi --ini uwsgi.ini")}, 10, ""},
		{"a shell", spec.Gunicorn, []fleet.Process{p(10, 1, "/sbin/docker-init -- sh"), p(11, 10, "sh -c gunicorn app:application"), p(12, 11, gunicorn)}, 0, "is a shell"},
		{"another program that names it", spec.Gunicorn, []fleet.Process{p(10, 1, "python3 supervise.py --run gunicorn")}, 0, "is no gunicorn"},
		{"nothing", spec.Gunicorn, nil, 0, "is not among its processes"},
		{"an init alone", spec.Gunicorn, []fleet.Process{p(10, 1, "tini -- x")}, 0, "has no child"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, why := masterOf(row.list, 10, row.kind)
			if got.PID != row.pid || !strings.Contains(why, row.why) || (why == "") != (row.pid > 0) {
				t.Errorf("pid %d, %q; want %d, %q", got.PID, why, row.pid, row.why)
			}
		})
	}
}

func TestOtherCodeIsNamedWholePathByWholePath(t *testing.T) {
	code := fleet.CodeAt{Mount: "/srv/app", Versions: "/run/code/versions", At: "/run/code/versions/v2"}
	for in, want := range map[string]string{
		"/srv/app": "/run/code/versions/v2", "/srv/app/conf.py": "/run/code/versions/v2/conf.py", "--chdir=/srv/app": "--chdir=/run/code/versions/v2",
		"PYTHONPATH=/lib:/srv/app:/srv/app/lib": "PYTHONPATH=/lib:/run/code/versions/v2:/run/code/versions/v2/lib",
		"/srv/application":                      "/srv/application", "/other/srv/app": "/other/srv/app", "app:application": "app:application", "": "",
	} {
		if got := replaced(in, code); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	for _, row := range []struct{ dir, at, want string }{
		{"/srv/app", code.At, "/run/code/versions/v2"},
		{"/srv/app/web", code.At, "/run/code/versions/v2/web"},
		{"/run/code/versions/v1/web", code.At, "/run/code/versions/v2/web"},
		{"/run/code/versions/v1", "", "/srv/app"},
		{"/run/code/versions", code.At, "/run/code/versions"},
		{"/", code.At, "/"},
		{"/srv/application", "", "/srv/application"},
	} {
		c := code
		c.At = row.at
		if got := (inside{dir: row.dir}).at(c, []string{"x"}).Dir; got != row.want {
			t.Errorf("%s with %q runs in %s, want %s", row.dir, row.at, got, row.want)
		}
	}
}

func TestGunicornSaysHowItIsReloaded(t *testing.T) {
	printed := "chdir             = /srv/app\nkeepalive = 2\npreload_app                       = False\nraw_env = ['A=b']\nthreads = 1\nworker_class = sync\nworkers = 3\n\nworkers = 9\n"
	if diff := cmp.Diff(map[string]string{
		"chdir": "/srv/app", "keepalive": "2", "preload_app": "False", "raw_env": "['A=b']", "threads": "1", "worker_class": "sync", "workers": "3",
	}, printedConfig([]byte(printed))); diff != "" {
		t.Error(diff)
	}
	for _, row := range []struct {
		name, set string
		want      fleet.Master
	}{
		{"sync", "workers=3 worker_class=sync keepalive=2 threads=1", fleet.Master{}},
		{"threads", "workers=3 worker_class=sync keepalive=2 threads=4", fleet.Master{KeepAlive: true}},
		{"threads that keep nothing", "workers=3 worker_class=gthread keepalive=0 threads=4", fleet.Master{}},
		{"preload", "workers=1 worker_class=sync preload_app=True", fleet.Master{Preload: true}},
		{"a class by its path", "workers=1 worker_class=gunicorn.workers.sync.SyncWorker keepalive=2", fleet.Master{}},
		{"nothing known", "", fleet.Master{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			set := map[string]string{}
			for _, pair := range strings.Fields(row.set) {
				name, value, _ := strings.Cut(pair, "=")
				set[name] = value
			}
			var got fleet.Master
			gunicornFacts(&got, set)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, set := range []string{"daemon", "reload", "reuse_port"} {
		var got fleet.Master
		if gunicornFacts(&got, map[string]string{set: "True"}); len(got.Unsafe) != 1 || !strings.HasPrefix(got.Unsafe[0], set) {
			t.Errorf("%s: %q", set, got.Unsafe)
		}
	}
	if got := gunicornCheck([]string{"python3", "-m", "gunicorn", "-c", "x", "app"}); !slices.Equal(got, []string{"python3", "-m", "gunicorn", "--check-config", "--print-config", "-c", "x", "app"}) {
		t.Errorf("check %q", got)
	}
	if got := gunicornCheck([]string{"serve"}); got != nil {
		t.Errorf("check %q", got)
	}
}

func TestGunicornWithoutAFolderOfItsOwnStaysInTheOldVersion(t *testing.T) {
	code := fleet.CodeAt{Mount: "/srv/app", Versions: "/run/code/versions"}
	for _, row := range []struct {
		command, chdir string
		want           bool
	}{
		{"gunicorn app", "/run/code/versions/v1", false},
		{"gunicorn app", "/srv/app", true},
		{"gunicorn app", "/srv/app/web", true},
		{"gunicorn --chdir /srv/app app", "/run/code/versions/v2", true},
		{"gunicorn --chdir=/srv/app app", "", true},
		{"gunicorn --chdir / app", "/srv/app", false},
	} {
		if got := goesAgain(strings.Fields(row.command), map[string]string{"chdir": row.chdir}, code); got != row.want {
			t.Errorf("%q with chdir %s: %t", row.command, row.chdir, got)
		}
	}
}

func TestOptionsOfUWSGIAreReadFromItsCommandAndItsFiles(t *testing.T) {
	files := map[string]string{
		"/srv/app/uwsgi.ini": "; comment\n[uwsgi]\nstrict = true\nplugin=python3\nmodule = app:application\npythonpath = %d\npythonpath = /lib\ninclude = more.ini\nhttp-socket = 0.0.0.0:$(SVC_PORT)\nlazy-apps\n[other]\nmodule = no\n",
		"/srv/app/more.ini":  "[uwsgi]\nmaster = true\nmaster-fifo = /tmp/%n.fifo\nset-placeholder = x\n",
		"/srv/app/loop.ini":  "[uwsgi]\nini = loop.ini\n",
	}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no such file: " + name)
	}
	o, err := readOptions(strings.Fields("uwsgi --ini uwsgi.ini --processes 4 --need-app -l 64 --chdir=/srv/app"), "/srv/app", []string{"SVC_PORT=8000"}, read)
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		"strict": {"true"}, "plugin": {"python3"}, "module": {"app:application"}, "pythonpath": {"/srv/app/", "/lib"}, "http-socket": {"0.0.0.0:8000"},
		"lazy-apps": {"true"}, "master": {"true"}, "master-fifo": {"/tmp/more.fifo"}, "set-placeholder": {"x"}, "processes": {"4"}, "need-app": {"true"},
		"listen": {"64"}, "chdir": {"/srv/app"},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Error(diff)
	}
	if !o.on("lazy", "lazy-apps") || o.on("lazy") || o.first("nothing", "processes") != "4" {
		t.Errorf("switches of %v", o)
	}
	for command, want := range map[string]string{
		"uwsgi --ini loop.ini": "more than 16 ini files", "uwsgi --xml a.xml": "--xml, which svckit cannot read", "uwsgi --ini gone.ini": "no such file",
		"uwsgi config.yml": "is no ini file", "serve": "does not name uwsgi", "uwsgi --ini uwsgi.ini:nothere": "has no section nothere",
	} {
		if _, err := readOptions(strings.Fields(command), "/srv/app", nil, read); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", command, err, want)
		}
	}
}

func TestUWSGISaysHowItIsReloaded(t *testing.T) {
	for _, row := range []struct {
		name string
		o    options
		want fleet.Master
	}{
		{"chain", options{"master": {"true"}, "lazy-apps": {"true"}, "master-fifo": {"/f"}, "processes": {"2"}}, fleet.Master{Lazy: true, Chain: fleet.Chain{FIFO: "/f"}}},
		{"touch", options{"master": {"true"}, "lazy-apps": {"true"}, "touch-chain-reload": {"/t"}}, fleet.Master{Lazy: true, Chain: fleet.Chain{Touch: "/t"}}},
		{"plain", options{"master": {"true"}, "workers": {"3"}}, fleet.Master{}},
		{"no master", options{}, fleet.Master{Deaf: "uwsgi runs without its master: it cannot reload"}},
		{"lazy said no", options{"master": {"1"}, "lazy-apps": {"false"}, "master-fifo": {"/f"}}, fleet.Master{Chain: fleet.Chain{FIFO: "/f"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got fleet.Master
			uwsgiFacts(&got, row.o)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	var router fleet.Master
	uwsgiFacts(&router, options{"master": {"true"}, "http": {":80"}})
	if len(router.Unsafe) != 1 || !strings.Contains(router.Unsafe[0], "set stats") {
		t.Errorf("router %+v", router)
	}
}

func TestUWSGIThatStandsInItsCodeMustNameIt(t *testing.T) {
	code := fleet.CodeAt{Mount: "/srv/app", Versions: "/run/code/versions"}
	for _, row := range []struct {
		name  string
		o     options
		chain bool
		deaf  bool
	}{
		{"pythonpath", options{"pythonpath": {"/lib", "/srv/app"}}, true, false},
		{"chdir", options{"chdir": {"/srv/app"}}, false, false},
		{"neither", options{"module": {"app"}}, true, true},
	} {
		m := fleet.Master{Chain: fleet.Chain{FIFO: "/f"}}
		if uwsgiPaths(&m, row.o, code); m.Chain.Known() != row.chain || (m.Deaf != "") != row.deaf {
			t.Errorf("%s: %+v", row.name, m)
		}
	}
}

func TestTheCheckOfUWSGILoadsAndServesNobody(t *testing.T) {
	o := options{"plugin": {"python3"}, "module": {"app:application"}, "http-socket": {":8000"}, "master-fifo": {"/f"}, "pidfile": {"/p"}, "stats": {"/s"}, "pythonpath": {"/a", "/b"}, "master": {"true"}}
	got := uwsgiCheck([]string{"/usr/bin/uwsgi", "--ini", "x.ini"}, o)
	want := []string{"/usr/bin/uwsgi", "--no-server", "--need-app", "--plugin", "python3", "--pythonpath", "/a", "--pythonpath", "/b", "--module", "app:application"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if uwsgiCheck([]string{"uwsgi"}, options{"psgi": {"x"}}) != nil {
		t.Error("an app of another language was tried")
	}
	ready := "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x1 pid: 9 (default app)"
	for _, row := range []struct {
		name string
		ran  fleet.Ran
		want []string
	}{
		{"loads", fleet.Ran{Errors: []string{"*** Starting", ready, "no-server mode requested. Goodbye."}}, nil},
		{"does not", fleet.Ran{Errors: []string{"*** Starting", "uWSGI running as root, you can", "chdir() to /x", "Traceback (most recent call last):", "SyntaxError: x", "unable to load app 0"}}, []string{"Traceback (most recent call last):", "SyntaxError: x", "unable to load app 0"}},
		{"ends", fleet.Ran{Code: 1, Errors: []string{"bad option"}}, []string{"bad option"}},
		{"says nothing", fleet.Ran{Code: 7}, []string{"uwsgi --no-server ended with exit code 7 and said nothing"}},
	} {
		if got := uwsgiBroken(row.ran); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func TestWorkersNeedRoomBesideTheNewOnes(t *testing.T) {
	if got := kibibytes([]byte("Private_Clean:     12 kB\nPrivate_Dirty:  3 kB\nHuge: 9 pages\nBad: x kB\nno colon\n")); got["Private_Clean"] != 12<<10 || got["Private_Dirty"] != 3<<10 || len(got) != 2 {
		t.Errorf("%v", got)
	}
	m := fleet.Master{PID: os.Getpid(), Workers: []fleet.Worker{{PID: os.Getpid()}, {PID: os.Getpid()}}}
	if why := tooBig(&m, fleet.Instance{}); why != nil || m.Workers[0].Memory == 0 {
		t.Errorf("without a limit: %q, a worker of %d bytes", why, m.Workers[0].Memory)
	}
	if why := tooBig(&m, fleet.Instance{Memory: 4 * m.Workers[0].Memory}); len(why) != 1 || !strings.Contains(why[0], "has no room for") {
		t.Errorf("a limit of four workers for a master and four: %q", why)
	}
	m.Chain, m.Lazy = fleet.Chain{FIFO: "/f"}, true
	if why := tooBig(&m, fleet.Instance{Memory: 5 * m.Workers[0].Memory}); why != nil {
		t.Errorf("one after the other: %q", why)
	}
}

func FuzzOptionsOfUWSGI(f *testing.F) {
	f.Add("uwsgi --ini a.ini -p 4", "[uwsgi]\nmodule=app\n%(x)$(y)")
	f.Add("uwsgi a.ini:b --x=", "[b]\nini = a.ini\n=\n[")
	f.Fuzz(func(t *testing.T, command, text string) {
		o, err := readOptions(strings.Fields(command), "/srv", []string{"A=b"}, func(string) ([]byte, error) { return []byte(text), nil })
		if err == nil {
			uwsgiFacts(&fleet.Master{}, o)
			uwsgiCheck(strings.Fields(command), o)
		}
		printedConfig([]byte(text))
	})
}
