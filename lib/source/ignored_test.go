package source

import (
	"slices"
	"testing"

	"svckit/lib/fault"
)

func TestTheFirstIgnoreFileSaysWhatIsNoCode(t *testing.T) {
	paths := []string{"app.py", "docs/a.md", "docs/keep/b.md", ".svcignore", ".dockerignore"}
	for _, row := range []struct {
		name  string
		files map[string]string
		want  []string // left out, docs being asked as a folder
	}{
		{"none", map[string]string{}, nil},
		{"the only one", map[string]string{".dockerignore": "docs\n"}, []string{"docs/", "docs/a.md", "docs/keep/b.md", ".svcignore", ".dockerignore"}},
		{"the first one alone counts", map[string]string{".svcignore": "docs/*.md\n", ".dockerignore": "*\n"}, []string{"docs/a.md", ".svcignore", ".dockerignore"}},
		{"an exception below a folder", map[string]string{".svcignore": "docs\n!docs/keep\n"}, []string{"docs/a.md", ".svcignore", ".dockerignore"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			skip, err := Ignored(folder(t, row.files), ".svcignore", ".dockerignore")
			must(t, err)
			var got []string
			if skip("docs", true) {
				got = append(got, "docs/")
			}
			for _, p := range paths {
				if skip(p, false) {
					got = append(got, p)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("left out %q, want %q", got, row.want)
			}
		})
	}
	if _, err := Ignored(folder(t, map[string]string{".svcignore": "[a"}), ".svcignore"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a broken pattern: %v", err)
	}
}
