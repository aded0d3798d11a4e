// Package arrows holds the project to its layout: which package may import
// which, which library has its one place, and how big files may grow.
package arrows

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Row is one package below lib/ with what it may import of the project.
type Row struct {
	Package string   // "docker"
	Imports []string // packages below lib/
	Pure    bool     // decides only: no context, clock, log, files, network or chance
}

// Rules is what the project is held to.
type Rules struct {
	Module string
	Rows   []Row
	// Settled says in which folders a library may be imported: import path or
	// prefix of it → folders, "cmd" meaning everything below. The longest prefix counts.
	Settled map[string][]string
	// MayExit are the folders whose code may end the process.
	MayExit []string
}

const (
	maxFile = 400 // lines of a file
	maxMain = 40  // lines of a program's main.go
)

// Check reads every Go file below root and returns what breaks the rules, one
// line each, sorted.
func Check(root string, rules Rules) ([]string, error) {
	var problems []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && skipped(file, d.Name()):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		found, err := rules.checkFile(file, filepath.ToSlash(name))
		problems = append(problems, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check layout: %w", err)
	}
	slices.Sort(problems)
	return slices.Compact(problems), nil
}

// skipped is true for folders that are no part of the module: other modules, fixtures, hidden ones.
func skipped(dir, name string) bool {
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return true
	}
	return strings.HasPrefix(name, ".") || slices.Contains([]string{"testdata", "bin", "dist"}, name)
}

// checkFile checks one file; name is its path below the root, with slashes.
func (r Rules) checkFile(file, name string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	problems := sizeProblems(name, strings.Count(string(text), "\n"))
	problems = append(problems, r.packageProblems(name)...)
	if strings.HasSuffix(name, "_test.go") {
		return problems, nil
	}
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		for _, p := range r.importProblems(path.Dir(name), imported) {
			problems = append(problems, fmt.Sprintf("%s: %s", set.Position(spec.Pos()), p))
		}
	}
	return append(problems, r.codeProblems(set, tree, name)...), nil
}

func sizeProblems(name string, lines int) []string {
	var problems []string
	if lines > maxFile {
		problems = append(problems, fmt.Sprintf("%s: has %d lines: split it at %d, one idea per file", name, lines, maxFile))
	}
	if strings.HasPrefix(name, "cmd/") && path.Base(name) == "main.go" && lines > maxMain {
		problems = append(problems, fmt.Sprintf("%s: has %d lines: main.go names the world and calls tool.Main, in %d lines", name, lines, maxMain))
	}
	return problems
}

// packageProblems looks at where a file lies.
func (r Rules) packageProblems(name string) []string {
	dir := path.Dir(name)
	if slices.Contains([]string{"common", "helpers", "types", "util", "utils"}, path.Base(dir)) {
		return []string{fmt.Sprintf("%s: a package is named after what it knows, not %q", dir, path.Base(dir))}
	}
	if lib, is := libOf(dir); is && r.row(lib) == nil {
		return []string{fmt.Sprintf("%s: has no row in tools/arrows/arrows_test.go: say there what it may import", dir)}
	}
	return nil
}

func (r Rules) importProblems(dir, imported string) []string {
	if library := r.settled(imported); library != "" && !below(dir, r.Settled[library]) {
		who := "nobody"
		if places := r.Settled[library]; len(places) > 0 {
			who = "only " + strings.Join(places, " and ")
		}
		return []string{fmt.Sprintf("import of %s: %s may use it", imported, who)}
	}
	lib, is := libOf(dir)
	row := r.row(lib)
	if !is || row == nil {
		return nil
	}
	if own, is := strings.CutPrefix(imported, r.Module+"/"); is {
		target, isLib := libOf(own)
		if !isLib || target != lib && !slices.Contains(row.Imports, target) {
			return []string{fmt.Sprintf("import of %s: lib/%s may import of the project: %s", imported, lib, orNothing(row.Imports))}
		}
		return nil
	}
	if row.Pure && impure(imported) {
		return []string{fmt.Sprintf("import of %s: lib/%s decides only: pass it in as a value", imported, lib)}
	}
	return nil
}

// settled returns the longest prefix of an import path that has a rule, or "".
func (r Rules) settled(imported string) string {
	longest := ""
	for library := range r.Settled {
		if below(imported, []string{library}) && len(library) > len(longest) {
			longest = library
		}
	}
	return longest
}

// codeProblems looks at what the code does.
func (r Rules) codeProblems(set *token.FileSet, tree *ast.File, name string) []string {
	dir := path.Dir(name)
	lib, _ := libOf(dir)
	pure := r.row(lib) != nil && r.row(lib).Pure
	var problems []string
	add := func(n ast.Node, text string) {
		problems = append(problems, fmt.Sprintf("%s: %s", set.Position(n.Pos()), text))
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				add(n, "func init: let main build what is needed and pass it on")
			}
		case *ast.SelectorExpr:
			called := ""
			if pkg, is := n.X.(*ast.Ident); is {
				called = pkg.Name + "." + n.Sel.Name
			}
			if exits(called) && !below(dir, r.MayExit) {
				add(n, called+": return an error; only "+strings.Join(r.MayExit, " and ")+" end the process")
			}
			if pure && readsClock(called) {
				add(n, called+": time is an argument of lib/"+lib)
			}
		}
		return true
	})
	return problems
}

func (r Rules) row(lib string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Package == lib {
			return &r.Rows[i]
		}
	}
	return nil
}

// libOf returns "docker" for "lib/docker" and for what is below it.
func libOf(dir string) (string, bool) {
	rest, is := strings.CutPrefix(dir, "lib/")
	lib, _, _ := strings.Cut(rest, "/")
	return lib, is
}

func below(dir string, places []string) bool {
	return slices.ContainsFunc(places, func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") })
}

// impure is true for packages through which the world comes in.
func impure(imported string) bool {
	return below(imported, []string{
		"context", "crypto/rand", "io/ioutil", "log", "math/rand", "net", "os", "runtime", "syscall", "testing",
		"github.com/hashicorp/go-hclog", "golang.org/x/sys", "golang.org/x/term",
	}) && imported != "net/netip" && imported != "net/url"
}

func readsClock(called string) bool {
	return slices.Contains([]string{
		"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.Tick", "time.NewTicker", "time.NewTimer",
	}, called)
}

func exits(called string) bool {
	return slices.Contains([]string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "syscall.Exit"}, called)
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
