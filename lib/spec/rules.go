package spec

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/robfig/cron/v3"

	y "svckit/lib/strictyaml"
)

// SecretsDir is where a container finds its secrets, one file each.
const SecretsDir = "/run/secrets"

// ownDir is where a container finds what svckit mounts in it.
const ownDir = "/run/svckit"

var (
	nameSyntax    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	labelSyntax   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	keySyntax     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	networkSyntax = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)
	volumeSyntax  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,126}$`)
	secretID      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	grpcSyntax    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,254}$`)
)

// The rules a text of app.yaml must follow, each in words and as a test.

func appRule() y.Rule {
	return y.Rule{Want: "a name of at most 40 letters a-z, digits and -, beginning with a letter", OK: nameSyntax.MatchString}
}

func labelRule(what string) y.Rule {
	return y.Rule{Want: what + " that is a DNS label (at most 63 of a-z, 0-9 and -, neither first nor last a -)", OK: labelSyntax.MatchString}
}

func keyRule() y.Rule {
	return y.Rule{Want: "a key of letters, digits and _, not beginning with a digit", OK: keySyntax.MatchString}
}

func webhookRule() y.Rule {
	return y.Rule{Want: "an http or https URL", Hidden: true, OK: func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && printable(s) && len(s) <= 2048
	}}
}

func imageRule() y.Rule {
	return y.Rule{Want: "a repository without tag or digest such as registry.service.consul:5000/shortener", OK: func(s string) bool {
		r, err := reference.Parse(s)
		if err != nil {
			return false
		}
		named, ok := r.(reference.Named)
		return ok && reference.IsNameOnly(named)
	}}
}

// insideRule is a path that stays in the source folder.
func insideRule(what string) y.Rule {
	return y.Rule{Want: what + " inside the source folder, without . and .. parts", OK: func(s string) bool {
		return s != "" && s != "." && !path.IsAbs(s) && path.Clean(s) == s && s != ".." && !strings.HasPrefix(s, "../") &&
			printable(s) && !strings.Contains(s, `\`) && len(s) <= 255
	}}
}

// targetRule is a place in the container that can be mounted or linked.
func targetRule() y.Rule {
	return y.Rule{
		Want: "a clean absolute path in the container, not under /run/secrets, /proc, /sys or /dev",
		OK: func(s string) bool {
			return absolute(s) && !slices.ContainsFunc([]string{SecretsDir, "/proc", "/sys", "/dev"}, func(dir string) bool { return under(s, dir) })
		},
	}
}

// absolute paths are clean, not the root, and hold nothing that mount options give a meaning.
func absolute(s string) bool {
	return path.IsAbs(s) && path.Clean(s) == s && s != "/" && printable(s) && !strings.ContainsAny(s, ":,") && len(s) <= 255
}

// under reports whether p is dir or lies below it.
func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func httpPathRule() y.Rule {
	return y.Rule{Want: "a path such as /healthz", OK: func(s string) bool {
		_, err := url.ParseRequestURI(s)
		return strings.HasPrefix(s, "/") && printable(s) && err == nil && !strings.Contains(s, "#") && len(s) <= 1024
	}}
}

func scheduleRule() y.Rule {
	return y.Rule{Want: `five cron fields such as "*/5 * * * *"`, OK: func(s string) bool {
		_, ok := parseSchedule(s)
		return ok
	}}
}

// zoneRule is a zone's name; whether a machine knows the zone is not asked here.
func zoneRule() y.Rule {
	return y.Rule{Want: "a zone such as UTC or Europe/Berlin", OK: zoneSyntax.MatchString}
}

// Wall returns what follows a time by a schedule: the next minute that its five
// fields match, on a clock without a zone. The zero time: none within five years.
// false for a text that is no schedule.
func Wall(schedule string) (next func(time.Time) time.Time, ok bool) {
	s, ok := parseSchedule(schedule)
	if !ok {
		return nil, false
	}
	return s.Next, true
}

// parseSchedule reads the five classic fields. Descriptors and time zones are
// not taken: @every has no fixed ticks that a fleet could agree on, and the
// zone of a schedule has a key of its own.
func parseSchedule(s string) (cron.Schedule, bool) {
	if len(strings.Fields(s)) != 5 || strings.ContainsAny(s, "=@\n\r") || len(s) > 200 {
		return nil, false
	}
	sched, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(s)
	return sched, err == nil
}

// signals that make sense as the first word to a process that should end.
func signals() []string {
	return []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "ABRT", "KILL", "RTMIN+3"}
}
