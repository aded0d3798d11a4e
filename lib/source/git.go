// Package source knows what a source folder holds: where it came from (git), and
// what of it a build is given (the context that .dockerignore leaves over).
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Origin is where a source folder came from. Outside git it is the zero value.
type Origin struct {
	fleet.Git
	Time time.Time // of the commit, UTC
}

// Known reports whether there is a commit to name a release after.
func (o Origin) Known() bool { return o.Commit != "" }

var commitID = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Inspect asks git about dir. No git program, no repository, a repository without a
// commit, and a folder that its repository ignores all give a zero Origin; a git that
// refuses to answer for another reason is an error, because the name of a release
// must not silently change its kind.
func Inspect(ctx context.Context, dir string) (Origin, error) {
	if !haveGit() {
		return Origin{}, nil
	}
	commit, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	switch {
	case errors.Is(err, errNoRepository), err == nil && commit == "":
		return Origin{}, nil
	case err != nil:
		return Origin{}, err
	case !commitID.MatchString(commit):
		return Origin{}, fmt.Errorf("read git commit of %s: unexpected answer %.60q", dir, commit)
	}
	status, err := git(ctx, dir, "status", "--porcelain=v1", "--untracked-files=normal", "--", ".")
	if err != nil {
		return Origin{}, err
	}
	if status == "" {
		tracked, err := git(ctx, dir, "ls-files", "--", ".")
		if err != nil || tracked == "" { // a folder that the repository ignores: the commit says nothing of it
			return Origin{}, err
		}
	}
	o := Origin{Git: fleet.Git{Commit: commit, Dirty: status != ""}}
	stamp, err := git(ctx, dir, "show", "--no-patch", "--no-show-signature", "--format=%ct", commit)
	if err != nil {
		return Origin{}, err
	}
	var seconds int64
	if _, err := fmt.Sscan(stamp, &seconds); err != nil {
		return Origin{}, fmt.Errorf("read time of commit %.12s: %w", commit, err)
	}
	o.Time = time.Unix(seconds, 0).UTC()
	// A detached head has no branch and a local repository no remote: both may stay empty.
	o.Branch, _ = git(ctx, dir, "symbolic-ref", "--quiet", "--short", "HEAD")
	remote, _ := git(ctx, dir, "config", "--get", "remote.origin.url")
	o.Remote = withoutCredentials(remote)
	return o, nil
}

func haveGit() bool {
	_, err := exec.LookPath("git")
	return err == nil
}

var errNoRepository = errors.New("not a git repository")

// git runs one question. The environment of a hook or of the caller's shell
// (GIT_DIR, GIT_INDEX_FILE …) must not point it at another repository, and a
// repository's own settings must not make it run programs.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	verb := args[0]
	for i := 0; verb == "-c" && i+2 < len(args); i += 2 {
		verb = args[i+2]
	}
	args = append([]string{"-c", "core.fsmonitor=false", "-c", "core.quotePath=true"}, args...)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = cleanEnv(os.Environ())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := strings.TrimSpace(stdout.String())
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	said := strings.TrimSpace(stderr.String())
	switch {
	case said == "": // --quiet and --get: "there is none"
		return "", nil
	case strings.Contains(said, "not a git repository"):
		return "", errNoRepository
	case strings.Contains(said, "dubious ownership"):
		return "", fault.WithHint(fmt.Errorf("read git of %s: the folder belongs to another user, so git does not answer", dir),
			"git config --global --add safe.directory %s", dir)
	}
	line, _, _ := strings.Cut(said, "\n")
	return "", fmt.Errorf("read git of %s: git %s: %s", dir, verb, line)
}

func cleanEnv(env []string) []string {
	out := make([]string, 0, len(env)+4)
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "GIT_") || name == "LANG" || name == "LANGUAGE" || strings.HasPrefix(name, "LC_") {
			continue
		}
		out = append(out, kv)
	}
	return append(out, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
}

// scpLike is git's "user@host:path" form, which has no password.
var scpLike = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+:[^:/][^:]*$`)

// withoutCredentials returns a remote's address without user, password, query and
// fragment; an address that is not understood is dropped rather than shown.
func withoutCredentials(remote string) string {
	if !strings.Contains(remote, "://") {
		if scpLike.MatchString(remote) || strings.HasPrefix(remote, "/") {
			return remote
		}
		return ""
	}
	u, err := url.Parse(remote)
	if err != nil || u.Opaque != "" {
		return ""
	}
	user := u.User.Username()
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if u.Scheme == "ssh" && user != "" {
		u.User = url.User(user)
	}
	return u.String()
}

// ReleaseName is the name of a release and the tag of its image: the first 12 digits of
// the commit; with -dirty- and 8 digits of the content hash when something is not
// committed; src- and 12 digits of the content hash outside git. hash is hex and is not
// looked at for a clean commit.
func ReleaseName(g fleet.Git, hash string) string {
	switch {
	case g.Commit == "":
		return "src-" + hash[:12]
	case g.Dirty:
		return g.Commit[:12] + "-dirty-" + hash[:8]
	}
	return g.Commit[:12]
}
