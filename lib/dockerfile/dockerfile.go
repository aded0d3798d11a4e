// Package dockerfile writes Dockerfiles for the runtimes that svckit knows. It is pure:
// what it must know of the source folder is an argument.
//
// All of them have in common: the base image is the build argument BASE; dependencies are
// a layer of their own, made from the files that name them, so that a change of code does
// not fetch them again; a package mirror is a build argument that the runtime's own tool
// reads; the image runs as a user who is not root; commands are in exec form.
package dockerfile

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"svckit/lib/fault"
	"svckit/lib/spec"
)

// Facts are what a Dockerfile depends on besides the runtime.
type Facts struct {
	Requirements bool     // python: requirements.txt names at least one package
	Others       bool     // python: requirements.txt refers to other files (-r, -c, -e, ./pkg)
	Package      bool     // node: there is a package.json
	Lock         bool     // node: package-lock.json or npm-shrinkwrap.json; ruby: Gemfile.lock
	Gemfile      bool     // ruby
	Module       bool     // go: there is a go.mod
	Sum          bool     // go: there is a go.sum
	Vendor       bool     // go: there is a vendor folder
	Main         string   // go: the package that is built, e.g. "." or "./cmd/shortener"
	Public       bool     // static: there is a public folder
	Mains        []string // go: the packages that could be meant when Main is ""
}

// user is whom the images run as: a number, because then no base image must know a name.
const user = "10001:10001"

// Look reads the facts of a source folder. app is the app's name: of several Go commands
// the one in cmd/<app> is built.
func Look(dir fs.FS, app string) Facts {
	has := func(name string) bool {
		_, err := fs.Stat(dir, name)
		return err == nil
	}
	f := Facts{
		Package: has("package.json"),
		Lock:    has("package-lock.json") || has("npm-shrinkwrap.json") || has("Gemfile.lock"),
		Gemfile: has("Gemfile"),
		Module:  has("go.mod"), Sum: has("go.sum"), Vendor: has("vendor/modules.txt"),
		Public: has("public"),
	}
	f.Requirements, f.Others = requirements(dir)
	f.Main, f.Mains = mainPackage(dir, app)
	return f
}

// requirements reads requirements.txt: whether it holds more than blanks and comments, and
// whether it refers to other files.
func requirements(dir fs.FS) (some, others bool) {
	text, err := fs.ReadFile(dir, "requirements.txt")
	if err != nil {
		return false, false
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		some = true
		for _, sign := range []string{"-r", "--requirement", "-c", "--constraint", "-e", "--editable", ".", "/", "file:"} {
			others = others || strings.HasPrefix(line, sign)
		}
		others = others || strings.Contains(line, "file:") || strings.Contains(line, "@ .")
	}
	return some, others
}

// mainPackage chooses the Go package to build: the module's root when it is a command,
// else cmd/<app>, else the only one below cmd.
func mainPackage(dir fs.FS, app string) (chosen string, all []string) {
	if isMain(dir, ".") {
		return ".", []string{"."}
	}
	entries, _ := fs.ReadDir(dir, "cmd")
	for _, e := range entries {
		if e.IsDir() && isMain(dir, path.Join("cmd", e.Name())) {
			all = append(all, "./cmd/"+e.Name())
		}
	}
	switch {
	case slices.Contains(all, "./cmd/"+app):
		return "./cmd/" + app, all
	case len(all) == 1:
		return all[0], all
	}
	return "", all
}

// isMain reports whether a folder holds a Go file of package main that is no test.
func isMain(dir fs.FS, folder string) bool {
	files, _ := fs.Glob(dir, path.Join(folder, "*.go"))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(dir, file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "package" && fields[1] == "main" {
				return true
			}
		}
	}
	return false
}

// Generate writes the Dockerfile of a runtime. A folder that lacks what the runtime
// needs gives a fault.Invalid.
func Generate(runtime spec.Runtime, f Facts) (string, error) {
	switch runtime {
	case spec.Python:
		return python(f), nil
	case spec.Go:
		return golang(f)
	case spec.Node:
		return node(f)
	case spec.Ruby:
		return ruby(f)
	case spec.Static:
		return static(f)
	}
	return "", fault.New(fault.Invalid, "generate Dockerfile: unknown runtime %q, expected python, go, node, ruby or static", runtime)
}

// lacks is the error of a source folder without a file that the runtime needs.
func lacks(runtime spec.Runtime, what, hint string) error {
	return fault.WithHint(fault.New(fault.Invalid, "generate Dockerfile: runtime %s needs %s", runtime, what), "%s", hint)
}

// text joins lines; an empty line stays, a line made of nothing by when goes.
func text(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if l != none {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

const none = "\x00"

func when(condition bool, line string) string {
	if condition {
		return line
	}
	return none
}

func head(runtime spec.Runtime) string {
	return fmt.Sprintf("# Generated by svc-build for runtime %s; `svc-build dockerfile > Dockerfile` makes it yours.", runtime)
}
