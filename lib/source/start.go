package source

import (
	"context"
	"errors"
	"strings"
)

// Start makes dir a git repository whose first commit holds all of it. It does nothing and
// returns false where git is missing or dir lies in a repository already, of which
// it is then a part. A user without a name in git's settings gets a stand-in.
func Start(ctx context.Context, dir, message string) (committed bool, err error) {
	if !haveGit() {
		return false, nil
	}
	if _, err := git(ctx, dir, "rev-parse", "--git-dir"); !errors.Is(err, errNoRepository) {
		return false, err
	}
	if _, err := git(ctx, dir, "init", "--quiet", "--initial-branch=main"); err != nil {
		return false, err
	}
	if _, err := git(ctx, dir, "add", "--all"); err != nil {
		return false, err
	}
	commit := []string{"-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null"}
	for key, fallback := range map[string]string{"user.name": "svc-build", "user.email": "svc-build@localhost"} {
		if have, err := git(ctx, dir, "config", "--get", key); err != nil || strings.TrimSpace(have) == "" {
			commit = append(commit, "-c", key+"="+fallback)
		}
	}
	commit = append(commit, "commit", "--quiet", "--message", message)
	if _, err := git(ctx, dir, commit...); err != nil {
		return false, err
	}
	return true, nil
}
