package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"svckit/lib/fleet"
	"svckit/lib/here"
	"svckit/lib/tool"
)

func releasesCommand(w *here.Node) *cli.Command {
	return &cli.Command{
		Name: "releases", Usage: "show the releases of an app, newest first", ArgsUsage: "[APP]",
		Description: `"current" and "previous" name the services whose pointer is there; a digest with
"!" was pushed again after the mark. Records that cannot be read are listed on stderr.`,
		BashComplete: appNames(w),
		Action: tool.Action(func(ctx context.Context, s *tool.Session, c *cli.Context) error {
			t, _, err := w.Target(c.Args().First())
			if err != nil {
				return err
			}
			client, err := w.Consul(s)
			if err != nil {
				return err
			}
			list, bad, err := client.Releases(ctx, t.App)
			if err != nil {
				return err
			}
			current, err := client.Current(ctx, t.App)
			if err != nil {
				s.Say("%v", err) // the releases are there all the same
			}
			out := releaseList(t.App, list, bad, current)
			if err := s.Result(out, func(w io.Writer) { out.write(w, s) }); err != nil {
				return err
			}
			for _, b := range bad {
				s.Say("unreadable: %s", b)
			}
			return nil
		}),
	}
}

// releaseRow is one release, as releases prints it.
type releaseRow struct {
	Release  string    `json:"release"`
	Current  []string  `json:"current"`  // services that should run it
	Previous []string  `json:"previous"` // services that would go back to it
	Stable   *markRow  `json:"stable"`
	Failed   *markRow  `json:"failed"`
	Image    string    `json:"image"` // repo@sha256:…
	Tag      string    `json:"tag"`
	Commit   string    `json:"commit"`
	Branch   string    `json:"branch"`
	Dirty    bool      `json:"dirty"`
	BuiltBy  string    `json:"built_by"`
	BuiltAt  time.Time `json:"built_at"`
	Test     testRow   `json:"test"`
}

type markRow struct {
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Image string    `json:"image"`         // of which it was said
	Same  bool      `json:"same"`          // that is still the release's image
	Why   string    `json:"why,omitempty"` // of a failed one: node, check, what it said last
}

type testRow struct {
	Ran     bool     `json:"ran"`
	Command []string `json:"command"`
	Seconds float64  `json:"seconds"`
}

type releasesResult struct {
	App        string       `json:"app"`
	Releases   []releaseRow `json:"releases"`
	Unreadable []string     `json:"unreadable"` // key: reason
}

// releaseList joins the records with the pointers.
func releaseList(app string, list []fleet.Release, bad []string, current fleet.Current) releasesResult {
	out := releasesResult{App: app, Releases: []releaseRow{}, Unreadable: append([]string{}, bad...)}
	for _, r := range list {
		row := releaseRow{
			Release: r.Name, Current: []string{}, Previous: []string{}, Image: r.Image, Tag: r.Tag,
			Stable: markOf(r.Stable, r.Image), Failed: markOf(r.Failed, r.Image),
			Commit: r.Git.Commit, Branch: r.Git.Branch, Dirty: r.Git.Dirty, BuiltBy: r.BuiltBy, BuiltAt: r.BuiltAt,
			Test: testRow{Ran: r.Test.Ran, Command: append([]string{}, r.Test.Command...), Seconds: r.Test.Seconds},
		}
		for _, key := range slices.Sorted(maps.Keys(current.Services)) {
			switch p := current.Services[key]; r.Name {
			case p.Release:
				row.Current = append(row.Current, key)
			case p.Previous:
				row.Previous = append(row.Previous, key)
			}
		}
		out.Releases = append(out.Releases, row)
	}
	return out
}

func markOf(m *fleet.Mark, image string) *markRow {
	if m == nil {
		return nil
	}
	return &markRow{By: m.By, At: m.At, Image: m.Image, Same: m.Image == image, Why: m.Why}
}

func (l releasesResult) write(w io.Writer, s *tool.Session) {
	if len(l.Releases) == 0 {
		s.Say("no releases of %s; `svc-build --push` makes one", l.App)
		return
	}
	t := s.Table("RELEASE", "CURRENT", "PREVIOUS", "MARK", "IMAGE", "COMMIT", "BUILT", "BY", "TEST")
	for _, r := range l.Releases {
		mark := tool.Cell{Text: r.mark()}
		switch {
		case r.Failed != nil && r.Failed.Same:
			mark.Tint = tool.Bad
		case r.Stable != nil:
			mark.Tint = tool.Good
		}
		t.Cells(cell(r.Release), cell(strings.Join(r.Current, ",")), cell(strings.Join(r.Previous, ",")), mark,
			cell(digest(r.Image)), cell(r.commit()), cell(r.BuiltAt.UTC().Format("2006-01-02 15:04")), cell(r.BuiltBy), cell(r.test()))
	}
	t.Write(w)
}

// mark renders e.g. "stable", "stable!" when the image is another one now, "failed".
func (r releaseRow) mark() string {
	var words []string
	for _, m := range []struct {
		word string
		row  *markRow
	}{{"stable", r.Stable}, {"failed", r.Failed}} {
		if m.row == nil {
			continue
		}
		if !m.row.Same {
			m.word += "!"
		}
		words = append(words, m.word)
	}
	return strings.Join(words, ",")
}

func (r releaseRow) commit() string {
	text := fmt.Sprintf("%.8s", r.Commit)
	if r.Dirty {
		text += "-dirty"
	}
	return text
}

func (r releaseRow) test() string {
	if !r.Test.Ran {
		return "none"
	}
	return fmt.Sprintf("passed %.1fs", r.Test.Seconds)
}

// digest shortens repo@sha256:… to the digest's first digits.
func digest(image string) string {
	_, d, ok := strings.Cut(image, "@sha256:")
	if !ok {
		return cut(image, 40)
	}
	return fmt.Sprintf("sha256:%.12s", d)
}
