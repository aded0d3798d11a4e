package rollout

import (
	"fmt"
	"maps"
	"slices"

	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// verdict is what is to be done with one container.
type verdict int

const (
	keep     verdict = iota // is what is wanted
	replace                 // serves, but differs from what is wanted
	leftover                // was created and never started: a run was cut off
	stopped                 // ran and does not run now
)

// judged is one container with its verdict.
type judged struct {
	fleet.Instance
	verdict verdict
	reason  string
	fields  []string            // what differs, for replace
	files   []string            // targets to render again, for keep
	news    []string            // what its master is to load, files included, for keep
	way     Way                 // how it is told, where there are news
	means   string              // why this way
	asleep  bool                // for keep: does not run, and is to be started
	entry   *fleet.Registration // its registration; nil when it has none
}

// judge looks at one container.
func judge(w Wanted, seen Seen, i fleet.Instance) judged {
	j := judged{Instance: i, entry: registrationOf(seen.Registrations, i)}
	switch i.State {
	case fleet.Created:
		j.verdict, j.reason = leftover, "was created and never started"
		return j
	case fleet.Exited, fleet.Dead, fleet.Removing:
		if w.Revive && i.State == fleet.Exited && len(Differing(w, i)) == 0 {
			j.verdict, j.asleep, j.reason = keep, true, fmt.Sprintf("does not run (exit code %d)", i.ExitCode)
			return j
		}
		j.verdict, j.reason = stopped, fmt.Sprintf("is %s (exit code %d)", i.State, i.ExitCode)
		return j
	case fleet.Paused:
		j.verdict, j.reason, j.fields = replace, "is paused", []string{"state"}
		return j
	case fleet.Running, fleet.Restarting:
	}
	if j.fields = Differing(w, i); len(j.fields) > 0 {
		j.verdict, j.reason = replace, "differs in "+list(j.fields)
		return j
	}
	return withNews(w, seen, j)
}

// withNews decides what becomes of a container that differs in nothing but what
// its master can load while it lives.
func withNews(w Wanted, seen Seen, j judged) judged {
	j.verdict = keep
	if j.news = News(w, seen, j.Name); len(j.news) == 0 {
		return j
	}
	m := seen.Masters[j.Name]
	j.files = seen.Outdated[j.Name]
	j.way, j.means = Means(w.Service, m)
	if len(m.Unsafe) > 0 {
		if w.Reload != nil {
			return j // refused as a whole: see loadable
		}
		j.way, j.means = WayReplace, m.Unsafe[0]
	}
	if j.way == WayReplace {
		j.verdict, j.fields = replace, j.news
		j.reason = fmt.Sprintf("has to load %s; %s", list(j.news), j.means)
	}
	return j
}

// News names what a running container has to load: files that are not as wanted,
// and what lies there and was not loaded.
func News(w Wanted, seen Seen, name string) []string {
	var news []string
	news = append(news, seen.Outdated[name]...)
	news = append(news, seen.Stale[name]...)
	if r := w.Reload; r != nil {
		switch {
		case r.Code != "" && r.Code != r.From:
			news = append(news, "code "+orNone(r.From)+" → "+r.Code)
		case r.Force && len(news) == 0:
			news = append(news, "everything again, as asked")
		}
	}
	return news
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Differing names what makes a running container something other than what is
// wanted: the image, fields of the spec that a container cannot change while it
// lives, and variables.
func Differing(w Wanted, i fleet.Instance) []string {
	var fields []string
	if i.Image != w.Image {
		fields = append(fields, fmt.Sprintf("image (%s → %s)", Digest(i.Image), Digest(w.Image)))
	}
	fields = append(fields, spec.DiffShape(i.Shape, spec.Shape(w.Service))...)
	names := maps.Clone(w.Env)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, i.Env)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		have, had := i.Env[name]
		want, wants := w.Env[name]
		if name != releaseVariable && (had != wants || have != want) {
			fields = append(fields, "env."+name)
		}
	}
	return fields
}

// registrationOf finds the registration of a container by the id in its meta.
func registrationOf(all []fleet.Registration, i fleet.Instance) *fleet.Registration {
	for k := range all {
		if all[k].Meta[fleet.MetaContainer] == i.ID {
			return &all[k]
		}
	}
	return nil
}
