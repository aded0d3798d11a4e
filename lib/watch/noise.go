package watch

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// backup is how editors call what they write beside a file: vim's swap files, its test
// file 4913, Emacs's locks and autosaves, JetBrains' and GNOME's drafts.
var backup = regexp.MustCompile(`~$|\.sw[a-z]$|^4913$|^\.?#|^#.*#$|___jb_(tmp|old)___$|^\.goutputstream-|^\.DS_Store$|\.py[co]$`)

// Noise reports whether a path is never a change of the source: what editors,
// version control and interpreters write for themselves.
func Noise(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if slices.Contains([]string{".git", ".hg", ".svn", ".idea", ".vscode", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}, part) {
			return true
		}
	}
	return backup.MatchString(path.Base(p))
}
