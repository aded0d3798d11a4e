package dockerfile

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

var update = flag.Bool("update", false, "write the golden files again")

func files(paths ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, p := range paths {
		m[p] = &fstest.MapFile{Data: []byte("package main\n")}
	}
	return m
}

func TestEachRuntimeHasItsDockerfile(t *testing.T) {
	rows := []struct {
		golden  string
		runtime spec.Runtime
		facts   Facts
	}{
		{"python", spec.Python, Facts{Requirements: true}},
		{"python-other-files", spec.Python, Facts{Requirements: true, Others: true}},
		{"python-base-has-all", spec.Python, Facts{}},
		{"go", spec.Go, Facts{Module: true, Sum: true, Main: "./cmd/shortener"}},
		{"go-no-modules", spec.Go, Facts{Module: true, Main: "."}},
		{"go-vendor", spec.Go, Facts{Module: true, Sum: true, Vendor: true, Main: "."}},
		{"node", spec.Node, Facts{Package: true, Lock: true}},
		{"node-no-lock", spec.Node, Facts{Package: true}},
		{"ruby", spec.Ruby, Facts{Gemfile: true, Lock: true}},
		{"ruby-no-lock", spec.Ruby, Facts{Gemfile: true}},
		{"static", spec.Static, Facts{Public: true}},
	}
	for _, row := range rows {
		t.Run(row.golden, func(t *testing.T) {
			got, err := Generate(row.runtime, row.facts)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", row.golden+".Dockerfile")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

var (
	command  = regexp.MustCompile(`^(RUN|CMD|ENTRYPOINT) `)
	execForm = regexp.MustCompile(`^[A-Z]+ (--\S+ )*\[`)
)

// What must hold of every Dockerfile, whatever its text.
func TestEveryDockerfileKeepsTheRules(t *testing.T) {
	all, err := filepath.Glob("testdata/*.Dockerfile")
	if err != nil || len(all) < 10 {
		t.Fatalf("%d golden files, %v", len(all), err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "ARG BASE=") }) {
			t.Errorf("%s: the base image is no argument", file)
		}
		last := lines[slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "USER ") })]
		if !strings.HasPrefix(last, "USER 1") {
			t.Errorf("%s: runs as root: %q", file, last)
		}
		for _, l := range lines {
			if command.MatchString(l) && !execForm.MatchString(l) {
				t.Errorf("%s: shell form: %q", file, l)
			}
		}
		install := slices.IndexFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "RUN ") && (strings.Contains(l, "install") || strings.Contains(l, `"ci"`) || strings.Contains(l, "download"))
		})
		code := slices.Index(lines, "COPY . .")
		if install > code && code >= 0 && !strings.Contains(file, "python-other-files") {
			t.Errorf("%s: dependencies come after the code", file)
		}
	}
}

func TestAFolderWithoutWhatTheRuntimeNeedsIsRefused(t *testing.T) {
	for _, row := range []struct {
		runtime spec.Runtime
		facts   Facts
		want    string
	}{
		{spec.Go, Facts{}, "generate Dockerfile: runtime go needs a go.mod"},
		{spec.Go, Facts{Module: true}, "generate Dockerfile: runtime go needs a package main in the folder or in cmd/<app>"},
		{spec.Go, Facts{Module: true, Mains: []string{"./cmd/a", "./cmd/b"}}, "generate Dockerfile: runtime go needs one command, or one that is called as the app is: there are ./cmd/a, ./cmd/b"},
		{spec.Node, Facts{}, "generate Dockerfile: runtime node needs a package.json"},
		{spec.Ruby, Facts{}, "generate Dockerfile: runtime ruby needs a Gemfile"},
		{spec.Static, Facts{}, "generate Dockerfile: runtime static needs a folder public with the files to serve"},
		{"perl", Facts{}, `generate Dockerfile: unknown runtime "perl", expected python, go, node, ruby or static`},
	} {
		_, err := Generate(row.runtime, row.facts)
		if err == nil || err.Error() != row.want || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: error is %v, want %q", row.runtime, err, row.want)
		}
	}
}

func TestTheFactsAreReadFromTheFolder(t *testing.T) {
	comments := fstest.MapFS{"requirements.txt": &fstest.MapFile{Data: []byte("# nothing yet\n\n")}}
	for name, row := range map[string]struct {
		dir  fstest.MapFS
		want func(Facts) bool
	}{
		"a requirements file of comments names no package": {comments, func(f Facts) bool { return !f.Requirements }},
		"requirements that stand alone": {
			fstest.MapFS{"requirements.txt": &fstest.MapFile{Data: []byte("flask==3.0\n--no-binary :all:\n")}},
			func(f Facts) bool { return f.Requirements && !f.Others },
		},
		"requirements that name others": {
			fstest.MapFS{"requirements.txt": &fstest.MapFile{Data: []byte("-r base.txt\n")}},
			func(f Facts) bool { return f.Requirements && f.Others },
		},
		"requirements":         {files("requirements.txt"), func(f Facts) bool { return f.Requirements }},
		"package and lock":     {files("package.json", "package-lock.json"), func(f Facts) bool { return f.Package && f.Lock }},
		"a command at the top": {files("go.mod", "main.go"), func(f Facts) bool { return f.Module && f.Main == "." }},
		"a test is no command": {files("main_test.go"), func(f Facts) bool { return f.Main == "" }},
		"the app's command":    {files("cmd/app/main.go", "cmd/other/main.go"), func(f Facts) bool { return f.Main == "./cmd/app" }},
		"the only command":     {files("cmd/other/main.go"), func(f Facts) bool { return f.Main == "./cmd/other" }},
		"two foreign commands": {files("cmd/a/main.go", "cmd/b/main.go"), func(f Facts) bool {
			return f.Main == "" && slices.Equal(f.Mains, []string{"./cmd/a", "./cmd/b"})
		}},
	} {
		if got := Look(row.dir, "app"); !row.want(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
