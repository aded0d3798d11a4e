package source

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"pgregory.net/rapid"
)

func TestIgnoreFilesActAsDockersOwn(t *testing.T) {
	files := map[string]string{
		"Dockerfile": "d", "app.py": "", "secret.env": "", "sub/secret.env": "", "node_modules/x/index.js": "",
		"docs/a.md": "", "docs/keep/b.md": "", "build/Dockerfile": "d",
	}
	rows := []struct {
		name, dockerfile, ignore, special string
		want                              []string
	}{
		{
			"no ignore file sends everything", "Dockerfile", "", "",
			[]string{"Dockerfile", "app.py", "build/Dockerfile", "docs/a.md", "docs/keep/b.md", "node_modules/x/index.js", "secret.env", "sub/secret.env"},
		},
		{
			"a name matches at the top only, ** everywhere", "Dockerfile", "**/secret.env\nnode_modules\nbuild\n", "",
			[]string{".dockerignore", "Dockerfile", "app.py", "docs/a.md", "docs/keep/b.md"},
		},
		{
			"an exception brings a file below an ignored folder back", "Dockerfile", "*\n!docs/keep\n", "",
			[]string{"Dockerfile", "docs/keep/b.md"},
		},
		{
			"the Dockerfile is sent although it is ignored", "build/Dockerfile", "*\n!app.py", "",
			[]string{"app.py", "build/Dockerfile"},
		},
		{
			"the Dockerfile's own ignore file goes first", "build/Dockerfile", "*", "*\n!app.py\n!docs/a.md",
			[]string{"app.py", "build/Dockerfile", "docs/a.md"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := folder(t, files)
			if row.ignore != "" {
				fill(t, dir, map[string]string{".dockerignore": row.ignore})
			}
			if row.special != "" {
				fill(t, dir, map[string]string{row.dockerfile + ".dockerignore": row.special})
			}
			tree, err := Scan(t.Context(), dir, row.dockerfile, nil)
			must(t, err)
			if got := paths(tree); !slices.Equal(got, row.want) {
				t.Errorf("sent %q, want %q", got, row.want)
			}
		})
	}
}

// The walk skips whole folders; Docker's matcher, asked for every single path from the top
// down, must leave over the same set for any tree and patterns.
func TestTheWalkSendsExactlyWhatTheMatcherLeavesOver(t *testing.T) {
	names := []string{"a", "b", "ab", "a.txt", "b.txt", "x"}
	segment := rapid.SampledFrom(names)
	glob := rapid.SampledFrom([]string{"a", "b", "ab", "a.txt", "*.txt", "*", "**", "a*", "?", "x", "[ab]"})
	rapid.Check(t, func(rt *rapid.T) {
		files := map[string]string{"Dockerfile": "d"}
		for range rapid.IntRange(1, 12).Draw(rt, "files") {
			path := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(rt, "path"), "/")
			if !collides(files, path) {
				files[path] = path
			}
		}
		var lines []string
		for range rapid.IntRange(0, 5).Draw(rt, "patterns") {
			line := strings.Join(rapid.SliceOfN(glob, 1, 3).Draw(rt, "pattern"), "/")
			if rapid.Bool().Draw(rt, "exception") {
				line = "!" + line
			}
			lines = append(lines, line)
		}
		dir, err := os.MkdirTemp(t.TempDir(), "tree")
		must(t, err)
		fill(t, dir, files)
		fill(t, dir, map[string]string{"Dockerfile.dockerignore": strings.Join(lines, "\n")})
		tree, err := Scan(context.Background(), dir, "Dockerfile", nil)
		if err != nil {
			rt.Fatal(err)
		}
		patterns, err := ignorefile.ReadAll(strings.NewReader(strings.Join(lines, "\n")))
		must(t, err)
		files["Dockerfile.dockerignore"] = ""
		var want []string
		for path := range files {
			if !ignoredStepByStep(t, patterns, path) || path == "Dockerfile" {
				want = append(want, path)
			}
		}
		slices.Sort(want)
		if got := paths(tree); !slices.Equal(got, want) {
			rt.Fatalf("patterns %q\nsent %q\nwant %q", lines, got, want)
		}
	})
}

func ignoredStepByStep(t testing.TB, patterns []string, path string) bool {
	matcher, err := patternmatcher.New(patterns)
	must(t, err)
	var info patternmatcher.MatchInfo
	var ignored bool
	segments := strings.Split(path, "/")
	for i := range segments {
		ignored, info, err = matcher.MatchesUsingParentResults(strings.Join(segments[:i+1], "/"), info)
		must(t, err)
	}
	return ignored
}

// collides reports whether a path is a folder of another or has a file as its folder.
func collides(files map[string]string, path string) bool {
	for have := range files {
		if have == path || strings.HasPrefix(have, path+"/") || strings.HasPrefix(path, have+"/") {
			return true
		}
	}
	return false
}

func paths(t *Tree) []string {
	var out []string
	for _, e := range t.entries {
		if !e.mode.IsDir() {
			out = append(out, e.path)
		}
	}
	return out
}
