package source

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"svckit/lib/fault"
)

// Ignored reads the first of the named files that is in dir, each in the syntax of
// .dockerignore, and returns what it leaves out: paths with slashes, relative to
// dir. The files themselves are left out too. Without any nothing else is.
func Ignored(dir string, names ...string) (func(path string, folder bool) bool, error) {
	for _, name := range names {
		text, err := ReadFile(dir, name, maxIgnore)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		patterns, err := ignorefile.ReadAll(strings.NewReader(string(text)))
		if err != nil {
			return nil, fault.New(fault.Invalid, "read %s: %w", name, err)
		}
		matcher, err := patternmatcher.New(append(patterns, names...))
		if err != nil {
			return nil, fault.New(fault.Invalid, "read %s: %w", name, err)
		}
		return func(path string, folder bool) bool {
			if folder && matcher.Exclusions() {
				return false // something below may be taken in again
			}
			out, err := matcher.MatchesOrParentMatches(path)
			return out && err == nil // the patterns were good when they were read
		}, nil
	}
	return func(string, bool) bool { return false }, nil
}
